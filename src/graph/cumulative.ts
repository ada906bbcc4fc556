/** Sums, products and extrema of all elements up to each one, along a dim. */
import { nameOf, type DimLike } from '../core/dim.ts'
import { inSums } from './half-precision.ts'
import { make } from './make.ts'
import type { Node } from './node.ts'
import type { CumulativeKind } from './ops.ts'
import { reduceStart } from './reference/evaluator.ts'
import { shift } from './rearrange.ts'
import { tensor } from './tensor.ts'
import type { Tensor, Unsettled } from './types.ts'

export interface Cumulative {
  /** From the last element to the first. */
  readonly reverse?: boolean
  /** Leaves the element itself out: the first result is the sum (or product, …) of no elements. */
  readonly exclusive?: boolean
}

function cumulative<D extends string, R extends D | Unsettled<D>>(kind: CumulativeKind, x: Tensor<D>, dim: DimLike<R>, { reverse = false, exclusive = false }: Cumulative): Tensor<D> {
  const made = (n: Node): Node => make('cumulative', [n], { kind, dim: nameOf(dim), reverse })
  const sums = tensor<D>(kind === 'sum' || kind === 'prod' ? inSums([x.node], ([w = x.node]) => made(w)) : made(x.node))
  return exclusive ? shift(sums, dim, reverse ? -1 : 1, { fill: reduceStart(kind, x.dtype) }) : sums
}

export const cumsum = <D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, dim: DimLike<R>, how: Cumulative = {}): Tensor<D> => cumulative('sum', x, dim, how)
/** Its gradient is right where factors are zero, too. */
export const cumprod = <D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, dim: DimLike<R>, how: Cumulative = {}): Tensor<D> => cumulative('prod', x, dim, how)
/** Where elements tie, the first one met takes the gradient. */
export const cummax = <D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, dim: DimLike<R>, how: Cumulative = {}): Tensor<D> => cumulative('max', x, dim, how)
export const cummin = <D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, dim: DimLike<R>, how: Cumulative = {}): Tensor<D> => cumulative('min', x, dim, how)
