/** Predictions held against what was measured: errors in percent, and the prediction that knows nothing. */
import type { Row } from '../measure.ts'
import { row } from '../measure.ts'
import type { GptRow } from './planned-gpt.ts'

export interface Held { readonly predictedMs: number; readonly ms: number }
export const errorOf = ({ predictedMs, ms }: Held): number => 100 * Math.abs(predictedMs / ms - 1)
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length
const quantile = (values: readonly number[], share: number): number => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(share * values.length))] ?? NaN
export const meanError = (held: readonly Held[]): number => mean(held.map(errorOf))

/** Mean, median, 90th percentile and the worst. */
export function errorRows(what: string, held: readonly Held[], goal?: number): Row[] {
  const errors = held.map(errorOf)
  return [row(`${what}: mean error`, mean(errors), '%', goal), row(`${what}: median`, quantile(errors, 0.5), '%'), row(`${what}: 90th percentile`, quantile(errors, 0.9), '%'), row(`${what}: the worst`, Math.max(...errors), '%')]
}

/** Operations of a step with every layer computed again: 96 B s l h² (1 + s / 6h + V / 16lh) of Narayanan et al. 2021, equation 3; three quarters of them without. */
export const stepFlops = ({ batch, seq, layers, embed, vocab }: Pick<GptRow, 'batch' | 'seq' | 'layers' | 'embed' | 'vocab'>, again = true): number =>
  (again ? 96 : 72) * batch * seq * layers * embed ** 2 * (1 + seq / (6 * embed) + vocab / (16 * layers * embed))

/** What one constant utilisation for all predicts, the one with the least mean error on the rows that it is fitted to. `work`: operations of a device. */
export function constantUtilisation<T extends { readonly ms: number }>(sample: readonly T[], work: (r: T) => number): (r: T) => number {
  const errorWith = (msPer: number): number => mean(sample.map(r => errorOf({ predictedMs: work(r) * msPer, ms: r.ms })))
  // The error is made of straight pieces, which meet where a row is met exactly.
  const best = sample.map(r => r.ms / work(r)).reduce((a, b) => (errorWith(b) < errorWith(a) ? b : a))
  return r => work(r) * best
}

/** How much longer the run that is predicted to be fastest takes than the fastest, in percent, of each group. */
export function regrets<T extends Held>(held: readonly T[], groupOf: (r: T) => string): readonly number[] {
  const groups = new Map<string, T[]>()
  for (const r of held) groups.set(groupOf(r), [...groups.get(groupOf(r)) ?? [], r])
  return [...groups.values()].filter(g => g.length > 1).map(g => 100 * (g.reduce((a, b) => (b.predictedMs < a.predictedMs ? b : a)).ms / Math.min(...g.map(r => r.ms)) - 1))
}
export const percentile90 = (values: readonly number[]): number => quantile(values, 0.9)
