/** `meshwork plan`: what a step of a run would take and send, told without devices and without a plugin. */
import { Command } from 'commander'
import { UsageError } from '../core/errors.ts'
import type { On } from '../pictured/predicted.ts'
import type { PlannedRun } from '../train/planned.ts'
import type { Run } from '../train/run.ts'
import { asksForSearch, drawSearch, withDevicesFlag, type AutoFlags } from './auto.ts'
import { openOutput } from './output.ts'
import { pictureNames, timelineName } from '../draw/pictures.ts'
import { withLayoutFlags, withMeshFlags, type RunFlags } from './overrides.ts'
import { forecastOn, machineOfFlags, printForecast, printSweep, withHosts, withMachineFlags, type MachineFlags } from './plan-machine.ts'
import { pictureOf, planPicture, writePicture } from './plan-svg.ts'
import { drawDifference, drawPlanned, drawTensors } from './plan-picture.ts'
import { plannable, plannedOf } from './plannable.ts'
import { askedOf } from './planning-thread.ts'

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
    const { run, laid } = await plannable(name)
    const output = openOutput()
    const picture = pictureOf(given)
    if (asksForSearch(given)) {
      if (given.sweep !== undefined) throw new UsageError({ code: 'flag', what: '--sweep plans one layout after another, and a search finds one', fix: 'search first, then sweep the line that it finds' })
      refused(given, ['svg', 'diff', 'tensors', 'price'], 'is of one plan, and a search makes many', flag => `search first, then plan the line that it finds with --${flag}`)
      const found = await askedOf('search', { from: { plannable: name }, flags: given }, output)
      if (given.json === true) return output.print(JSON.stringify(found.found))
      for (const line of drawSearch(run, found, { name, set: given.set })) output.print(line)
      return
    }
    const machine = await machineOfFlags(given)
    if (given.sweep !== undefined) {
      refused(given, ['diff', 'tensors'], 'is of one plan, and a sweep makes many', () => 'leave one of both out')
      return printSweep(run.name, given, await askedOf('sweep', { name, flags: given }, output), output)
    }
    const flags = machine === undefined ? given : withHosts(run, given, machine, given.hosts)
    const whole = (its: RunFlags): Planned => {
      const changed = laid(its)
      const planned = plannedOf(changed, machine)
      return { run: changed, planned, on: machine === undefined ? undefined : forecastOn(changed, planned, machine, given) }
    }
    const one = whole(flags)
    if (flags.diff !== undefined) {
      if (flags.json !== true) refused(given, ['tensors'], 'is of one plan, and --diff compares two', () => 'leave one of both out, or add --json')
      const other = whole(otherFlags(flags, flags.diff))
      const lines = flags.json === true ? [one, other].map(p => JSON.stringify(jsonOf(p, flags))) : drawDifference(one, other)
      for (const line of lines) output.print(line)
      return
    }
    if (picture !== undefined) await writePicture(picture.file, planPicture(one.run, one.planned, picture, one.on))
    if (flags.json === true) return output.print(JSON.stringify(jsonOf(one, flags)))
    for (const line of [...drawPlanned(one.run, one.planned), ...(flags.tensors === true ? drawTensors(one.planned) : [])]) output.print(line)
    if (one.on !== undefined) printForecast(one.on, one.planned, output)
  })

interface Planned { readonly run: Run; readonly planned: PlannedRun; readonly on: On | undefined }
const jsonOf = ({ planned: { plan, tensors, largest }, on }: Planned, flags: Flags): object => ({ ...plan, ...(flags.tensors === true ? { tensors, largest } : {}), ...(on === undefined ? {} : { predicted: on.predicted }) })

/** @throws UsageError for the first of these flags that is given */
function refused(given: Flags, flags: readonly ('svg' | 'diff' | 'tensors' | 'price')[], why: string, fix: (flag: string) => string): void {
  const flag = flags.find(f => given[f] !== undefined)
  if (flag !== undefined) throw new UsageError({ code: 'flag', what: `--${flag} ${why}`, fix: fix(flag) })
}

/** The flags of the other plan: what says a mesh takes the place of all that says one, what is set is set beside what was. */
function otherFlags(flags: RunFlags, text: string): RunFlags {
  const words = text.trim() === '' ? [] : text.trim().split(/\s+/)
  const parser = withPlanFlags(new Command('plan')).helpOption(false).exitOverride().configureOutput({ outputError: () => {} })
  if (words.length === 0 || words[0]?.startsWith('--') !== true) throw new UsageError({ code: 'flag', what: `--diff: "${text}" gives no flags`, fix: 'give those that the other plan has instead, as one word: --diff \'--mesh batch=4 --layout batch=batch\'' })
  const given = parser.parse(words, { from: 'user' }).opts<RunFlags>()
  const saysMesh = given.mesh !== undefined || given.batch !== undefined || given.model !== undefined
  const { mesh: _, batch: __, model: ___, ...others } = flags
  return { ...(saysMesh ? others : flags), ...given, set: [...flags.set ?? [], ...given.set ?? []] }
}
