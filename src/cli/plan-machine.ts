/** `meshwork plan --machine`: a plan's time on a machine that need not be here, on as many hosts as are said, and how that changes with a field of the run. */
import type { Command } from 'commander'
import { MeshworkError, UsageError } from '../core/errors.ts'
import type { Machine } from '../machine/machine.ts'
import type { On } from '../pictured/predicted.ts'
import { forecast } from '../train/forecast.ts'
import type { PlannedRun } from '../train/planned.ts'
import type { Run } from '../train/run.ts'
import { drawForecast } from './forecast-text.ts'
import { machineNamed } from './machines.ts'
import type { Output } from './output.ts'
import { wholeNumber, type RunFlags } from './overrides.ts'
import { plannedOf, type Plannable } from './plannable.ts'
import { writePicture } from './plan-svg.ts'
import { drawSweep, drawSweepPicture, sweepOf, type Swept } from './sweep.ts'

export interface MachineFlags { readonly machine?: string; readonly hosts?: string; readonly price?: string; readonly svg?: string; readonly sweep?: string }

export const withMachineFlags = (command: Command): Command => command
  .option('--machine <name|file>', 'what a step takes on this machine: 8xh100, 8xh200, 8xb200, 8xa100, 8xa100-40, v5p, v6e, cpu-25gbe, a machine file, or here, as `meshwork calibrate` measured it')
  .option('--hosts <n>', 'so many hosts of it: the axis of the batch is as large as that makes it, unless the mesh is said')
  .option('--price <dollars>', 'of a device, an hour: what 10¹² tokens cost')
  .option('--sweep <field=a,b,...>', 'for several values of a field of the run, or of hosts: --sweep batch=64,128,256')

const mostHosts = 2 ** 20
const flagError = (what: string, fix: string): UsageError => new UsageError({ code: 'flag', what, fix })

function priceOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const price = Number(text)
  if (text.trim() !== '' && Number.isFinite(price) && price > 0) return price
  throw flagError(`--price: "${text}" is no price`, 'dollars of a device an hour, such as --price 2.5')
}

/** @throws UsageError where a flag is given that says nothing without a machine */
export async function machineOfFlags({ machine, hosts, price, sweep }: MachineFlags): Promise<Machine | undefined> {
  priceOf(price)
  if (machine !== undefined) return machineNamed(machine)
  for (const [flag, given] of Object.entries({ hosts, price, sweep })) if (given !== undefined) throw flagError(`--${flag} is given, and no machine`, `say what it is to run on: --machine 8xh100 --${flag} ${given}`)
  return undefined
}

/** The flags with a mesh for so many hosts, who are `asked` for by a flag: the axis that the batch lies on takes what the others leave. @throws UsageError where it cannot */
export function withHosts<F extends RunFlags>(run: Run, flags: F, machine: Machine, hosts: string | undefined, asked = `--hosts ${hosts}`): F {
  if (hosts === undefined) return flags
  const devices = wholeNumber(hosts, '--hosts', 1, mostHosts) * machine.devicesPerHost
  const said = flags.mesh !== undefined || flags.batch !== undefined
  const mesh = { ...run.mesh, ...(flags.model === undefined ? {} : { model: Number(flags.model) }), ...(flags.batch === undefined ? {} : { batch: Number(flags.batch) }) }
  const axes: [string, number][] = flags.mesh === undefined ? Object.entries(mesh) : flags.mesh.split(',').map(p => { const [axis = '', n] = p.split('='); return [axis.trim(), Number(n)] })
  const [axis] = [run.layout['batch'] ?? axes[0]?.[0] ?? 'batch'].flat()
  const others = axes.filter(([name]) => name !== axis).reduce((n, [, size]) => n * size, 1)
  const size = axes.reduce((n, [, s]) => n * s, 1)
  if (size === devices || !Number.isFinite(size)) return flags
  const shown = (list: readonly (readonly [string, number])[]): string => list.map(([name, n]) => `${name}=${n}`).join(',')
  const wide = axes.map(([name, n]): [string, number] => [name, name === axis ? devices / others : n])
  if (said) throw flagError(`${asked} is ${devices} devices of ${machine.name}, and the mesh ${shown(axes)} has ${size}`, devices % others === 0 ? `leave the mesh out, or say --mesh ${shown(wide)}` : `leave --hosts out, or give a mesh of ${devices}`)
  if (devices % others !== 0) throw flagError(`${asked} is ${devices} devices of ${machine.name}, which the axes ${shown(axes.filter(([name]) => name !== axis))} do not divide`, `give a mesh of ${devices}: --mesh ${axis}=${devices}`)
  const { model: _, ...rest } = flags
  return { ...rest, mesh: shown(wide) } as unknown as F
}

/** What a planned run would take on a machine; `named` is what the flag calls it. */
export const forecastOn = (run: Run, planned: PlannedRun, machine: Machine, { price, machine: named = machine.name }: MachineFlags): On => ({ ...forecast(run, planned, machine, priceOf(price)), machine, named })

export function printForecast({ predicted }: On, planned: PlannedRun, output: Output): void {
  for (const line of ['', ...drawForecast(predicted, planned.skipsBlocks)]) output.print(line)
}

export type SweepFlags = RunFlags & MachineFlags
/** A plan for each value of a field. What one cannot be laid by is said of it, and the next is planned. @throws UsageError for a field that is none, a value that it cannot have, and where nothing can be laid */
export async function sweptBy({ run, laid }: Plannable, flags: SweepFlags, output: Pick<Output, 'status'>): Promise<readonly Swept[]> {
  const machine = await machineOfFlags(flags)
  if (machine === undefined) throw new Error('a sweep is of a machine')
  const { field, values } = sweepOf(flags.sweep ?? '')
  if (field === 'hosts' && flags.hosts !== undefined) throw flagError(`--hosts ${flags.hosts} and --sweep hosts speak of the same thing`, 'leave one of both out')
  const price = priceOf(flags.price)
  // What no run can have is told before the first of them is planned.
  const given = values.map((value): { readonly value: string; readonly run: () => Run } => {
    if (field === 'hosts') {
      wholeNumber(value, '--sweep hosts', 1, mostHosts, '--sweep hosts=1,2,4')
      return { value, run: () => laid(withHosts(run, flags, machine, value, `--sweep hosts=${value}`)) }
    }
    const changed = laid({ ...withHosts(run, flags, machine, flags.hosts), swept: `${field}=${value}` })
    return { value, run: () => changed }
  })
  const swept: Swept[] = []
  const wrong: MeshworkError[] = []
  for (const { value, run: its } of given) {
    output.status(`planning ${field}=${value}, ${swept.length + 1} of ${values.length}`)
    try {
      const changed = its()
      swept.push({ value, predicted: forecast(changed, plannedOf(changed, machine), machine, price).predicted })
    } catch (e) {
      if (!(e instanceof MeshworkError)) throw e
      const { code, what, fix } = e.problem
      wrong.push(e)
      swept.push({ value, wrong: { code, what, ...(fix === undefined ? {} : { fix }) } })
    }
  }
  const [first] = wrong
  if (first !== undefined && wrong.length === swept.length) throw first
  return swept
}

/** A sweep as a table, or as JSON; its curves where they are asked for. */
export async function printSweep(name: string, flags: MachineFlags & { readonly json?: boolean }, swept: readonly Swept[], output: Output): Promise<void> {
  const { field } = sweepOf(flags.sweep ?? '')
  if (flags.json === true) output.print(JSON.stringify({ field, values: swept }))
  else for (const line of drawSweep(field, swept)) output.print(line)
  if (flags.svg !== undefined) await writePicture(flags.svg, drawSweepPicture(name, field, swept))
}
