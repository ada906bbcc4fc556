/** Moving elements to places known beforehand: slices, padding, joining, rolling. Every one works along split dims too. */
import { formatShape, hiddenName, nameOf, names, type Dim, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { broadcastTo, make } from './make.ts'
import { dimIn } from './infer/checks.ts'
import type { Node } from './node.ts'
import { userSite } from '../core/site.ts'
import { tensor } from './tensor.ts'
import type { AnyTensor, As, Fresh, Minus, Renamed, Tensor, Unsettled } from './types.ts'

/** What a slice takes. */
export interface Range<N extends string = string> {
  /** The first element, from 0; 0 unless said. */
  readonly start?: number
  /** The one after the last; the dim's size unless said. */
  readonly end?: number
  /** Every how many-th; 1 unless said. */
  readonly step?: number
  /** The result's name for the dim; the same unless said. A layout has rules by name. */
  readonly as?: N
}

const whole = (what: string, value: number, at: AnyTensor, fits: boolean, range: string): void => {
  if (Number.isSafeInteger(value) && fits) return
  throw new DimError({ code: 'index', what: `${what} is ${value}`, details: { tensor: formatShape(at.shape) }, fix: `give a whole number ${range}`, at: userSite() })
}
const sample = (x: AnyTensor, dim: string, to: Dim, start: number, more: { readonly step?: number; readonly fill?: number } = {}): Node =>
  make('resample', [x.node], { dim, to, start, step: more.step ?? 1, dilation: 1, fill: more.fill ?? 0 })

/**
 * Elements start, start + step, … below `end` of a dim.
 * @throws DimError when the range lies outside of the dim or is empty
 */
export function slice<D extends string, R extends D | Unsettled<D>, N extends string = R>(x: Tensor<D>, dim: DimLike<R>, range: Range<N> & As<N, Exclude<D, R>> = {}): Tensor<Renamed<D, R, N>> {
  const { name, size } = dimIn(x.shape, dim, 'slice', userSite)
  const { start = 0, end = size, step = 1 } = range
  whole(`slice along "${name}": start`, start, x, start >= 0 && start < size, `from 0 to ${size - 1}`)
  whole(`slice along "${name}": end`, end, x, end > start && end <= size, `from ${start + 1} to ${size}`)
  whole(`slice along "${name}": step`, step, x, step >= 1, 'of at least 1')
  return tensor(sample(x, name, { name: range.as ?? name, size: Math.ceil((end - start) / step) }, start, { step }))
}

/**
 * The dim with `low` elements more before and `high` after; negative numbers cut off.
 * @throws DimError when nothing is left
 */
export function pad<D extends string, R extends D | Unsettled<D>, N extends string = R>(
  x: Tensor<D>, dim: DimLike<R>, low: number, high: number, { value = 0, as }: { readonly value?: number } & As<N, Exclude<D, R>> = {},
): Tensor<Renamed<D, R, N>> {
  const { name, size } = dimIn(x.shape, dim, 'pad', userSite)
  whole(`pad along "${name}": low`, low, x, true, '')
  whole(`pad along "${name}": high`, high, x, size + low + high >= 1, `above ${-size - low}`)
  return tensor(sample(x, name, { name: as ?? name, size: size + low + high }, -low, { fill: value }))
}

/** result[j] = x[j − by] along a dim, `fill` where there is none. */
export function shift<D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, dim: DimLike<R>, by: number, { fill = 0 }: { readonly fill?: number } = {}): Tensor<D> {
  const found = dimIn(x.shape, dim, 'shift', userSite)
  whole(`shift along "${found.name}": by`, by, x, true, '')
  return tensor(sample(x, found.name, found, -by, { fill }))
}

/** result[j] = x[(j − by) mod n] along a dim: what leaves at one end comes in at the other. Along a split dim a permute between neighbours. */
export function roll<D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, dim: DimLike<R>, by: number): Tensor<D> {
  whole(`roll along "${nameOf(dim)}": by`, by, x, true, '')
  return tensor(make('roll', [x.node], { dim: nameOf(dim), by }))
}

/** The last element along a dim first. */
export const reverse = <D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, dim: DimLike<R>): Tensor<D> => tensor(make('reverse', [x.node], { dim: nameOf(dim) }))

/**
 * Tensors of the same dims one after another along one of them, in which their sizes may differ.
 * @throws DimError when other dims or dtypes differ, or nothing is given
 */
export function concat<D extends string, R extends D | Unsettled<D>, N extends string = R>(tensors: readonly Tensor<D>[], dim: DimLike<R>, { as }: As<N, Exclude<D, R>> = {}): Tensor<Renamed<D, R, N>> {
  const [first] = tensors
  if (first === undefined) throw new DimError({ code: 'no-operands', what: 'concat: no tensors were given', fix: 'give at least one', at: userSite() })
  const name = nameOf(dim)
  const sizes = tensors.map(t => dimIn(t.shape, name, 'concat', userSite).size)
  const order = names(first.shape)
  const parts = tensors.map(t => {
    const same = t.shape.length === order.length && t.shape.every(d => order.includes(d.name))
    if (!same) throw new DimError({ code: 'concat', what: `concat along "${name}": operands have other dims`, details: { first: formatShape(first.shape), other: formatShape(t.shape) }, fix: 'broadcast or rename them to agree', at: userSite() })
    return broadcastTo(t.node, order.map(d => dimIn(t.shape, d, 'concat')))
  })
  const joined = make('concat', parts, { dim: { name, size: sizes.reduce((a, b) => a + b, 0) } })
  return tensor(as === undefined ? joined : make('rename', [joined], { from: name, to: as }))
}

/** Tensors of one shape along a new dim, one element each. @throws DimError when the dim has another size, or they differ */
export function stack<D extends string, N extends string>(tensors: readonly Tensor<D>[], dim: Dim<N> & Fresh<N, D>): Tensor<D | N> {
  const { name, size }: Dim = dim
  if (tensors.length !== size) throw new DimError({ code: 'size-differs', what: `stack: ${tensors.length} tensors along "${name}" of size ${size}`, fix: `give ${size} tensors, or a dim of size ${tensors.length}`, at: userSite() })
  // Under a name that no layout has a rule for: single elements cannot be split, all of them together can.
  const one = { name: hiddenName(name, 'one'), size: 1 }
  // First: so that each operand is copied in one piece.
  const all = concat<string, string>(tensors.map(t => tensor(broadcastTo(make('mergeDims', [t.node], { from: [], into: one }), [one, ...t.shape]))), one.name)
  return tensor(make('rename', [all.node], { from: one.name, to: name }))
}

/** Element `i` of a dim, which goes. @throws DimError when there is none */
export function index<D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, dim: DimLike<R>, i: number): Tensor<Minus<D, R>> {
  const { name, size } = dimIn(x.shape, dim, 'index', userSite)
  whole(`index along "${name}"`, i, x, i >= 0 && i < size, `from 0 to ${size - 1}`)
  // The dim gets a name that no layout can have a rule for, since a single element cannot be split.
  const alone = hiddenName(name, 'one')
  return tensor(make('splitDim', [sample(x, name, { name: alone, size: 1 }, i)], { dim: alone, into: [] }))
}

/** Every element of a dim, in order. */
export const unstack = <D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, dim: DimLike<R>): Tensor<Minus<D, R>>[] =>
  Array.from({ length: dimIn(x.shape, dim, 'unstack', userSite).size }, (_, i) => index(x, dim, i))

/** One tensor for each size, of that size along the dim. */
export type Parts<D extends string, S extends number | readonly number[]> = S extends readonly number[] ? { readonly [K in keyof S]: Tensor<D> }
  : S extends number ? (number extends S ? readonly Tensor<D>[] : Times<Tensor<D>, S>) : never
type Times<T, N extends number, Made extends readonly T[] = readonly []> = Made['length'] extends N ? Made : Made['length'] extends 64 ? readonly T[] : Times<T, N, readonly [...Made, T]>

/**
 * A dim cut into parts of these sizes, or into so many equal ones.
 * @throws DimError when they do not add up to the dim's size
 */
export function parts<D extends string, R extends D | Unsettled<D>, const S extends number | readonly number[]>(x: Tensor<D>, dim: DimLike<R>, sizes: S): Parts<D, S> {
  const { name, size } = dimIn(x.shape, dim, 'parts', userSite)
  const equal = (n: number): readonly number[] => (Number.isSafeInteger(n) && n >= 1 && n <= size ? Array.from({ length: n }, () => size / n) : [])
  const list: readonly number[] = typeof sizes === 'number' ? equal(sizes) : sizes
  const total = list.reduce((a, b) => a + b, 0)
  if (list.length === 0 || total !== size || !list.every(s => Number.isSafeInteger(s) && s >= 1)) {
    throw new DimError({ code: 'size-differs', what: `parts: "${name}" of size ${size} cannot be cut into ${typeof sizes === 'number' ? `${sizes} equal parts` : `[${sizes.join(', ')}]`}`, details: { tensor: formatShape(x.shape) }, fix: 'the sizes must add up to the dim\'s', at: userSite() })
  }
  let start = 0
  return list.map(s => {
    const part = sample(x, name, { name, size: s }, start)
    start += s
    return tensor<D>(part)
  }) as unknown as Parts<D, S>
}
