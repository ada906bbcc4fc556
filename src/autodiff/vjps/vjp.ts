/** What gradient rules are given, and the few helpers they share. */
import { cotangentIn, sumsIn } from '../../graph/half-precision.ts'
import { make } from '../../graph/make.ts'
import { dtypeOf, type Node, type TableFor } from '../../graph/node.ts'
import { tensor } from '../../graph/tensor.ts'
import type { Keep } from '../policy.ts'
import type { Tensor } from '../../graph/types.ts'

export type T = Tensor<string>
export const t = (n: Node): T => tensor(n)
export const none: readonly undefined[] = []
export type Cotangents = readonly (Node | undefined)[]

/** Cotangents of half precision are added in f32: a sum of many is rounded once, as what was narrowed for one addition is taken as it was for the next. */
export function sumOf(a: Node | undefined, b: Node): Node {
  if (a === undefined) return b
  const dtype = dtypeOf(b)
  const sum = make('binary', [a, b].map(n => cotangentIn(n, sumsIn(dtype))), { fn: 'add' })
  return sumsIn(dtype) === dtype ? sum : make('convert', [sum], { dtype })
}

/** Cotangents of `wrt`, given those of `roots`; undefined where none flows. `keep` says which values of a loop's body are kept. */
export type Pullback = (roots: readonly Node[], given: Cotangents, wrt: readonly Node[], keep: Keep) => Cotangents

/** What a rule may ask: which operands anyone wants the gradient of, which values are kept, and the driver itself for the body of a loop. */
export interface Wanted { readonly wants: (input: Node) => boolean; readonly keep: Keep; readonly pullback: Pullback }
export type Vjps<G> = TableFor<G, Cotangents, [Cotangents, Wanted]>
