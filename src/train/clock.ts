/** Where the time of a run goes: wall time by what it went into (Google's ml-goodput has the same kinds). */
import type { Goodput } from './events.ts'

export type Bucket = Exclude<keyof Goodput, 'other' | 'starts'>
type Spent = { [B in Bucket]: number }

export class Clock {
  readonly spent: Spent = { steps: 0, dataWait: 0, starting: 0, evaluation: 0, checkpoints: 0, restoring: 0, lost: 0 }
  readonly #began = performance.now()
  #before = 0

  add(bucket: Bucket, ms: number): void { this.spent[bucket] += ms }
  /** Of work that a bucket is for. */
  async time<T>(bucket: Bucket, work: () => Promise<T>): Promise<T> {
    const from = performance.now()
    try { return await work() } finally { this.add(bucket, performance.now() - from) }
  }
  /** What steps took is taken back: they are not in the result. */
  lose(ms: number): void {
    this.spent.steps -= ms
    this.spent.lost += ms
  }
  /** What the start before took for steps that were lost with its process, and that it could not note any more. */
  lostBefore(ms: number): void {
    this.spent.lost += ms
    this.#before += ms
  }
  /** Of this start of the run, and what was lost before it. */
  get elapsed(): number { return performance.now() - this.#began + this.#before }
}

/** Spans of time of several starts of one run, as one. */
export function joined(starts: readonly { readonly spent: Spent; readonly elapsed: number }[]): Goodput {
  const sum = (bucket: Bucket): number => starts.reduce((n, s) => n + s.spent[bucket], 0)
  const spent = { steps: sum('steps'), dataWait: sum('dataWait'), starting: sum('starting'), evaluation: sum('evaluation'), checkpoints: sum('checkpoints'), restoring: sum('restoring'), lost: sum('lost') }
  const known = Object.values(spent).reduce((a, b) => a + b, 0)
  return { ...spent, other: Math.max(0, starts.reduce((n, s) => n + s.elapsed, 0) - known), starts: starts.length }
}
