/** Low-rank adaptation of a weight (Hu et al. 2021). */
import type { Dim, DimLike } from '../core/dim.ts'
import type { Minus, Tensor, Unsettled } from '../graph/types.ts'

/** The dims of an adapted contraction. */
export interface Adapted<R extends string, K extends string> {
  /** What is contracted, as in `x.dot(w, …over)`. */
  readonly over: readonly DimLike<R>[]
  /** The small dim between `down` and `up`. */
  readonly rank: Dim<K>
  /** α / r of the paper; 1 unless said. */
  readonly scale?: number
}

/**
 * x · w + scale · (x · down) · up: a weight that stays as it is, and a change to it of few dims that is learned. `down` has the dims that
 * are contracted and the rank, `up` the rank and w's other dims: where either is 0 at first, nothing is changed.
 * @throws DimError as `dot`
 */
export const lora = <D extends string, E extends string, R extends (D & E) | Unsettled<D | E>, K extends string>(
  x: Tensor<D>, w: Tensor<E>, { down, up }: { readonly down: NoInfer<Tensor<R | K>>; readonly up: NoInfer<Tensor<K | Minus<E, R>>> }, { over, rank, scale = 1 }: Adapted<R, K>,
): Tensor<Minus<D | E, R>> => x.dot(w, ...over).add(x.dot(down, ...over).dot(up, rank).mul(scale))
