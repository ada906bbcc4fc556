/** `meshwork generate`: text from a run's weights, as it is made. */
import { Command } from 'commander'
import { UsageError } from '../core/errors.ts'
import { leadersFirst, openBackend } from '../engine/index.ts'
import { readTokenizer } from '../data/index.ts'
import { openGenerator, type GenerateOptions } from '../serve/generate.ts'
import { weightBits, type WeightBits } from '../serve/loading.ts'
import { readRunFile } from '../train/folder.ts'
import { readPretrained, type Pretrained } from '../train/pretrained.ts'
import { meshOfRun, modelOf, type Run } from '../train/run.ts'
import { checkRun } from './check.ts'
import { visible } from './format.ts'
import { interrupts } from './interrupt.ts'
import { joinCommand, outputOf, requireRanks, whereDevices, withDeviceFlags } from './job.ts'
import { applyFlags, seedOf, temperatureOf, wholeNumber, withMeshFlags, type MeshFlags } from './overrides.ts'
import { preparedPlugin } from './plugins.ts'
import { generatingOf, runOfModel, usualLayout } from './pretrained-run.ts'

interface Flags extends MeshFlags {
  readonly prompt?: string; readonly tokens?: string; readonly temperature?: string; readonly seed: string; readonly weights?: string; readonly plugin: string; readonly backend?: string; readonly json?: boolean
}

function optionsOf(flags: Flags, { sample }: Run): GenerateOptions {
  const prompt = flags.prompt ?? sample.prompt
  if (prompt === '') throw new UsageError({ code: 'flag', what: '--prompt: the prompt is empty', fix: 'give at least one character' })
  return {
    prompt, seed: seedOf(flags.seed),
    tokens: flags.tokens === undefined ? sample.tokens : wholeNumber(flags.tokens, '--tokens', 1),
    temperature: flags.temperature === undefined ? sample.temperature : temperatureOf(flags.temperature),
  }
}

/** The window that a text needs: the model's own may be far longer. */
async function windowFor({ tokenizer, positions }: Pretrained, { prompt, tokens }: GenerateOptions): Promise<number> {
  if (tokenizer === undefined) return positions
  const length = (await readTokenizer(tokenizer)).encode(prompt).length + tokens
  return Math.min(positions, 64 * Math.ceil(length / 64))
}

function weightsOf(given: string | undefined): WeightBits | 'keep' | undefined {
  if (given === undefined || given === 'keep' || given in weightBits) return given as WeightBits | 'keep' | undefined
  throw new UsageError({ code: 'flag', what: `--weights: "${given}" is no choice`, fix: `give one of ${Object.keys(weightBits).join(', ')}, keep, or leave it out` })
}

export const generateCommand = (): Command => withDeviceFlags(withMeshFlags(new Command('generate')
  .description('Continue a prompt with a model: a run\'s, on its mesh or another, or one in Hugging Face\'s layout.')
  .argument('<run>', 'a run\'s folder, one in Hugging Face\'s layout, or a .gguf file')
  .option('--prompt <text>', 'what the text starts with')
  .option('--tokens <n>', 'tokens to make at most')
  .option('--temperature <t>', '0 for the likeliest token each time; higher is more varied')
  .option('--seed <n>', 'seed of the drawing', '0')
  .option('--weights <bits>', 'int8 or int4: a quarter or an eighth of the memory, for somewhat other text; keep: those of few bits in a .gguf file as they are, for the same text')))
  .option('--json', 'print one JSON object at the end')
  .addHelpText('after', '\nExamples:\n  $ npx meshwork generate runs/gpt-tiny-0 --prompt "The people" --tokens 60 --temperature 0.8 --seed 1\n  $ npx meshwork generate model.Q4_K_M.gguf --weights keep --prompt "The capital of France is"')
  .action(async (folder: string, { batch, model, mesh, layout, ...flags }: Flags) => {
    const processes = await joinCommand(flags.backend)
    const given = await readPretrained(folder)
    const own = await runOfModel(folder, given, given.positions)
    const options = optionsOf({ ...flags }, own)
    const seq = await windowFor(given, options)
    const meshed = applyFlags(seq === given.positions ? own : await runOfModel(folder, given, seq), Object.fromEntries(Object.entries({ batch, model, mesh, layout }).filter(([, v]) => v !== undefined)))
    // What was not trained here has no layout of its own.
    const run = layout === undefined && await readRunFile(folder) === undefined ? { ...meshed, layout: usualLayout(modelOf(meshed).dims, meshed.mesh) } : meshed
    const weights = weightsOf(flags.weights)
    // A device group that splits the batch gets a window of its own.
    const devices = checkRun({ ...run, batch: Object.values(run.mesh).reduce((n, size) => n * size, 1) }, { onHost: false, setsFields: false })
    requireRanks(meshOfRun(run), flags.plugin)
    const output = outputOf(processes, flags.json === true)
    const stops = interrupts()
    try {
      const plugin = await leadersFirst(processes, 'fetching the plugin', () => preparedPlugin(flags.plugin, output, stops))
      stops.quit(() => output.clear())
      output.status('starting')
      const backend = await openBackend({ devices, plugin, backend: whereDevices() })
      try {
        const generator = await openGenerator(await generatingOf(given, run), { backend, mesh: run.mesh, layout: run.layout, params: run.params, layouts: run.layouts, ...(weights === undefined ? {} : { weights }) })
        stops.finish()
        output.write(visible(options.prompt))
        let text = ''
        for await (const piece of generator.generate({ ...options, signal: stops.signal })) {
          text += piece
          output.write(visible(piece))
        }
        output.print('')
        if (flags.json === true && processes.rank === 0) process.stdout.write(`${JSON.stringify({ ...options, text })}\n`)
        await generator.dispose()
      } finally {
        await backend.close()
      }
      process.exitCode = stops.code
    } finally {
      output.clear()
      stops.release()
    }
  })
