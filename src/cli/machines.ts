/** The machine that a command line names: one that comes along, a file, or what `meshwork calibrate` has kept. */
import { access } from 'node:fs/promises'
import { machinePath, measuredMachines } from '../calibrate/kept.ts'
import { UsageError } from '../core/errors.ts'
import type { Machine } from '../machine/machine.ts'
import { machineNames, readMachine } from '../machine/read.ts'

const isThere = (path: string): Promise<boolean> => access(path).then(() => true, () => false)

/** What the page lets be chosen: machines that were measured, as they are called, and those that come along. */
export async function offeredMachines(): Promise<readonly string[]> {
  const measured = await Promise.all(Object.keys(measuredMachines).map(async name => (await isThere(machinePath(name)) ? [name] : [])))
  return [...measured.flat(), ...machineNames]
}

/** @throws UsageError, FileError */
export async function machineNamed(given: string): Promise<Machine> {
  const how = Object.hasOwn(measuredMachines, given) ? measuredMachines[given] : undefined
  if (how === undefined) return readMachine(given)
  const path = machinePath(given)
  if (!await isThere(path)) throw new UsageError({ code: 'not-calibrated', what: `--machine ${given}: this machine has not been measured`, fix: `${how}, which takes a few minutes; or one of ${machineNames.join(', ')}` })
  return readMachine(path)
}
