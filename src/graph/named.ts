/** Names for tensors, by which a policy of recomputation speaks of them. */
import { make } from './make.ts'
import { tensor } from './tensor.ts'
import type { Tensor } from './types.ts'

/** The same tensor, known by a name: `remat: { keep: ['name'] }` keeps it for the gradient. */
export const named = <D extends string>(x: Tensor<D>, name: string): Tensor<D> => tensor(make('named', [x.node], { name }))
