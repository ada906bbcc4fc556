/** `meshwork eval`: a run's model, measured on what the run holds out or on other files. */
import { Command } from 'commander'
import { leadersFirst, openBackend } from '../engine/index.ts'
import { evaluateRun, type Evaluated } from '../train/eval-run.ts'
import { meshOfRun } from '../train/run.ts'
import { checkRun } from './check.ts'
import { checkData } from './data-files.ts'
import { formatDuration, formatInteger, formatTable } from './format.ts'
import { interrupts } from './interrupt.ts'
import { backendOption, joinCommand, outputOf, requireRanks, whereDevices } from './job.ts'
import type { Output } from './output.ts'
import { applyFlags, type MeshFlags } from './overrides.ts'
import { isOnHost, preparedPlugin } from './plugins.ts'
import { trainingProgress } from './progress.ts'
import { savedRun } from './saved-run.ts'

interface Flags extends MeshFlags { readonly data?: readonly string[]; readonly recipe?: string; readonly plugin: string; readonly backend?: string; readonly json?: boolean }

export const evalCommand = (): Command => new Command('eval')
  .description('Measure a run\'s model: on all that the run holds out, or on files.')
  .argument('<run>', 'the run folder')
  .option('--data <file...>', 'files, all of them, as tokens of the run\'s own tokenizer, instead of what the run holds out')
  .option('--recipe <file>', 'the recipe that the run was made with, where it is not where it was')
  .option('--batch <n>', 'ways to split the batch')
  .option('--model <n>', 'ways to split the model')
  .option('--mesh <axis=n,...>', 'the whole mesh')
  .option('--layout <dim=axis,...>', 'which dim lies on which axis')
  .option('--plugin <name|path>', 'the runtime', 'cpu')
  .option(...backendOption)
  .option('--json', 'print one JSON object')
  .addHelpText('after', `
Examples:
  $ npx meshwork eval runs/gpt-tiny-0
  $ npx meshwork eval runs/gpt-tiny-0 --data other.txt --json
  $ mpirun -n 4 npx meshwork eval runs/gpt-tiny-0 --batch 4 --model 1`)
  .action(async (folder: string, { data, recipe, plugin: name, backend: where, json, ...mesh }: Flags) => {
    const processes = await joinCommand(where)
    const { run: saved } = await savedRun(folder, recipe)
    const run = applyFlags(saved, mesh)
    const devices = checkRun(run, { onHost: isOnHost(name) && processes.count === 1, setsFields: false })
    requireRanks(meshOfRun(run), name)
    await checkData(run, data)
    const output = outputOf(processes, json === true)
    const stops = interrupts()
    try {
      const plugin = await leadersFirst(processes, 'fetching the plugin', () => preparedPlugin(name, output, stops))
      stops.quit(() => output.clear())
      output.status('starting')
      const backend = await openBackend({ devices, plugin, backend: whereDevices() })
      try {
        const found = await evaluateRun(run, { backend, folder, files: data, tell: trainingProgress(output), onBatch: progressOf(output), signal: stops.signal })
        output.clear()
        if (json !== true) table(found).forEach(line => output.print(line))
        else if (processes.rank === 0) process.stdout.write(`${jsonOf(found)}\n`)
      } finally {
        await backend.close()
      }
    } finally {
      output.clear()
      stops.release()
    }
  })

function progressOf(output: Output): (done: number, total: number) => void {
  let began: number | undefined
  return (done, total) => {
    began ??= performance.now()
    const each = (performance.now() - began) / Math.max(1, done) / 1000
    output.status(`batch ${done}/${total}${done === 0 ? '' : `  ${(1 / each).toPrecision(3)} batches/s  ${formatDuration((total - done) * each)} left`}`)
  }
}

/** Numbers that JSON lacks are text. */
const jsonOf = ({ metrics, weights, ...found }: Evaluated): string => JSON.stringify({ ...found, ...metrics, weights }, (_, x: unknown) => (typeof x === 'number' && !Number.isFinite(x) ? String(x) : x))

function table({ task, tokens, examples, loss, perplexity, bitsPerByte, metrics, weights }: Evaluated): string[] {
  const row = (name: string, value: number | undefined, text: (n: number) => string = n => n.toFixed(4)): string[][] => (value === undefined ? [] : [[name, text(value)]])
  return formatTable([
    ['task', task], ...row('tokens', tokens, formatInteger), ...row('examples', examples, formatInteger), ...row('loss', loss), ...row('perplexity', perplexity), ...row('bits per byte', bitsPerByte),
    ...Object.entries(metrics).flatMap(([name, value]) => row(name, value)), ['weights', weights],
  ], 2)
}
