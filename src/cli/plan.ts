/** `meshwork plan`: what a step of a run would take and send, told without devices and without a plugin. */
import { stat } from 'node:fs/promises'
import { Command } from 'commander'
import { UsageError } from '../core/errors.ts'
import type { AnyModel } from '../models/index.ts'
import { usualLayout } from '../pretrained/layout.ts'
import { readPretrained } from '../pretrained/pretrained.ts'
import { readRunFile } from '../train/folder.ts'
import { planRun, type PlannedRun } from '../train/planned.ts'
import { modelOf, type Run } from '../train/run.ts'
import { asksForSearch, drawSearch, searched, withDevicesFlag, type AutoFlags } from './auto.ts'
import { checkRun } from './check.ts'
import { openOutput } from './output.ts'
import { pictureNames, timelineName } from '../draw/pictures.ts'
import { applyFlags, withLayoutFlags, withMeshFlags, type RunFlags } from './overrides.ts'
import type { Machine } from '../machine/machine.ts'
import { forecastOn, machineOfFlags, printForecast, printSweep, withHosts, withMachineFlags, type MachineFlags } from './plan-machine.ts'
import { pictureOf, planPicture, writePicture } from './plan-svg.ts'
import { drawDifference, drawPlanned, drawTensors } from './plan-picture.ts'
import { runOfModel } from './pretrained-run.ts'
import { loadRecipe } from './recipes.ts'
import { savedRun } from './saved-run.ts'

interface Flags extends RunFlags, MachineFlags, AutoFlags { readonly json?: boolean; readonly tensors?: boolean; readonly diff?: string; readonly picture?: string; readonly tensor?: string }

/** What says how a run is laid out, in this command's line and in what it is compared with. */
const withPlanFlags = (command: Command): Command => withLayoutFlags(withMeshFlags(command))
  .option('--set <key=value...>', 'any field of the run, such as batch=1024, remat=everything or precision.compute=bf16')

export const planCommand = (): Command => withDevicesFlag(withMachineFlags(withPlanFlags(new Command('plan')
  .description('Print what a training step takes on each device and what it sends, without devices: memory, operations, collectives.')
  .argument('[recipe]', 'what `meshwork train` takes, a run folder, or a model\'s folder in Hugging Face\'s layout', 'gpt-tiny'))))
  .option('--auto', 'search the mesh and the layout that take least time on --machine, under its memory; rules of --layout stay')
  .option('--tensors', 'how each tensor lies, too, and what the memory is full of at its peak')
  .option('--diff <flags>', 'the same with other flags, line by line beside it: --diff \'--mesh batch=4\'')
  .option('--json', 'print one JSON object; with --diff one line for each plan')
  .option('--svg <file>', 'draw it there, too: the picture that --picture names, or a sweep\'s curves')
  .option('--picture <name>', `which one: ${pictureNames.join(', ')} (mesh); with --machine also ${timelineName} (${timelineName})`)
  .option('--tensor <path>', 'in the picture of the mesh, which part of this tensor lies where')
  .addHelpText('after', `
Examples:
  $ npx meshwork plan gpt-tiny --batch 2 --model 2
  $ npx meshwork plan gpt-1t --mesh batch=16,model=16,stage=4 --json
  $ npx meshwork plan gpt-tiny --batch 4 --params embed=batch --tensors
  $ npx meshwork plan gpt-1t --machine 8xh100 --hosts 128 --price 2.5 --svg step.svg
  $ npx meshwork plan gpt-tiny --machine 8xh100 --sweep batch=8,16,32
  $ npx meshwork plan gpt-1t --auto --machine 8xh100 --hosts 128
  $ npx meshwork plan gpt-tiny --auto --devices 8 --layout auto,heads=model
  $ npx meshwork plan gpt-tiny --batch 2 --model 2 --diff '--mesh batch=4 --layout batch=batch'
  $ npx meshwork plan gpt-tiny --batch 2 --model 2 --svg mesh.svg --picture mesh --tensor params.blocks.up

Bytes and operations are of one device, and of one step. The same line with "train" in the place of "plan" trains.`)
  .action(async (name: string, given: Flags) => {
    const { run, laid } = await givenBy(name)
    const output = openOutput()
    const picture = pictureOf(given)
    if (asksForSearch(given)) {
      if (given.svg !== undefined) throw new UsageError({ code: 'flag', what: '--svg draws one plan, and a search makes many', fix: 'search first, then draw the line that it finds' })
      if (given.sweep !== undefined) throw new UsageError({ code: 'flag', what: '--sweep plans one layout after another, and a search finds one', fix: 'search first, then sweep the line that it finds' })
      const beside = (['diff', 'tensors', 'price'] as const).find(flag => given[flag] !== undefined)
      if (beside !== undefined) throw new UsageError({ code: 'flag', what: `--${beside} is of one plan, and a search makes many`, fix: `search first, then plan the line that it finds with --${beside}` })
      const { found, machine } = await searched(run, given, output)
      if (given.json === true) return output.print(JSON.stringify(found))
      for (const line of drawSearch(run, found, machine, { name, set: given.set })) output.print(line)
      return
    }
    const machine = await machineOfFlags(given)
    if (machine !== undefined && given.sweep !== undefined) return printSweep(run, given, machine, f => ({ run: laid(f), planned: plannedOf(laid(f), machine) }), output)
    const flags = machine === undefined ? given : withHosts(run, given, machine, given.hosts)
    const changed = laid(flags)
    const planned = plannedOf(changed, machine)
    if (flags.diff === undefined) {
      const forecasted = machine === undefined ? undefined : forecastOn(changed, planned, machine, flags)
      if (picture !== undefined) await writePicture(picture.file, planPicture(changed, planned, picture, forecasted))
      if (flags.json === true) return output.print(JSON.stringify({ ...jsonOf(planned, flags), ...(forecasted === undefined ? {} : { predicted: forecasted.predicted }) }))
      for (const line of [...drawPlanned(changed, planned), ...(flags.tensors === true ? drawTensors(planned) : [])]) output.print(line)
      if (forecasted !== undefined) printForecast(forecasted, planned, output)
      return
    }
    const other = plannedOf(laid({ ...flags, ...otherFlags(flags.diff) }), machine)
    const lines = flags.json === true ? [planned, other].map(p => JSON.stringify(jsonOf(p, flags))) : drawDifference(planned, other)
    for (const line of lines) output.print(line)
  })

const jsonOf = ({ plan, tensors, largest }: PlannedRun, flags: Flags): object => (flags.tensors === true ? { ...plan, tensors, largest } : plan)

function plannedOf(run: Run, machine: Machine | undefined): PlannedRun {
  checkRun(run, { onHost: false, setsFields: true, onPaper: true })
  return planRun(run, machine)
}

/** The flags that the other plan has instead. What says a mesh takes the place of all that says one. */
function otherFlags(text: string): RunFlags {
  const words = text.trim() === '' ? [] : text.trim().split(/\s+/)
  const parser = withPlanFlags(new Command('plan')).helpOption(false).exitOverride().configureOutput({ outputError: () => {} })
  if (words.length === 0 || words[0]?.startsWith('--') !== true) throw new UsageError({ code: 'flag', what: `--diff: "${text}" gives no flags`, fix: 'give those that the other plan has instead, as one word: --diff \'--mesh batch=4 --layout batch=batch\'' })
  const given = parser.parse(words, { from: 'user' }).opts<RunFlags>()
  const saysMesh = given.mesh !== undefined || given.batch !== undefined || given.model !== undefined
  return saysMesh ? { mesh: undefined, batch: undefined, model: undefined, ...given } as RunFlags : given
}

/** Tokens of a window of a model that no run has made, where it does not say how long its own are, and windows of its step: so many, or as many more as the mesh has ways for. */
const [usualSeq, usualRows] = [1024, 8]
const sets = (flags: RunFlags, field: string): boolean => flags.set?.some(assignment => assignment.startsWith(`${field}=`) || assignment.startsWith(`${field}.`)) === true

/** A run, and the same with flags; a model that no run has made is laid out as other commands do. @throws UsageError, FileError where there is neither a recipe, a run nor a model */
async function givenBy(name: string): Promise<{ readonly run: Run; readonly laid: (flags: RunFlags) => Run }> {
  const isFolder = await stat(name).then(s => s.isDirectory(), () => false)
  const made = !isFolder ? (await loadRecipe(name)).run : await readRunFile(name) !== undefined ? (await savedRun(name, undefined)).run : undefined
  if (made !== undefined) return { run: made, laid: flags => applyFlags(made, flags) }
  const given = await readPretrained(name)
  const run = await runOfModel(name, given, Math.min(given.positions, usualSeq))
  return {
    run, laid: flags => {
      const meshed = applyFlags(run, flags)
      const ways = meshed.mesh['batch'] ?? 1
      const rows = sets(flags, 'batch') ? meshed : { ...meshed, batch: ways * Math.ceil(usualRows / ways) }
      return flags.layout !== undefined || sets(flags, 'layout') ? rows : { ...rows, layout: usualLayout((modelOf(rows) as unknown as AnyModel).dims, meshed.mesh) }
    },
  }
}
