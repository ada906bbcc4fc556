/** `meshwork train`: a recipe, trained, and what came of it. */
import { Command } from 'commander'
import { openBackend } from '../engine/index.ts'
import { openGenerator } from '../serve/generate.ts'
import { checkFolder, freeFolder } from '../train/folder.ts'
import type { Run } from '../train/run.ts'
import { train } from '../train/train.ts'
import { interruptible } from './interrupt.ts'
import { openOutput, silent, type Output } from './output.ts'
import { applyFlags, type TrainFlags } from './overrides.ts'
import { preparedPlugin } from './plugins.ts'
import { trainingProgress } from './progress.ts'
import { loadRecipe } from './recipes.ts'

interface Flags extends TrainFlags { readonly out?: string; readonly plugin: string; readonly json?: boolean }

export const trainCommand = (): Command => new Command('train')
  .description('Train a model and write its run folder.')
  .argument('[recipe]', 'a recipe\'s name, or a .ts file that exports a run', 'gpt-tiny')
  .option('--batch <n>', 'ways to split the batch (mesh axis "batch")')
  .option('--model <n>', 'ways to split the model (mesh axis "model")')
  .option('--mesh <axis=n,...>', 'the whole mesh')
  .option('--layout <dim=axis,...>', 'which dim lies on which axis')
  .option('--steps <n>', 'training steps')
  .option('--seed <n>', 'seed of the parameters, the order of the data and the dropout')
  .option('--data <file...>', 'your own UTF-8 text')
  .option('--set <key=value...>', 'any field of the run, such as model.layers=6')
  .option('--out <dir>', 'the run folder; runs/NAME-N unless given')
  .option('--plugin <name|path>', 'the runtime: cpu, simulate (slow, needs no plugin), or a PJRT plugin\'s path', 'cpu')
  .option('--json', 'print events as JSON lines')
  .addHelpText('after', `
Examples:
  $ npx meshwork train gpt-tiny --batch 2 --model 2
  $ npx meshwork train gpt-tiny --data novel.txt --steps 200 --set model.layers=2
  $ npx meshwork train my-recipe.ts --mesh replica=2,model=2 --layout batch=replica,hidden=model`)
  .action(async (recipe: string, flags: Flags) => {
    const run = applyFlags(await loadRecipe(recipe), flags)
    const folder = flags.out ?? await freeFolder('runs', run.name)
    await checkFolder(folder)
    const output = flags.json === true ? silent : openOutput()
    const { signal, release } = interruptible(() => output.status('stopping after this step (Ctrl-C again to quit at once)', true))
    try {
      await runTraining(run, folder, flags, output, signal)
      if (signal.aborted) process.exitCode = 130
    } finally {
      output.clear()
      release()
    }
  })

async function runTraining(run: Run, folder: string, flags: Flags, output: Output, signal: AbortSignal): Promise<void> {
  const devices = Object.values(run.mesh).reduce((n, size) => n * size, 1)
  const plugin = await preparedPlugin(flags.plugin, output, signal)
  if (signal.aborted) return
  output.status('starting', true)
  const backend = await openBackend({ devices, plugin })
  try {
    const show = trainingProgress(output)
    const result = await train(run, {
      backend, folder, signal,
      onEvent: event => {
        if (flags.json === true) process.stdout.write(`${JSON.stringify(event)}\n`)
        else show(event)
      },
    })
    if (flags.json === true) return
    if (result.stopped) output.print(`stopped after ${result.steps} of ${run.steps} steps`)
    if (!signal.aborted) await sample(run, folder, backend, output)
    if (result.evalLoss !== undefined) output.print(`held-out loss  ${result.evalLoss.toFixed(4)}`)
    output.print(`run            ${folder}`)
    output.print(`more text      npx meshwork generate ${folder} --prompt "${run.sample.prompt}"`)
  } finally {
    await backend.close()
  }
}

async function sample(run: Run, folder: string, backend: Awaited<ReturnType<typeof openBackend>>, output: Output): Promise<void> {
  output.status('writing a sample')
  const generator = await openGenerator(folder, { backend, mesh: run.mesh, layout: run.layout, params: run.params })
  try {
    output.print('')
    output.write(run.sample.prompt)
    for await (const piece of generator.generate({ ...run.sample, seed: run.seed })) output.write(piece)
    output.print('\n')
  } finally {
    generator.dispose()
  }
}
