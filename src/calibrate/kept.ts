/** What a machine was measured to do, kept in the cache: `--machine here` is it, and `--machine ranks` what ranks of a job were. */
import { join } from 'node:path'
import { writeFileAtomic } from '../io/atomic.ts'
import { cacheRoot, makeCacheFolder } from '../io/cache-root.ts'
import type { MachineInput } from '../machine/machine.ts'

/** Names of machines that are measured, and how. */
export const measuredMachines: { readonly [name: string]: string } = { here: 'npx meshwork calibrate', ranks: 'mpirun -n 4 npx meshwork calibrate' }

export const machinePath = (name: string): string => join(cacheRoot(), 'machines', `${name}.json`)

/** Resolves to the file. @throws FileError where it cannot be written */
export async function keepMachine(machine: MachineInput): Promise<string> {
  const path = machinePath(machine.name)
  await makeCacheFolder(join(cacheRoot(), 'machines'))
  await writeFileAtomic(path, `${JSON.stringify(machine, null, 1)}\n`)
  return path
}
