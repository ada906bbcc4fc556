/** What the rules of the reference evaluator have in common. */
import type { DType } from '../../core/dtype.ts'
import { rangeOf } from '../../core/range.ts'
import type { TableFor } from '../node.ts'
import type { ReduceKind } from '../ops.ts'
import type { Value } from './values.ts'

const starts: { readonly [K in ReduceKind]: number } = { sum: 0, prod: 1, max: -Infinity, min: Infinity }
/** The identity of a reduction in a dtype, as the emitter writes it too. */
export const reduceStart = (kind: ReduceKind, dtype: DType): number => {
  const [low, high] = rangeOf(dtype)
  return Math.max(low, Math.min(high, starts[kind]))
}

export const at = (v: readonly Value[], i: number): Value => {
  const found = v[i]
  if (found === undefined) throw new Error(`operand ${i} is missing`)
  return found
}
export const get = (v: Value, i: number): number => v.data[i] ?? Number.NaN

/** `run` evaluates a loop's body: graph inputs' values in, outputs' values out. */
export interface Context { readonly run: (graph: { readonly inputs: readonly object[]; readonly outputs: readonly object[] }, inputs: readonly Value[]) => Value[] }
export type Evaluators<G> = TableFor<G, readonly Value[], [readonly Value[], Context]>
