/** `meshwork generate`: text from a run's weights, as it is made. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from 'commander'
import { FileError, UsageError } from '../core/errors.ts'
import { openBackend } from '../engine/index.ts'
import { openGenerator } from '../serve/generate.ts'
import { parseRun, type Run } from '../train/run.ts'
import { interruptible } from './interrupt.ts'
import { openOutput, silent } from './output.ts'
import { applyFlags, wholeNumber } from './overrides.ts'
import { preparedPlugin } from './plugins.ts'

interface Flags {
  readonly prompt?: string; readonly tokens?: string; readonly temperature?: string; readonly seed: string
  readonly batch?: string; readonly model?: string; readonly mesh?: string; readonly layout?: string; readonly plugin: string; readonly json?: boolean
}

async function readRun(folder: string): Promise<Run> {
  const file = join(folder, 'run.json')
  const text = await readFile(file, 'utf8').catch((e: unknown) => {
    throw new FileError({ code: 'no-run', what: `${folder} holds no run`, fix: 'give a folder that `meshwork train` wrote', details: { missing: file }, cause: e })
  })
  try { return parseRun(JSON.parse(text), file) } catch (e) {
    if (e instanceof SyntaxError) throw new FileError({ code: 'no-run', what: `${file} is not JSON`, fix: 'train the run again', cause: e })
    throw e
  }
}

function temperatureOf(text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise
  const t = Number(text)
  if (text.trim() === '' || !Number.isFinite(t) || t < 0) throw new UsageError({ code: 'flag', what: `--temperature: "${text}" is not a number of at least 0`, fix: 'for example --temperature 0.8' })
  return t
}

export const generateCommand = (): Command => new Command('generate')
  .description('Continue a prompt with a run\'s model, on the run\'s mesh or another.')
  .argument('<run>', 'the run folder')
  .option('--prompt <text>', 'what the text starts with')
  .option('--tokens <n>', 'tokens to make at most')
  .option('--temperature <t>', '0 for the likeliest token each time; higher is more varied')
  .option('--seed <n>', 'seed of the drawing', '0')
  .option('--batch <n>', 'ways to split the batch')
  .option('--model <n>', 'ways to split the model')
  .option('--mesh <axis=n,...>', 'the whole mesh')
  .option('--layout <dim=axis,...>', 'which dim lies on which axis')
  .option('--plugin <name|path>', 'the runtime', 'cpu')
  .option('--json', 'print one JSON object at the end')
  .addHelpText('after', '\nExample:\n  $ npx meshwork generate runs/gpt-tiny-0 --prompt "The people" --tokens 60 --temperature 0.8 --seed 1')
  .action(async (folder: string, flags: Flags) => {
    const saved = await readRun(folder)
    const run = applyFlags(saved, { ...pick(flags, ['batch', 'model', 'mesh', 'layout']) })
    const options = {
      prompt: flags.prompt ?? run.sample.prompt, seed: wholeNumber(flags.seed, '--seed'),
      tokens: flags.tokens === undefined ? run.sample.tokens : wholeNumber(flags.tokens, '--tokens', 1),
      temperature: temperatureOf(flags.temperature, run.sample.temperature),
    }
    if (options.prompt === '') throw new UsageError({ code: 'flag', what: '--prompt: the prompt is empty', fix: 'give at least one character' })
    const output = flags.json === true ? silent : openOutput()
    const { signal, release } = interruptible(() => {})
    const plugin = await preparedPlugin(flags.plugin, output, signal)
    const backend = await openBackend({ devices: Object.values(run.mesh).reduce((n, s) => n * s, 1), plugin })
    try {
      output.status('loading')
      const generator = await openGenerator(folder, { backend, mesh: run.mesh, layout: run.layout, params: run.params })
      let text = ''
      output.write(options.prompt)
      for await (const piece of generator.generate(options)) {
        text += piece
        output.write(piece)
        if (signal.aborted) break
      }
      output.print('')
      if (flags.json === true) process.stdout.write(`${JSON.stringify({ ...options, text })}\n`)
      generator.dispose()
    } finally {
      release()
      await backend.close()
    }
    if (signal.aborted) process.exitCode = 130
  })

const pick = <K extends keyof Flags>(flags: Flags, keys: readonly K[]): Partial<Pick<Flags, K>> =>
  Object.fromEntries(keys.filter(k => flags[k] !== undefined).map(k => [k, flags[k]])) as Partial<Pick<Flags, K>>
