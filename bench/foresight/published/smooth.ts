/**
 * How near any smooth function of a layout comes that is told the table itself: of utilisations as sums of few simple features of a row (least squares with a little ridge), the one whose rows, each told by all others, are the least off.
 * It is chosen after the fact among hundreds, and is no bound, but a measure of the table's own scatter.
 */
import type { GptRow } from '../planned-gpt.ts'
import { microbatchesOf } from '../planned-gpt.ts'

type Feature = (r: GptRow) => number
const features: readonly Feature[] = [
  r => Math.log(r.data), r => Math.log(r.tensor), r => Math.log(r.microbatch), r => (r.stages - 1) / microbatchesOf(r), r => Math.log(r.microbatch) * Math.log(r.tensor), r => r.microbatch / r.tensor, r => Math.log(r.embed * r.layers),
  r => Math.log(r.embed * r.layers) ** 2, r => (r.slices ?? 1) - 1, r => ((r.slices ?? 1) - 1) * Math.log(r.data * r.tensor), r => Number((r.recompute ?? 'layers') !== 'nothing'), r => Math.log(r.seq), r => Math.log(r.seq / r.embed) ** 2,
]

/** The weights of a sum that fits best, where all but the first count against it by `ridge`. */
function fitted(rows: readonly (readonly number[])[], values: readonly number[], ridge: number): readonly number[] {
  const n = rows[0]?.length ?? 0
  const m = Array.from({ length: n }, (_, i) => [...Array.from({ length: n }, (_, j) => rows.reduce((sum, x) => sum + (x[i] ?? 0) * (x[j] ?? 0), i === j && i > 0 ? ridge : 0)), rows.reduce((sum, x, k) => sum + (x[i] ?? 0) * (values[k] ?? 0), 0)])
  for (let i = 0; i < n; i++) {
    const pivot = m[i]
    const by = pivot?.[i] ?? 0
    if (pivot === undefined || by === 0) continue
    for (const row of m) {
      if (row === pivot) continue
      const share = (row[i] ?? 0) / by
      for (let c = i; c <= n; c++) row[c] = (row[c] ?? 0) - share * (pivot[c] ?? 0)
    }
  }
  return m.map((row, i) => (row[n] ?? 0) / (row[i] ?? 1))
}

/** Those of at most so many of a list. */
const subsets = <T>(list: readonly T[], most: number): readonly (readonly T[])[] => list.reduce<readonly (readonly T[])[]>((sets, x) => [...sets, ...sets.flatMap(s => (s.length < most ? [[...s, x]] : []))], [[]])

/** The least mean error in percent, and of how many functions. */
export function smoothest<R extends GptRow & { readonly ms: number }>(rows: readonly R[], flops: (r: R) => number): { readonly error: number; readonly of: number } {
  const values = rows.map(r => Math.log(r.ms / flops(r)))
  const errorOf = (chosen: readonly Feature[], ridge: number): number => {
    const told = rows.map(r => [1, ...chosen.map(f => f(r))])
    const errors = told.map((x, k) => {
      const others = <T>(list: readonly T[]): readonly T[] => list.filter((_, i) => i !== k)
      const weights = fitted(others(told), others(values), ridge)
      return 100 * Math.abs(Math.exp(weights.reduce((sum, w, i) => sum + w * (x[i] ?? 0), 0) - (values[k] ?? 0)) - 1)
    })
    return errors.reduce((a, b) => a + b, 0) / errors.length
  }
  const differ = features.filter(f => new Set(rows.map(f)).size > 1)
  const tried = subsets(differ, 4).flatMap(chosen => [0.01, 0.1].map(ridge => errorOf(chosen, ridge)))
  return { error: Math.min(...tried.filter(Number.isFinite)), of: tried.length }
}
