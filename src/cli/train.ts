/** `meshwork train`: a recipe, trained, and what came of it. */
import { Command } from 'commander'
import { UsageError } from '../core/errors.ts'
import type { Run } from '../train/run.ts'
import { asksForSearch, idleText, modelLine, recipeLine, withDevicesFlag, type AutoFlags } from './auto.ts'
import { joinCommand } from './job.ts'
import { openOutput, silent } from './output.ts'
import { applyFlags, withLayoutFlags, type RunFlags } from './overrides.ts'
import { loadRecipe } from './recipes.ts'
import { searchedTogether } from './search-together.ts'
import { trainRun, withTrainingFlags, type TrainingFlags } from './training.ts'

interface Flags extends RunFlags, TrainingFlags, AutoFlags { readonly resume?: string; readonly initFrom?: string; readonly only?: readonly string[]; readonly except?: readonly string[] }

export const trainCommand = (): Command => withDevicesFlag(withTrainingFlags(withLayoutFlags(new Command('train')
  .description('Train a model and write its run folder; with the folder of an interrupted run, go on with it.')
  .argument('[recipe]', 'a recipe\'s name, or a .ts file that exports a run', 'gpt-tiny')
  .option('--steps <n>', 'training steps')
  .option('--seed <n>', 'seed of the parameters, the order of the data and the dropout')
  .option('--data <file...>', 'your own text: files, folders or patterns, tokenised once')
  .option('--machine <name|file>', 'of a search: what it is laid for; this machine as `meshwork calibrate` measured it unless given')
  .option('--set <key=value...>', 'any field of the run, such as model.layers=6 or checkpoint.every=100')
  .option('--resume <path>', 'start from a checkpoint of another run, with its slots, step and place in the data')
  .option('--init-from <path>', 'start from weights: a file, a folder in Hugging Face\'s layout, a run')
  .option('--only <name...>', 'of --init-from: the parameters to load; * stands for any characters')
  .option('--except <name...>', 'of --init-from: those not to load'))))
  .addHelpText('after', `
Examples:
  $ npx meshwork train gpt-tiny --batch 2 --model 2
  $ npx meshwork train gpt-tiny --data novel.txt --steps 200 --set model.layers=2
  $ npx meshwork train gpt-tiny --out runs/first --set checkpoint.every=100      the same line again goes on after an interruption
  $ npx meshwork train gpt-tiny --page                                       a page that shows it
  $ mpirun -n 4 npx meshwork train gpt-tiny --batch 2 --model 2
  $ npx meshwork train my-recipe.ts --mesh replica=2,model=2 --layout batch=replica,hidden=model
  $ npx meshwork train gpt-tiny --batch 2 --params embed=batch                parameters rest in parts (FSDP)
  $ npx meshwork train gpt-tiny --mesh auto --layout auto --devices 4         laid as the search finds best for this machine
  $ npx meshwork train gpt-tiny --model 2 --set layouts.residual.seq=model    sequence parallelism
  $ npx meshwork train gpt-tiny --plugin cuda.so --platform memory.fraction=0.5 contractions=tf32

Ctrl-C (SIGTERM, a terminal that closes) finishes the step, saves a checkpoint and the run, and exits with 130 (143, 129); a second one quits at once.`)
  .action(async (name: string, flags: Flags) => {
    const { run, recipe } = await loadRecipe(name)
    if (asksForSearch(flags)) {
      const processes = await joinCommand(flags.backend)
      const output = processes.rank === 0 ? openOutput() : silent
      const laid = await searchedTogether(processes, { run, recipe }, flags, output)
      const model = modelLine(laid.found)
      output.note(`laid as the search found: ${recipeLine(run, laid.found)}${model === '' ? '' : `, and of its model ${model}`}`)
      const idle = idleText(laid.found)
      if (idle !== undefined) output.note(idle)
      return trainRun(begun(laid.run, flags), flags, { recipe, resume: flags.resume })
    }
    if (flags.machine !== undefined) throw new UsageError({ code: 'flag', what: '--machine says what a run is laid for, and nothing is searched', fix: 'add --mesh auto --layout auto, or leave it out' })
    await trainRun(begun(applyFlags(run, flags), flags), flags, { recipe, resume: flags.resume })
  })

/** The run with what it is to start from. @throws UsageError where that are two things */
function begun(run: Run, { resume, initFrom: path, only, except }: Flags): Run {
  if (resume !== undefined && path !== undefined) throw new UsageError({ code: 'flag', what: '--resume and --init-from are given, and a run starts from one thing', fix: 'give one of them: the first goes on with a run, the second begins one with its weights' })
  if (path === undefined && (only ?? except) !== undefined) throw new UsageError({ code: 'flag', what: `--${only === undefined ? 'except' : 'only'} chooses from what --init-from loads, which is not given`, fix: 'add --init-from PATH' })
  return path === undefined ? run : { ...run, initFrom: { path, ...(only === undefined ? {} : { only: [...only] }), ...(except === undefined ? {} : { except: [...except] }) } }
}
