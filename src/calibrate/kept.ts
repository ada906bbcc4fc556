/** What a machine was measured to do, kept in the cache: `--machine here` is it, and `--machine ranks` what ranks of a job were. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '../io/atomic.ts'
import { cacheRoot, makeCacheFolder } from '../io/cache-root.ts'
import type { MachineInput } from '../machine/machine.ts'

/** Names of machines that are measured, and how. */
export const measuredMachines: { readonly [name: string]: string } = { here: 'npx meshwork calibrate', ranks: 'mpirun -n 4 npx meshwork calibrate' }

export const machinePath = (name: string): string => join(cacheRoot(), 'machines', `${name}.json`)

/** How it was measured, as `sources` of the machine say it. */
export const measuredBy = (quick: boolean): string => `measured by meshwork calibrate${quick ? ' --quick' : ''}`
const isQuick = ({ sources }: Pick<MachineInput, 'sources'>): boolean => Object.values(sources).some(s => s.startsWith(measuredBy(true)))

/** Whether a machine lies there that was measured in full; what cannot be read is none. */
async function isFull(path: string): Promise<boolean> {
  const text = await readFile(path, 'utf8').catch(() => '')
  try { return !isQuick(JSON.parse(text) as MachineInput) } catch { return false }
}

/** Writes it to its file, unless it was measured quickly and what lies there in full: that stays, if it is not to be replaced. @throws FileError where it cannot be written */
export async function keepMachine(machine: MachineInput, replace = false): Promise<{ readonly path: string; readonly kept: boolean }> {
  const path = machinePath(machine.name)
  if (isQuick(machine) && !replace && await isFull(path)) return { path, kept: false }
  await makeCacheFolder(join(cacheRoot(), 'machines'))
  await writeFileAtomic(path, `${JSON.stringify(machine, null, 1)}\n`)
  return { path, kept: true }
}
