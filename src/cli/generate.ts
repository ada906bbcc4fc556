/** `meshwork generate`: text from a model, as it is written; or answers to files of prompts. */
import { Command } from 'commander'
import { UsageError } from '../core/errors.ts'
import { leadersFirst, openBackend } from '../engine/index.ts'
import { readTokenizer } from '../data/index.ts'
import { textFormats } from '../data/text-data.ts'
import { answerFiles, type AnsweredFiles } from '../serve/answer-files.ts'
import { writeText, type GenerateOptions } from '../serve/generate.ts'
import { led } from '../serve/turns.ts'
import { meshOfRun, type Run } from '../train/run.ts'
import type { PlatformOptions } from '../runtime/pjrt/platform-options.ts'
import { formatOfFlags } from './data-files.ts'
import { formatInteger, visible } from './format.ts'
import { interrupts } from './interrupt.ts'
import { joinCommand, outputOf, requireRanks, told, whereDevices, withDeviceFlags } from './job.ts'
import { goesOn, keptWorkOn, rateProgress } from './long-work.ts'
import { wholeNumber, withMeshFlags } from './overrides.ts'
import { preparedPlugin } from './plugins.ts'
import { samplingOf, withSamplingFlags, withWritingFlags, writtenModel, type SamplingFlags, type WrittenFlags } from './written-model.ts'

interface Flags extends WrittenFlags, SamplingFlags {
  readonly prompt?: string; readonly tokens?: string; readonly stop?: readonly string[]; readonly plugin: string; readonly platform?: PlatformOptions; readonly backend?: string; readonly json?: boolean
  readonly input?: readonly string[]; readonly output?: string; readonly field?: string; readonly format?: string; readonly atOnce?: string; readonly restart?: boolean
}

const tokensOf = (tokens: string | undefined, usual: number): number => (tokens === undefined ? usual : wholeNumber(tokens, '--tokens', 1))

function optionsOf(flags: Flags, { sample }: Run): GenerateOptions {
  const prompt = flags.prompt ?? sample.prompt
  if (prompt === '') throw new UsageError({ code: 'flag', what: '--prompt: the prompt is empty', fix: 'give at least one character' })
  return { prompt, ...samplingOf(flags, sample), stop: flags.stop ?? [], tokens: tokensOf(flags.tokens, sample.tokens) }
}

/** @throws UsageError for flags of one way to ask that are given with the other */
function checkWays({ input, output, prompt, field, format, atOnce, restart }: Flags): void {
  const wrong = (what: string, fix: string): UsageError => new UsageError({ code: 'flag', what, fix })
  if (input !== undefined && prompt !== undefined) throw wrong('--prompt and --input are given, and there is one thing to answer', 'give one of them')
  if (input !== undefined && output === undefined) throw wrong('--input needs a file for the answers', 'add --output answers.jsonl')
  if (output !== undefined && !output.endsWith('.jsonl')) throw wrong(`--output: ${output} is no .jsonl file`, 'answers are written as JSONL: give a name that ends in .jsonl')
  const [alone] = input !== undefined ? [] : Object.entries({ output, field, format, 'at-once': atOnce, restart }).filter(([, v]) => v !== undefined)
  if (alone !== undefined) throw wrong(`--${alone[0]} is for files of prompts, and none are given`, 'add --input FILE')
}

export const generateCommand = (): Command => withDeviceFlags(withMeshFlags(withWritingFlags(withSamplingFlags(new Command('generate')
  .description('Continue a prompt with a model, or answer files of prompts: a run\'s model, on its mesh or another, one in Hugging Face\'s layout, or a .gguf file.')
  .argument('<run>', 'a run\'s folder, one in Hugging Face\'s layout, or a .gguf file')
  .option('--prompt <text>', 'what the text starts with')
  .option('--tokens <n>', 'tokens to write at most')
  .option('--stop <text...>', 'texts that end an answer, and are no part of it')
  .option('--input <file...>', 'prompts, texts or chats: files, folders, patterns or addresses of JSONL, CSV, Parquet or text')
  .option('--output <file>', 'the answers to them, in their order, as JSONL')
  .option('--field <name>', 'the field or column that holds the prompt; "text" unless given')
  .option('--format <name>', `${textFormats.join(', ')}; by each file's name unless given`)
  .option('--at-once <n>', 'prompts that are answered at once by each group of devices; 16 unless given')
  .option('--restart', 'throw away what an interrupted run left, and replace a file that is there')
  .option('--context <n>', 'tokens of a prompt and its answer together; what the model is made for unless given')))))
  .option('--json', 'print one JSON object at the end')
  .addHelpText('after', `
Examples:
  $ npx meshwork generate runs/gpt-tiny-0 --prompt "The people" --tokens 60 --temperature 0.8 --seed 1
  $ npx meshwork generate model.Q4_K_M.gguf --weights keep --prompt "The capital of France is"
  $ npx meshwork generate models/smollm2 --input prompts.jsonl --output answers.jsonl --tokens 200 --batch 2      the same line again goes on after an interruption`)
  .action(async (folder: string, flags: Flags) => {
    const processes = await joinCommand(flags.backend)
    checkWays(flags)
    await (flags.input === undefined ? one(folder, flags) : files(folder, { ...flags, input: flags.input, output: flags.output ?? '' }))

    async function one(folder: string, flags: Flags): Promise<void> {
      let options: GenerateOptions | undefined
      const written = await writtenModel(folder, flags, async ({ tokenizer, positions }, own) => {
        options = optionsOf(flags, own)
        if (tokenizer === undefined) return positions
        return (await readTokenizer(tokenizer)).encode(options.prompt).length + options.tokens
      })
      const asked = options ?? optionsOf(flags, written.run)
      requireRanks(meshOfRun(written.run), flags.plugin)
      const output = outputOf(processes, flags.json === true)
      const stops = interrupts()
      try {
        const plugin = await leadersFirst(processes, 'fetching the plugin', () => preparedPlugin(flags.plugin, output, stops))
        stops.quit(() => output.clear())
        output.status('starting')
        const backend = await openBackend({ devices: written.devices, plugin, ...told(flags.platform), backend: whereDevices() })
        try {
          const opened = await written.open(backend, { requests: 1 })
          stops.finish()
          output.write(visible(asked.prompt))
          let text = ''
          await led(opened.turns, processes, async () => {
            for await (const piece of writeText(opened.answering, written.from.tokenizer, { ...asked, signal: stops.signal })) {
              text += piece
              output.write(visible(piece))
            }
          })
          output.print('')
          if (flags.json === true && processes.rank === 0) process.stdout.write(`${JSON.stringify({ prompt: asked.prompt, seed: asked.seed, tokens: asked.tokens, temperature: asked.temperature, text })}\n`)
          await opened.close()
        } finally {
          await backend.close()
        }
        process.exitCode = stops.code
      } finally {
        output.clear()
        stops.release()
      }
    }

    async function files(folder: string, { input, output: to, field, format, atOnce, restart, tokens, stop = [], ...rest }: Flags & { readonly input: readonly string[]; readonly output: string }): Promise<void> {
      const read = formatOfFlags(input, { ...(format === undefined ? {} : { format }), ...(field === undefined ? {} : { field }) })
      const written = await writtenModel(folder, rest)
      const requests = atOnce === undefined ? 16 : wholeNumber(atOnce, '--at-once', 1, 1024)
      const sampling = samplingOf(rest, written.run.sample)
      const maxTokens = tokens === undefined ? undefined : wholeNumber(tokens, '--tokens', 1)
      requireRanks(meshOfRun(written.run), rest.plugin)
      const output = outputOf(processes, rest.json === true)
      await keptWorkOn(processes, { devices: written.devices, plugin: rest.plugin, platform: rest.platform, output, stopped: goesOn }, async (backend, signal) => {
        const opened = await written.open(backend, { requests })
        const { replicas } = opened.answering.sizes
        const made = await led(opened.turns, processes, () => answerFiles(opened.answering, written.from.tokenizer, {
          input, format: read, output: to, asked: { sampling, stop, maxTokens }, template: written.template, atOnce: 2 * requests * replicas, restart: restart === true, signal, onProgress: rateProgress(output, 'prompts'),
          identity: { model: folder, weights: rest.weights ?? null, cache: rest.cache ?? null, sampling: JSON.stringify({ ...sampling, stop, maxTokens: maxTokens ?? null }) },
        }))
        await opened.close()
        output.clear()
        if (made === undefined) return
        if (rest.json === true) process.stdout.write(`${JSON.stringify(made)}\n`)
        else lines(made).forEach(line => { output.print(line) })
      })
    }
  })

const lines = ({ output, prompts, promptTokens, tokens, refused, before }: AnsweredFiles): string[] => [
  `${output}: ${formatInteger(prompts)} answers of ${formatInteger(tokens)} tokens to ${formatInteger(promptTokens)} of prompts${before > 0 ? `, ${formatInteger(before)} of them made before` : ''}`,
  ...refused === 0 ? [] : [`${formatInteger(refused)} ${refused === 1 ? 'prompt was' : 'prompts were'} too long to be answered: their lines say so`],
]
