/** `meshwork train`: a recipe, trained, and what came of it. */
import { Command } from 'commander'
import { isPart } from '../core/configurable.ts'
import { UsageError } from '../core/errors.ts'
import { anyOf, leadersFirst, openBackend, type Backend } from '../engine/index.ts'
import { openGenerator } from '../serve/generate.ts'
import { checkFolder, type FolderChoice } from '../train/folder.ts'
import { meshOfRun, type Run } from '../train/run.ts'
import { readPretrained } from '../train/pretrained.ts'
import { checkStart, type Start } from '../train/start.ts'
import { train } from '../train/train.ts'
import { checkRun } from './check.ts'
import { checkData } from './data-files.ts'
import { shellPath, shellWord, visible } from './format.ts'
import { interrupts, type Interrupts } from './interrupt.ts'
import { backendOption, joinCommand, outputOf, requireRanks, whereDevices } from './job.ts'
import { dryRun } from './dry-run.ts'
import type { Output } from './output.ts'
import { applyFlags, type RunFlags } from './overrides.ts'
import { isOnHost, preparedPlugin } from './plugins.ts'
import { generatingOf } from './pretrained-run.ts'
import { trainingProgress } from './progress.ts'
import { loadRecipe } from './recipes.ts'

interface Flags extends RunFlags {
  readonly out?: string; readonly resume?: string; readonly initFrom?: string; readonly only?: readonly string[]; readonly except?: readonly string[]
  readonly plugin: string; readonly backend?: string; readonly dryRun?: boolean; readonly json?: boolean
}

export const trainCommand = (): Command => new Command('train')
  .description('Train a model and write its run folder; with the folder of an interrupted run, go on with it.')
  .argument('[recipe]', 'a recipe\'s name, or a .ts file that exports a run', 'gpt-tiny')
  .option('--batch <n>', 'ways to split the batch (mesh axis "batch")')
  .option('--model <n>', 'ways to split the model (mesh axis "model")')
  .option('--mesh <axis=n,...>', 'the whole mesh')
  .option('--layout <dim=axis,...>', 'which dim lies on which axis; the other layouts are fields of the run')
  .option('--steps <n>', 'training steps')
  .option('--seed <n>', 'seed of the parameters, the order of the data and the dropout')
  .option('--data <file...>', 'your own text: files, folders or patterns, tokenised once')
  .option('--set <key=value...>', 'any field of the run, such as model.layers=6 or checkpoint.every=100')
  .option('--out <dir>', 'the run folder; runs/NAME-N unless given')
  .option('--resume <path>', 'start from a checkpoint of another run, with its slots, step and place in the data')
  .option('--init-from <path>', 'start from weights: a file, a folder in Hugging Face\'s layout, a run')
  .option('--only <name...>', 'of --init-from: the parameters to load; * stands for any characters')
  .option('--except <name...>', 'of --init-from: those not to load')
  .option('--plugin <name|path>', 'the runtime: cpu, simulate (slow, needs no plugin), or a PJRT plugin\'s path', 'cpu')
  .option(...backendOption)
  .option('--dry-run', 'print what would run, and run nothing')
  .option('--json', 'print events as JSON lines')
  .addHelpText('after', `
Examples:
  $ npx meshwork train gpt-tiny --batch 2 --model 2
  $ npx meshwork train gpt-tiny --data novel.txt --steps 200 --set model.layers=2
  $ npx meshwork train gpt-tiny --out runs/first --set checkpoint.every=100      the same line again goes on after an interruption
  $ mpirun -n 4 npx meshwork train gpt-tiny --batch 2 --model 2
  $ npx meshwork train my-recipe.ts --mesh replica=2,model=2 --layout batch=replica,hidden=model
  $ npx meshwork train gpt-tiny --batch 2 --set params.embed=batch            parameters rest in parts (FSDP)
  $ npx meshwork train gpt-tiny --model 2 --set layouts.residual.seq=model    sequence parallelism

Ctrl-C (SIGTERM, a terminal that closes) finishes the step, saves a checkpoint and the run, and exits with 130 (143, 129); a second one quits at once.`)
  .action(async (name: string, flags: Flags) => {
    const { run: given, recipe } = await loadRecipe(name)
    const run = applyFlags(given, flags)
    if (flags.out === '') throw new UsageError({ code: 'flag', what: '--out: the folder has no name', fix: 'for example --out runs/first' })
    const out = flags.out ?? { parent: 'runs', name: run.name }
    const start = startOf(flags)
    const processes = await joinCommand(flags.backend)
    const devices = checkRun(run, { onHost: isOnHost(flags.plugin) && processes.count === 1, setsFields: true })
    requireRanks(meshOfRun(run), flags.plugin)
    const output = outputOf(processes, flags.json === true)
    if (processes.rank === 0) await checkFolder(out, run)
    // Before a plugin is fetched: what is wrong with a text should not take a download to be told.
    await checkData(run)
    if (start !== undefined) await checkStart(start, run)
    if (flags.dryRun === true) return dryRun(run, out, flags.json === true && processes.rank === 0, output)
    const stops = interrupts()
    try {
      const plugin = await leadersFirst(processes, 'fetching the plugin', () => preparedPlugin(flags.plugin, output, stops))
      await runTraining({ run, recipe, start, devices, out, plugin, json: flags.json === true && processes.rank === 0 }, output, stops)
      process.exitCode = stops.code
    } finally {
      output.clear()
      stops.release()
    }
  })

/** @throws UsageError where a run is to start from two things */
function startOf({ resume, initFrom, only, except }: Flags): Start | undefined {
  if (resume !== undefined && initFrom !== undefined) throw new UsageError({ code: 'flag', what: '--resume and --init-from are given, and a run starts from one thing', fix: 'give one of them: the first goes on with a run, the second begins one with its weights' })
  if (initFrom === undefined && (only ?? except) !== undefined) throw new UsageError({ code: 'flag', what: `--${only === undefined ? 'except' : 'only'} chooses from what --init-from loads, which is not given`, fix: 'add --init-from PATH' })
  return resume !== undefined ? { resume } : initFrom !== undefined ? { weights: initFrom, choice: { ...(only === undefined ? {} : { only }), ...(except === undefined ? {} : { except }) } } : undefined
}

interface Job { readonly run: Run; readonly recipe: string; readonly start: Start | undefined; readonly devices: number; readonly out: FolderChoice; readonly plugin: string; readonly json: boolean }

async function runTraining({ run, recipe, start, devices, out, plugin, json }: Job, output: Output, stops: Interrupts): Promise<void> {
  const quit = (): void => stops.quit(() => output.note('stopped before the first step: no run was written'))
  quit()
  output.status('starting')
  const backend = await openBackend({ devices, plugin, backend: whereDevices() })
  const tell = (event: object): void => { process.stdout.write(`${JSON.stringify(event)}\n`) }
  const show = json ? tell : trainingProgress(output)
  try {
    const result = await train(run, {
      backend, out, recipe, start, signal: stops.signal,
      onEvent: event => {
        if (event.type === 'started') stops.finish(() => output.status('stopping: what is under way is finished first (Ctrl-C again to quit at once)', true))
        show(event)
      },
    })
    if (result.folder === undefined) return output.note('stopped before the first step: no run was written')
    if (result.stopped) output.print(`stopped after ${result.steps} of ${result.planned} steps: the same command with --out ${shellPath(result.folder)} goes on`)
    // The loss is the same in all processes.
    const drawn = writesText(run) && (result.evalLoss === undefined || Number.isFinite(result.evalLoss))
    if (result.evalLoss !== undefined && !Number.isFinite(result.evalLoss)) output.note(`warning: the held-out loss is ${result.evalLoss}: from these weights no text can be drawn`)
    else if (drawn && !await anyOf(backend.processes, 'whether to stop', stops.code !== undefined)) {
      const text = await sample(run, result.folder, backend, output, stops.signal)
      if (json) tell({ type: 'sample', prompt: run.sample.prompt, text })
    }
    if (result.evalLoss !== undefined) output.print(`held-out loss  ${result.evalLoss.toFixed(4)}`)
    output.print(`run            ${result.folder}`)
    if (drawn) output.print(`more text      npx meshwork generate ${shellPath(result.folder)} --prompt ${shellWord(run.sample.prompt)}`)
  } finally {
    await backend.close()
  }
}

/** Whether text can be drawn from a run's weights: it is a GPT that predicts text token after token. */
const writesText = ({ model, data }: Run): boolean => isPart<unknown, never>(model) && model.kind.name === 'gpt' && isPart<unknown, never>(data) && data.kind.name === 'text'
  && (model.config as { readonly attention?: string }).attention === 'causal'

async function sample(run: Run, folder: string, backend: Backend, output: Output, signal: AbortSignal): Promise<string> {
  output.status('writing a sample')
  const generator = await openGenerator(await generatingOf(await readPretrained(folder), run), { backend, mesh: run.mesh, layout: run.layout, params: run.params, layouts: run.layouts })
  let text = ''
  try {
    output.print('')
    output.write(run.sample.prompt)
    for await (const piece of generator.generate({ ...run.sample, seed: run.seed, signal })) {
      text += piece
      output.write(visible(piece))
    }
    output.print('\n')
    return text
  } finally {
    generator.dispose()
  }
}
