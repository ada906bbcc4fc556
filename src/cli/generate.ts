/** `meshwork generate`: text from a run's weights, as it is made. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from 'commander'
import { FileError, UsageError } from '../core/errors.ts'
import { leadersFirst, openBackend } from '../engine/index.ts'
import { openGenerator, readRunFolder, weightBits, type GenerateOptions, type WeightBits } from '../serve/generate.ts'
import { gptModel } from '../models/index.ts'
import { readRunFile } from '../train/folder.ts'
import { adamwCosine } from '../train/optimizers.ts'
import { meshOfRun, withFields, type Run } from '../train/run.ts'
import { checkRun } from './check.ts'
import { visible } from './format.ts'
import { interrupts } from './interrupt.ts'
import { backendOption, joinCommand, outputOf, requireRanks, whereDevices } from './job.ts'
import { applyFlags, seedOf, temperatureOf, wholeNumber, type MeshFlags } from './overrides.ts'
import { preparedPlugin } from './plugins.ts'

interface Flags extends MeshFlags {
  readonly prompt?: string; readonly tokens?: string; readonly temperature?: string; readonly seed: string; readonly weights?: string; readonly plugin: string; readonly backend?: string; readonly json?: boolean
}

/** The run of a folder in which everything is that a finished run leaves. @throws FileError */
async function readRun(folder: string): Promise<Run> {
  const absent = (file: string, what: string, cause: unknown): FileError =>
    new FileError({ code: 'no-run', what: `${folder} holds no ${what}`, details: { missing: join(folder, file) }, fix: 'give a folder that `npx meshwork train` named at its end', cause })
  const file = join(folder, 'run.json')
  const found = await readRunFile(folder)
  if (found === undefined) throw absent('run.json', 'run', undefined)
  for (const f of ['config.json', 'tokenizer.json', 'model.safetensors']) await stat(join(folder, f)).catch((e: unknown) => { throw absent(f, 'finished run', e) })
  // Of the run only its model, its mesh and its layouts are asked for.
  const { config } = await readRunFolder(folder)
  const { model: _, data: __, optimizer: ___, ...settings } = found.run
  const optimizer = adamwCosine({ rate: 1 })
  const parts = { model: gptModel(config), data: { batch: () => ({}) }, optimizer, hooks: [] }
  try { return withFields(parts as unknown as Run, { ...settings, model: config, optimizer: optimizer.config }, file) } catch (e) {
    if (!(e instanceof UsageError)) throw e
    throw new FileError({ code: 'run-file', what: `${file} is no run of this version: ${e.problem.what.slice(file.length + 2)}`, fix: 'train the run again', cause: e })
  }
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

function weightsOf(given: string | undefined): WeightBits | undefined {
  if (given === undefined || given in weightBits) return given as WeightBits | undefined
  throw new UsageError({ code: 'flag', what: `--weights: "${given}" is no choice`, fix: `give one of ${Object.keys(weightBits).join(', ')}, or leave it out` })
}

export const generateCommand = (): Command => new Command('generate')
  .description('Continue a prompt with a run\'s model, on the run\'s mesh or another.')
  .argument('<run>', 'the run folder')
  .option('--prompt <text>', 'what the text starts with')
  .option('--tokens <n>', 'tokens to make at most')
  .option('--temperature <t>', '0 for the likeliest token each time; higher is more varied')
  .option('--seed <n>', 'seed of the drawing', '0')
  .option('--weights <bits>', 'int8 or int4: a quarter or an eighth of the memory, for somewhat other text')
  .option('--batch <n>', 'ways to split the batch')
  .option('--model <n>', 'ways to split the model')
  .option('--mesh <axis=n,...>', 'the whole mesh')
  .option('--layout <dim=axis,...>', 'which dim lies on which axis')
  .option('--plugin <name|path>', 'the runtime', 'cpu')
  .option(...backendOption)
  .option('--json', 'print one JSON object at the end')
  .addHelpText('after', '\nExample:\n  $ npx meshwork generate runs/gpt-tiny-0 --prompt "The people" --tokens 60 --temperature 0.8 --seed 1')
  .action(async (folder: string, { batch, model, mesh, layout, ...flags }: Flags) => {
    const processes = await joinCommand(flags.backend)
    const saved = await readRun(folder)
    const run = applyFlags(saved, Object.fromEntries(Object.entries({ batch, model, mesh, layout }).filter(([, v]) => v !== undefined)))
    const options = optionsOf({ ...flags }, run)
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
        const generator = await openGenerator(folder, { backend, mesh: run.mesh, layout: run.layout, params: run.params, layouts: run.layouts, precision: run.precision, ...(weights === undefined ? {} : { weights }) })
        stops.finish()
        output.write(visible(options.prompt))
        let text = ''
        for await (const piece of generator.generate({ ...options, signal: stops.signal })) {
          text += piece
          output.write(visible(piece))
        }
        output.print('')
        if (flags.json === true && processes.rank === 0) process.stdout.write(`${JSON.stringify({ ...options, text })}\n`)
        generator.dispose()
      } finally {
        await backend.close()
      }
      process.exitCode = stops.code
    } finally {
      output.clear()
      stops.release()
    }
  })
