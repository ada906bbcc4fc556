/**
 * Halo exchange: each device's block of a split dim, and what it needs of its neighbours' blocks, by permutes of just those
 * elements. Convolutions, slices, shifts and rolls along a split dim are local ops on what is fetched.
 */
import { partsOf } from '../../core/mesh.ts'
import { dtypeOf, shapeOf } from '../../graph/node.ts'
import { constant, cut, gather, ownPart, partIndex, sizeIn } from '../build.ts'
import type { Context, Value } from '../context.ts'
import type { LocalNode } from '../local.ts'

export interface Interval {
  /** The first element wanted, counted from the beginning of a device's own block; may be negative. */
  readonly start: number
  readonly size: number
  /** What stands outside of the tensor; 0 unless said. */
  readonly fill?: number
  /** Outside of the tensor, it begins again. */
  readonly wrap?: boolean
}

/** For a reduced value split along `dim` in blocks of b: elements [part·b + start, part·b + start + size) on each device. */
export function fetch(c: Context, v: Value, dim: string, { start, size, fill = 0, wrap = false }: Interval): LocalNode {
  const axes = v.sharding.get(dim) ?? []
  const parts = partsOf(c.mesh, axes)
  const block = sizeIn(v.node, dim)
  const first = Math.floor(start / block)
  const last = Math.floor((start + size - 1) / block)
  const pieces = Array.from({ length: last - first + 1 }, (_, k) => {
    const offset = first + k
    const from = Math.max(start - offset * block, 0)
    return { offset, from, size: Math.min(start + size - offset * block, block) - from }
  })
  const far = pieces.filter(p => (wrap ? p.offset % parts !== 0 : p.offset !== 0 && Math.abs(p.offset) < parts))
  // Elements that would travel; beyond what an all-gather moves, that is simpler.
  if (!wrap && far.reduce((n, p) => n + p.size, 0) > (parts - 1) * block) return fromAll(c, v.node, dim, axes, { start, size, fill })
  const received = pieces.map(p => {
    const mine = cut(c, v.node, dim, p.from, p.size)
    if (p.offset === 0 || (wrap && p.offset % parts === 0)) return mine
    if (!wrap && Math.abs(p.offset) >= parts) return constant(c, fill, mine)
    const pairs = Array.from({ length: parts }, (_, target) => ({ source: target + p.offset, target }))
      .flatMap(({ source, target }) => (wrap ? [[((source % parts) + parts) % parts, target] as const] : source >= 0 && source < parts ? [[source, target] as const] : []))
    const there = c.make('permute', [mine], { axes, pairs }, v.node.site)
    return fill === 0 || wrap ? there : within(c, there, axes, p.offset, parts, fill)
  })
  return joined(c, received, dim)
}

/** `fill` on devices whose neighbour at `offset` does not exist. */
function within(c: Context, x: LocalNode, axes: readonly string[], offset: number, parts: number, fill: number): LocalNode {
  const index = partIndex(c, axes)
  const [direction, limit] = offset < 0 ? ['GE', -offset] as const : ['LT', parts - offset] as const
  const exists = c.make('compare', [index, constant(c, limit, index)], { direction })
  return c.make('select', [c.make('broadcast', [exists], { shape: shapeOf(x) }), x, constant(c, fill, x)], {})
}

export function joined(c: Context, parts: readonly LocalNode[], dim: string): LocalNode {
  const [first] = parts
  if (first === undefined) throw new Error('nothing was fetched')
  if (parts.length === 1) return first
  return c.make('concat', parts, { dim: { name: dim, size: parts.reduce((n, p) => n + sizeIn(p, dim), 0) } }, first.site)
}

/** The same from all of the dim: gathered, filled up at both ends, cut out. */
function fromAll(c: Context, x: LocalNode, dim: string, axes: readonly string[], { start, size, fill }: Required<Omit<Interval, 'wrap'>>): LocalNode {
  const block = sizeIn(x, dim)
  const all = gather(c, x, dim, axes)
  const low = Math.max(0, -start)
  const high = Math.max(0, start + size - block)
  const padded = low + high === 0 ? all
    : c.make('resample', [all], { dim, to: { name: dim, size: sizeIn(all, dim) + low + high }, start: -low, step: 1, dilation: 1, fill }, x.site)
  return ownPart(c, padded, dim, axes, { block, size, start: start + low })
}

/** Zeros of this local size along a dim. */
export const blank = (c: Context, like: LocalNode, dim: string, to: { readonly name: string; readonly size: number }, value: number): LocalNode => {
  const shape = shapeOf(like).map(d => (d.name === dim ? to : d))
  return c.make('broadcast', [c.make('constant', [], { value, dtype: dtypeOf(like) })], { shape })
}
