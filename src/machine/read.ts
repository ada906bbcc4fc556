/** Machines by name or from a file: read, checked, and an error that names the figure which is missing. */
import { readFile } from 'node:fs/promises'
import { FileError, UsageError } from '../core/errors.ts'
import { fieldError } from '../core/fields.ts'
import { didYouMean } from '../core/nearest.ts'
import { cpus } from './cpus.ts'
import { gpus } from './gpus.ts'
import { machineSchema, type Machine, type MachineInput } from './machine.ts'
import { tpus } from './tpus.ts'

/** A description as a machine. @throws UsageError that names the figure which is missing or cannot be; `where` says who gave it */
export function machineOf(given: unknown, where: string): Machine {
  const parsed = machineSchema.safeParse(given)
  if (parsed.success) return parsed.data
  throw fieldError(machineSchema, given, parsed.error.issues[0], where, 'machine')
}

const described: readonly MachineInput[] = [...gpus, ...tpus, ...cpus]
/** The machines that come along, by their names, which is what `--machine` takes. */
export const machineNames: readonly string[] = described.map(m => m.name)

/** The machine of that name, one of those that come along. @throws UsageError with the nearest name */
export function knownMachine(name: string): Machine {
  const found = described.find(m => m.name === name)
  if (found === undefined) throw new UsageError({ code: 'unknown-machine', what: `there is no machine "${name}"`, fix: `${didYouMean(name, machineNames)}; or give a machine file, such as ./cluster.json` })
  return machineOf(found, name)
}

const looksLikeFile = (given: string): boolean => given.includes('/') || given.endsWith('.json')

/** What `--machine` names: a machine that comes along, or a file. @throws UsageError, FileError */
export async function readMachine(given: string): Promise<Machine> {
  if (!looksLikeFile(given)) return knownMachine(given)
  const text = await readFile(given, 'utf8').catch((cause: unknown) => {
    throw new FileError({ code: 'machine-file', what: `cannot read the machine file ${given}`, details: { reason: cause instanceof Error ? cause.message : String(cause) }, fix: 'give a JSON file as `meshwork calibrate --json` writes it, or one of the machines that come along', cause })
  })
  let value: unknown
  try { value = JSON.parse(text) } catch (cause) {
    throw new UsageError({ code: 'machine-json', what: `the machine file ${given} is not JSON`, details: { reason: cause instanceof Error ? cause.message : String(cause) }, fix: 'correct it, or write one anew: npx meshwork calibrate --json', cause })
  }
  return machineOf(value, given)
}
