/** `meshwork plan --machine`: a plan's time on a machine that need not be here, on as many hosts as are said, and how that changes with a field of the run. */
import type { Command } from 'commander'
import { UsageError } from '../core/errors.ts'
import type { Machine } from '../machine/machine.ts'
import type { On } from '../pictured/predicted.ts'
import { forecast } from '../train/forecast.ts'
import type { PlannedRun } from '../train/planned.ts'
import type { Run } from '../train/run.ts'
import { drawForecast } from './forecast-text.ts'
import { machineNamed } from './machines.ts'
import type { Output } from './output.ts'
import { wholeNumber, type RunFlags } from './overrides.ts'
import { writePicture } from './plan-svg.ts'
import { drawSweep, drawSweepPicture, sweepOf, type Swept } from './sweep.ts'

export interface MachineFlags { readonly machine?: string; readonly hosts?: string; readonly price?: string; readonly svg?: string; readonly sweep?: string }

export const withMachineFlags = (command: Command): Command => command
  .option('--machine <name|file>', 'what a step takes on this machine: 8xh100, 8xh200, 8xb200, 8xa100, 8xa100-40, v5p, v6e, cpu-25gbe, a machine file, or here, as `meshwork calibrate` measured it')
  .option('--hosts <n>', 'so many hosts of it: the axis of the batch is as large as that makes it, unless the mesh is said')
  .option('--price <dollars>', 'of a device, an hour: what 10¹² tokens cost')
  .option('--sweep <field=a,b,...>', 'for several values of a field of the run, or of hosts: --sweep batch=64,128,256')

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

/** The flags with a mesh for so many hosts: the axis that the batch lies on takes what the others leave. @throws UsageError where it cannot */
export function withHosts<F extends RunFlags>(run: Run, flags: F, machine: Machine, hosts: string | undefined): F {
  if (hosts === undefined) return flags
  const devices = wholeNumber(hosts, '--hosts', 1, 2 ** 20) * machine.devicesPerHost
  const said = flags.mesh !== undefined || flags.batch !== undefined
  const mesh = { ...run.mesh, ...(flags.model === undefined ? {} : { model: Number(flags.model) }), ...(flags.batch === undefined ? {} : { batch: Number(flags.batch) }) }
  const axes: [string, number][] = flags.mesh === undefined ? Object.entries(mesh) : flags.mesh.split(',').map(p => { const [axis = '', n] = p.split('='); return [axis.trim(), Number(n)] })
  const [axis] = [run.layout['batch'] ?? axes[0]?.[0] ?? 'batch'].flat()
  const others = axes.filter(([name]) => name !== axis).reduce((n, [, size]) => n * size, 1)
  const size = axes.reduce((n, [, s]) => n * s, 1)
  if (size === devices || !Number.isFinite(size)) return flags
  const shown = (list: readonly (readonly [string, number])[]): string => list.map(([name, n]) => `${name}=${n}`).join(',')
  const wide = axes.map(([name, n]): [string, number] => [name, name === axis ? devices / others : n])
  if (said) throw flagError(`--hosts ${hosts} is ${devices} devices of ${machine.name}, and the mesh ${shown(axes)} has ${size}`, devices % others === 0 ? `leave the mesh out, or say --mesh ${shown(wide)}` : `leave --hosts out, or give a mesh of ${devices}`)
  if (devices % others !== 0) throw flagError(`--hosts ${hosts} is ${devices} devices of ${machine.name}, which the axes ${shown(axes.filter(([name]) => name !== axis))} do not divide`, `give a mesh of ${devices}: --mesh ${axis}=${devices}`)
  const { model: _, ...rest } = flags
  return { ...rest, mesh: shown(wide) } as unknown as F
}

/** What a planned run would take on a machine; `named` is what the flag calls it. */
export const forecastOn = (run: Run, planned: PlannedRun, machine: Machine, { price, machine: named = machine.name }: MachineFlags): On => ({ ...forecast(run, planned, machine, priceOf(price)), machine, named })

export function printForecast({ predicted }: On, planned: PlannedRun, output: Output): void {
  for (const line of ['', ...drawForecast(predicted, planned.skipsBlocks)]) output.print(line)
}

/** What is wrong with a value is said of the flag that gave it. */
function saidOf<T>(flag: string, f: () => T): T {
  try { return f() } catch (e) {
    throw e instanceof UsageError ? new UsageError({ ...e.problem, what: `${flag}: ${e.problem.what.replace(/^(--set|the command line): /, '')}` }) : e
  }
}

/** A plan for each value of a field. `planned` plans the run with other flags. */
export async function printSweep<F extends RunFlags>(run: Run, flags: F & MachineFlags & { readonly json?: boolean }, machine: Machine, planned: (flags: F) => { readonly run: Run; readonly planned: PlannedRun }, output: Output): Promise<void> {
  const { field, values } = sweepOf(flags.sweep ?? '')
  const swept: Swept[] = []
  for (const value of values) {
    output.status(`planning ${field}=${value}, ${swept.length + 1} of ${values.length}`)
    const changed = field === 'hosts' ? withHosts(run, flags, machine, value) : { ...withHosts(run, flags, machine, flags.hosts), set: [...flags.set ?? [], `${field}=${value}`] }
    const found = saidOf(`--sweep ${field}=${value}`, () => planned(changed))
    swept.push({ value, predicted: forecast(found.run, found.planned, machine, priceOf(flags.price)).predicted })
  }
  output.clear()
  if (flags.json === true) output.print(JSON.stringify({ field, values: swept }))
  else for (const line of drawSweep(field, swept)) output.print(line)
  if (flags.svg !== undefined) await writePicture(flags.svg, drawSweepPicture(run.name, field, swept))
}
