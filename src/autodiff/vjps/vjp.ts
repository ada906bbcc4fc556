/** What gradient rules are given, and the few helpers they share. */
import { make } from '../../graph/make.ts'
import type { Node, TableFor } from '../../graph/node.ts'
import { tensor } from '../../graph/tensor.ts'
import type { Tensor } from '../../graph/types.ts'

export type T = Tensor<string>
export const t = (n: Node): T => tensor(n)
export const none: readonly undefined[] = []
export type Cotangents = readonly (Node | undefined)[]

export const sumOf = (a: Node | undefined, b: Node): Node => (a === undefined ? b : make('binary', [a, b], { fn: 'add' }))

/** Cotangents of `wrt`, given those of `roots`; undefined where none flows. `keep` says which values of a loop's body are kept. */
export type Pullback = (roots: readonly Node[], given: Cotangents, wrt: readonly Node[], keep: (n: Node) => boolean) => Cotangents

/** What a rule may ask: which operands anyone wants the gradient of, which values are kept, and the driver itself for the body of a loop. */
export interface Wanted { readonly wants: (input: Node) => boolean; readonly keep: (n: Node) => boolean; readonly pullback: Pullback }
export type Vjps<G> = TableFor<G, Cotangents, [Cotangents, Wanted]>
