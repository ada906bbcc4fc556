/** `meshwork train`: a recipe, trained, and what came of it. */
import { Command } from 'commander'
import { UsageError } from '../core/errors.ts'
import { checkedTextFile, type TextFile } from '../data/text-file.ts'
import { anyOf, leadersFirst, openBackend, type Backend } from '../engine/index.ts'
import { openGenerator } from '../serve/generate.ts'
import { checkFolder, type FolderChoice } from '../train/folder.ts'
import type { Run } from '../train/run.ts'
import { meshOfRun, train } from '../train/train.ts'
import { checkRun } from './check.ts'
import { shellPath, shellWord, visible } from './format.ts'
import { interrupts, type Interrupts } from './interrupt.ts'
import { backendOption, joinCommand, outputOf, requireRanks, whereDevices } from './job.ts'
import type { Output } from './output.ts'
import { applyFlags, type RunFlags } from './overrides.ts'
import { isOnHost, preparedPlugin } from './plugins.ts'
import { trainingProgress } from './progress.ts'
import { loadRecipe } from './recipes.ts'

interface Flags extends RunFlags { readonly out?: string; readonly plugin: string; readonly backend?: string; readonly json?: boolean }

export const trainCommand = (): Command => new Command('train')
  .description('Train a model and write its run folder.')
  .argument('[recipe]', 'a recipe\'s name, or a .ts file that exports a run', 'gpt-tiny')
  .option('--batch <n>', 'ways to split the batch (mesh axis "batch")')
  .option('--model <n>', 'ways to split the model (mesh axis "model")')
  .option('--mesh <axis=n,...>', 'the whole mesh')
  .option('--layout <dim=axis,...>', 'which dim lies on which axis; the other layouts are fields of the run')
  .option('--steps <n>', 'training steps')
  .option('--seed <n>', 'seed of the parameters, the order of the data and the dropout')
  .option('--data <file...>', 'your own UTF-8 text')
  .option('--set <key=value...>', 'any field of the run, such as model.layers=6')
  .option('--out <dir>', 'the run folder; runs/NAME-N unless given')
  .option('--plugin <name|path>', 'the runtime: cpu, simulate (slow, needs no plugin), or a PJRT plugin\'s path', 'cpu')
  .option(...backendOption)
  .option('--json', 'print events as JSON lines')
  .addHelpText('after', `
Examples:
  $ npx meshwork train gpt-tiny --batch 2 --model 2
  $ npx meshwork train gpt-tiny --data novel.txt --steps 200 --set model.layers=2
  $ mpirun -n 4 npx meshwork train gpt-tiny --batch 2 --model 2
  $ npx meshwork train my-recipe.ts --mesh replica=2,model=2 --layout batch=replica,hidden=model
  $ npx meshwork train gpt-tiny --batch 2 --set params.embed=batch            parameters rest in parts (FSDP)
  $ npx meshwork train gpt-tiny --model 2 --set layouts.residual.seq=model    sequence parallelism

Ctrl-C (SIGTERM, a terminal that closes) finishes the step, writes the run, and exits with 130 (143, 129); a second one quits at once.`)
  .action(async (recipe: string, flags: Flags) => {
    const run = applyFlags(await loadRecipe(recipe), flags)
    if (flags.out === '') throw new UsageError({ code: 'flag', what: '--out: the folder has no name', fix: 'for example --out runs/first' })
    const folder = flags.out ?? { parent: 'runs', name: run.name }
    const processes = await joinCommand(flags.backend)
    const devices = checkRun(run, { onHost: isOnHost(flags.plugin) && processes.count === 1, setsFields: true })
    requireRanks(meshOfRun(run), flags.plugin)
    if (processes.rank === 0) await checkFolder(folder)
    // Before a plugin is fetched: what is wrong with a text should not take a download to be told.
    const texts: TextFile[] = []
    for (const path of run.data) texts.push(await checkedTextFile(path))
    const output = outputOf(processes, flags.json === true)
    const stops = interrupts()
    try {
      const plugin = await leadersFirst(processes, 'fetching the plugin', () => preparedPlugin(flags.plugin, output, stops))
      await runTraining({ run, texts, devices, folder, plugin, json: flags.json === true && processes.rank === 0 }, output, stops)
      process.exitCode = stops.code
    } finally {
      output.clear()
      stops.release()
    }
  })

interface Job { readonly run: Run; readonly texts: readonly TextFile[]; readonly devices: number; readonly folder: FolderChoice; readonly plugin: string; readonly json: boolean }

async function runTraining({ run, texts, devices, folder, plugin, json }: Job, output: Output, stops: Interrupts): Promise<void> {
  const quit = (): void => stops.quit(() => output.note('stopped before the first step: nothing was written'))
  quit()
  output.status('starting')
  const backend = await openBackend({ devices, plugin, backend: whereDevices() })
  const tell = (event: object): void => { process.stdout.write(`${JSON.stringify(event)}\n`) }
  const show = json ? tell : trainingProgress(output)
  try {
    // Text is read and learnt from in one go, during which no handler would be called.
    stops.leaveToSystem()
    const result = await train(run, {
      backend, folder, texts, signal: stops.signal,
      onEvent: event => {
        if (event.type === 'compiling') quit()
        if (event.type === 'started') stops.finish(() => output.status('stopping: what is under way is finished first (Ctrl-C again to quit at once)', true))
        show(event)
      },
    })
    if (result.folder === undefined) return output.note('stopped before the first step: nothing was written')
    if (result.stopped) output.print(`stopped after ${result.steps} of ${run.steps} steps`)
    // The loss is the same in all processes.
    const drawn = result.evalLoss === undefined || Number.isFinite(result.evalLoss)
    if (!drawn) output.note(`warning: the held-out loss is ${result.evalLoss}: from these weights no text can be drawn`)
    else if (!await anyOf(backend.processes, 'whether to stop', stops.code !== undefined)) {
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

async function sample(run: Run, folder: string, backend: Backend, output: Output, signal: AbortSignal): Promise<string> {
  output.status('writing a sample')
  const generator = await openGenerator(folder, { backend, mesh: run.mesh, layout: run.layout, params: run.params, layouts: run.layouts, precision: run.precision })
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
