/** What the sections on foresight and on choices have measured, kept in a file: it goes on where it was ended, and what was measured once can be predicted again and again. */
import { readFile } from 'node:fs/promises'
import { writeFileAtomic } from '../../src/io/atomic.ts'
import type { MachineInput } from '../../src/machine/machine.ts'
import type { Answers, Named } from './worker.ts'

export type Where = 'one process' | '4 ranks'
/** A run's step: `rounds` are medians of the steps of a visit, in milliseconds. */
export interface MeasuredRun extends Named { readonly where: Where; readonly rounds: readonly number[]; readonly compiled: Answers['open'] }
/** Layouts of a model on so many devices, of which the first was chosen: what was predicted and measured of each. */
export interface MeasuredChoice { readonly name: string; readonly of: number; readonly searchSeconds: number; readonly memory: number; readonly tried: readonly TriedLayout[] }
export interface TriedLayout { readonly text: string; readonly drawn: boolean; readonly predictedMs: number; readonly peakBytes: number; /** Of the rounds that all were in, and of those that it was last in, with those that were near it. */ readonly firstMs: number; readonly lastMs: number; readonly stages: number }
/** Machines by where they were measured: `one process`, `4 ranks`, and `8 devices` for choices among layouts. */
export interface Kept { readonly machines: { readonly [where: string]: MachineInput }; readonly runs: readonly MeasuredRun[]; readonly choices?: readonly MeasuredChoice[] }

/** `MESHWORK_BENCH_KEPT=FILE`. Without it nothing is kept. */
export async function openKept(path: string = process.env['MESHWORK_BENCH_KEPT'] ?? ''): Promise<{ readonly now: () => Kept; readonly add: (more: Partial<Kept>) => Promise<void> }> {
  const text = path === '' ? undefined : await readFile(path, 'utf8').catch(() => undefined)
  let kept = text === undefined ? { machines: {}, runs: [] } : JSON.parse(text) as Kept
  return {
    now: () => kept,
    add: async ({ machines = {}, runs = [], choices = [] }) => {
      kept = { machines: { ...kept.machines, ...machines }, runs: [...kept.runs, ...runs], choices: [...kept.choices ?? [], ...choices] }
      if (path !== '') await writeFileAtomic(path, `${JSON.stringify(kept, null, 1)}\n`)
    },
  }
}
