/** What the section on foresight has measured, kept in a file: it goes on where it was ended, and what was measured once can be predicted again and again. */
import { readFile } from 'node:fs/promises'
import { writeFileAtomic } from '../../src/io/atomic.ts'
import type { MachineInput } from '../../src/machine/machine.ts'
import type { Answers, Named } from './worker.ts'

export type Where = 'one process' | '4 ranks'
/** A run's step: `rounds` are medians of the steps of a visit, in milliseconds. */
export interface MeasuredRun extends Named { readonly where: Where; readonly rounds: readonly number[]; readonly compiled: Answers['open'] }
export interface Kept { readonly machines: { readonly [W in Where]?: MachineInput }; readonly runs: readonly MeasuredRun[] }

/** `MESHWORK_BENCH_KEPT=FILE`. Without it nothing is kept. */
export async function openKept(path: string = process.env['MESHWORK_BENCH_KEPT'] ?? ''): Promise<{ readonly now: () => Kept; readonly add: (more: Partial<Kept>) => Promise<void> }> {
  const text = path === '' ? undefined : await readFile(path, 'utf8').catch(() => undefined)
  let kept = text === undefined ? { machines: {}, runs: [] } : JSON.parse(text) as Kept
  return {
    now: () => kept,
    add: async ({ machines = {}, runs = [] }) => {
      kept = { machines: { ...kept.machines, ...machines }, runs: [...kept.runs, ...runs] }
      if (path !== '') await writeFileAtomic(path, `${JSON.stringify(kept, null, 1)}\n`)
    },
  }
}
