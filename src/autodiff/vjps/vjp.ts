/** What gradient rules are given, and the few helpers they share. */
import type { Node, TableFor } from '../../graph/node.ts'
import { tensor } from '../../graph/tensor.ts'
import type { Tensor } from '../../graph/types.ts'

export type T = Tensor<string>
export const t = (n: Node): T => tensor(n)
export const none: readonly undefined[] = []
export type Cotangents = readonly (Node | undefined)[]

/** What a rule may ask: which operands anyone wants the gradient of, and which values of a loop's body are kept. */
export interface Wanted { readonly wants: (input: Node) => boolean; readonly keep: (n: Node) => boolean }
export type Vjps<G> = TableFor<G, Cotangents, [Cotangents, Wanted]>
