/** Looking up and placing elements by computed indices, sorting, and the largest elements. Indices are i32. */
import { nameOf, names, type Dim, type DimLike } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { dimIn, floats } from './infer/checks.ts'
import { inSums } from './half-precision.ts'
import { broadcastTo, make } from './make.ts'
import { shapeOf, type Node } from './node.ts'
import type { ScatterKind } from './ops.ts'
import { index, slice } from './rearrange.ts'
import { userSite } from '../core/site.ts'
import { full, iota, loose, tensor, where } from './tensor.ts'
import type { Fresh, Minus, Scalar, Tensor, Unsettled } from './types.ts'

/**
 * The target with updates written at the indices of one of its dims; indices out of range are dropped. Dims that target and
 * indices share go elementwise. Updates have the indices' dims and the target's others; fewer are broadcast. With `set`, of
 * several updates for one element the last counts, in the order of the indices; `add`, `max` and `min` combine them all.
 * @throws DimError for indices that are not i32, and dims that do not fit
 */
export function scatter<D extends string, R extends D | Unsettled<D>, E extends string, U extends Exclude<D, R> | E>(
  target: Tensor<D>, dim: DimLike<R>, indices: Tensor<E>, updates: Tensor<U>, kind: ScatterKind = 'set',
): Tensor<D> {
  const name = nameOf(dim)
  if (!['set', 'add', 'max', 'min'].includes(kind)) throw new DimError({ code: 'option', what: `scatter: there is no kind ${shown(kind)}`, fix: 'give one of: set, add, max, min', at: userSite() })
  const shape = [...indices.shape, ...target.shape.filter(d => d.name !== name && !names(indices.shape).includes(d.name))]
  const placed = (into: Node, from: Node): Node => make('scatter', [into, indices.node, broadcastTo(from, shape)], { dim: name, kind })
  if (kind !== 'add') return tensor(placed(target.node, updates.node))
  return tensor(inSums([target.node, updates.node], ([into = target.node, from = updates.node]) => placed(into, from)))
}

/** As many elements of a dim as `to` has, from `start` on (an i32 scalar), which is moved so far that all of them lie inside. */
export const dynamicSlice = <D extends string, R extends D | Unsettled<D>, N extends string>(x: Tensor<D>, dim: DimLike<R>, start: Scalar, to: Dim<N> & Fresh<N, Exclude<D, R>>): Tensor<Minus<D, R> | N> =>
  tensor(make('dynamicSlice', [x.node, start.node], { dim: nameOf(dim), to }))

/** x with `update` in the place of as many elements of a dim, from `start` on, as `dynamicSlice` has it. A cache is written so. */
export const dynamicUpdate = <D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, dim: DimLike<R>, start: Scalar, update: Tensor<NoInfer<D>>): Tensor<D> =>
  tensor(make('dynamicUpdate', [x.node, inOrder(update.node, x.node), start.node], { dim: nameOf(dim) }))
/** The node with its dims in another's order; where they are not the same ones, as it is. */
const inOrder = (n: Node, like: Node): Node => {
  const order = shapeOf(like).map(d => shapeOf(n).find(e => e.name === d.name)).filter(d => d !== undefined)
  return order.length === shapeOf(like).length && order.length === shapeOf(n).length ? broadcastTo(n, order) : n
}

export interface Order {
  /** The largest first; equal ones keep their order. */
  readonly descending?: boolean
}
const along = (n: Node, dim: string, op: string): Node => broadcastTo(make('iota', [], { dim: dimIn(shapeOf(n), dim, op, userSite) }), shapeOf(n))

/** Sorted along a dim; equal elements in their order, NaN as the largest. */
export const sort = <D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, dim: DimLike<R>, { descending = false }: Order = {}): Tensor<D> =>
  tensor(make('project', [make('sort', [x.node], { dim: nameOf(dim), descending })], { index: 0 }))

/** Sorted along a dim, and other tensors of the same dims in the same order. */
export function sortWith<D extends string, R extends D | Unsettled<D>, const O extends readonly Tensor<NoInfer<D>>[]>(
  x: Tensor<D>, others: O, dim: DimLike<R>, { descending = false }: Order = {},
): readonly [Tensor<D>, ...{ readonly [K in keyof O]: Tensor<D> }] {
  const sorted = make('sort', [x.node, ...others.map(o => broadcastTo(o.node, x.shape))], { dim: nameOf(dim), descending })
  return sorted.results.map((_, i) => tensor(make('project', [sorted], { index: i }))) as never
}

/** Where each element of the sorted dim was, i32. */
export const argsort = <D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, dim: DimLike<R>, { descending = false }: Order = {}): Tensor<D> =>
  tensor(make('project', [make('sort', [x.node, along(x.node, nameOf(dim), 'argsort')], { dim: nameOf(dim), descending })], { index: 1 }))

/** The largest elements along a dim, as many as `k` has, the largest first, and where they were. */
export function topK<D extends string, R extends D | Unsettled<D>, N extends string>(x: Tensor<D>, dim: DimLike<R>, k: Dim<N> & Fresh<N, Exclude<D, R>>): { readonly values: Tensor<Minus<D, R> | N>; readonly indices: Tensor<Minus<D, R> | N> } {
  const found = make('topK', [x.node], { dim: nameOf(dim), to: k })
  return { values: tensor(make('project', [found], { index: 0 })), indices: tensor(make('project', [found], { index: 1 })) }
}

/** The n-th smallest element along a dim, counted from 0; the n-th largest if `descending`. @throws DimError when there is none */
export const nth = <D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, dim: DimLike<R>, n: number, order: Order = {}): Tensor<Minus<D, R>> =>
  index(sort(x, dim, order), dim, n)

/** The middle element along a dim, or the mean of the middle two; NaN where one is NaN, as in NumPy. */
export function median<D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, dim: DimLike<R>): Tensor<Minus<D, R>> {
  const { name, size } = dimIn(x.shape, dim, 'median', userSite)
  floats('median', x.dtype, x.shape, userSite)
  const sorted = sort(x, dim)
  const half = Math.floor(size / 2)
  // NaN is sorted to the end.
  const last = index(sorted, dim, size - 1)
  const middle: Tensor<Minus<D, R>> = size % 2 === 1 ? index(sorted, dim, half)
    : tensor(slice<string, string>(loose(sorted), name, { start: half - 1, end: half + 1 }).mean(name).node)
  return tensor(where(loose(last).isNaN(), loose(last), loose(middle)).node)
}

/** 1 where `classes` has the index, else 0; all 0 for indices out of range. */
export const oneHot = <D extends string, N extends string>(indices: Tensor<D>, classes: Dim<N> & Fresh<N, D>, dtype: DType = 'f32'): Tensor<D | N> => {
  if (indices.dtype !== 'i32') throw new DimError({ code: 'dtype', what: `oneHot: indices are ${indices.dtype}`, fix: 'cast them to i32', at: userSite() })
  const wide = loose(full(0, [classes, ...indices.shape], 'i32')).add(loose(iota(classes)))
  return tensor(wide.equal(loose(indices)).cast(dtype).node)
}
