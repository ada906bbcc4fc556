/** `meshwork eval`: a run's model, measured on what the run holds out or on other files. */
import { Command } from 'commander'
import { UsageError } from '../core/errors.ts'
import { leadersFirst, openBackend } from '../engine/index.ts'
import { evaluateRun, type Evaluated } from '../train/eval-run.ts'
import { meshOfRun } from '../train/run.ts'
import type { PlatformOptions } from '../runtime/pjrt/platform-options.ts'
import { checkRun } from './check.ts'
import { checkData } from './data-files.ts'
import { evalTask, taskNames, type EvalTaskFlags } from './eval-task.ts'
import { formatDuration, formatInteger, formatTable } from './format.ts'
import { interrupts } from './interrupt.ts'
import { joinCommand, outputOf, requireRanks, told, whereDevices, withDeviceFlags } from './job.ts'
import type { Output } from './output.ts'
import { applyFlags, withMeshFlags, type MeshFlags } from './overrides.ts'
import { isOnHost, preparedPlugin } from './plugins.ts'
import { trainingProgress } from './progress.ts'
import { savedRun } from './saved-run.ts'

interface Flags extends MeshFlags, Partial<Omit<EvalTaskFlags, keyof MeshFlags | 'plugin'>> { readonly data?: readonly string[]; readonly recipe?: string; readonly plugin: string; readonly platform?: PlatformOptions; readonly backend?: string; readonly json?: boolean }

export const evalCommand = (): Command => withDeviceFlags(withMeshFlags(new Command('eval')
  .description('Measure a model: a run\'s on what the run holds out, or on files; any model by a task.')
  .argument('<model>', 'a run\'s folder; with --task also one in Hugging Face\'s layout')
  .option('--data <file...>', 'files, all of them, as tokens of the run\'s own tokenizer, instead of what the run holds out; with --task what it is measured on')
  .option('--recipe <file>', 'the recipe that the run was made with, where it is not where it was')
  .option('--task <name>', `${taskNames.join(', ')}: the run\'s own unless given`)
  .option('--out <dir>', 'with --task: a folder for report.md, report.json and items.jsonl; interrupted, the same command goes on')
  .option('--rows <n>', 'with --task: rows of a step, over all devices')
  .option('--seq <n>', 'with --task: tokens of a window; what the model takes unless given')
  .option('--tokens <n>', 'with --task generate: tokens to write at most')
  .option('--field <name>', 'with --task loss: the field or column that holds the text')
  .option('--format <name>', 'with --task loss: text, jsonl, parquet, csv or tar; by each file\'s name unless given')
  .option('--restart', 'with --out: throw away what an interrupted run left')))
  .option('--json', 'print one JSON object')
  .addHelpText('after', `
Examples:
  $ npx meshwork eval runs/gpt-tiny-0
  $ npx meshwork eval runs/gpt-tiny-0 --data other.txt --json
  $ npx meshwork eval models/smollm2 --task choice --data questions.jsonl --out results
  $ mpirun -n 4 npx meshwork eval runs/gpt-tiny-0 --batch 4 --model 1`)
  .action(async (folder: string, { data, recipe, plugin: name, platform, backend: where, json, task, out, rows, seq, tokens, field, format, restart, ...mesh }: Flags) => {
    const own = given({ out, rows, seq, tokens, field, format, restart })
    if (task !== undefined) {
      if (recipe !== undefined) throw new UsageError({ code: 'flag', what: '--recipe is given, and a task reads none', fix: 'leave it out' })
      return evalTask(folder, { ...mesh, ...own, ...given({ data, platform, backend: where, json }), plugin: name, task })
    }
    const [without] = Object.keys(own)
    if (without !== undefined) throw new UsageError({ code: 'flag', what: `--${without} is given without --task`, fix: `say what to measure: --task, one of ${taskNames.join(', ')}` })
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
      const backend = await openBackend({ devices, plugin, ...told(platform), backend: whereDevices() })
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

/** What is there of it. */
const given = <T extends object>(flags: T): { [F in keyof T]?: Exclude<T[F], undefined> } => Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined)) as never

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
