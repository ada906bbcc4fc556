/** Small pieces of a device's program: constants, which part is ours, and one node for each way to move data. */
import { partsOf } from '../core/mesh.ts'
import { dtypeOf, shapeOf } from '../graph/node.ts'
import type { Context } from './context.ts'
import type { LocalNode } from './local.ts'

type Axes = readonly string[]

/** i32: which part of a dim that takes these axes this device holds. */
export const partIndex = (c: Context, axes: Axes): LocalNode => c.make('axisIndex', [], { axes })

export const binary = (c: Context, fn: 'add' | 'sub' | 'mul', a: LocalNode, b: LocalNode): LocalNode => c.make('binary', [a, b], { fn })
export const constant = (c: Context, value: number, like: LocalNode): LocalNode => {
  const scalar = c.make('constant', [], { value, dtype: dtypeOf(like) })
  return shapeOf(like).length === 0 ? scalar : c.make('broadcast', [scalar], { shape: shapeOf(like) })
}
export const sizeIn = (n: LocalNode, dim: string): number => shapeOf(n).find(d => d.name === dim)?.size ?? 1

export const gather = (c: Context, x: LocalNode, dim: string, axes: Axes): LocalNode =>
  c.make('allGather', [x], { dim, axes, parts: partsOf(c.mesh, axes) }, x.site)
export const exchange = (c: Context, x: LocalNode, from: string, to: string, axes: Axes): LocalNode =>
  c.make('allToAll', [x], { from, to, axes, parts: partsOf(c.mesh, axes) }, x.site)
/** Elements [start, start + size) of a dim, known beforehand. */
export const cut = (c: Context, x: LocalNode, dim: string, start: number, size: number): LocalNode =>
  start === 0 && size === sizeIn(x, dim) ? x : c.make('resample', [x], { dim, to: { name: dim, size }, start, step: 1, dilation: 1, fill: 0 }, x.site)

/** This device's part of a dim that all hold all of; `start` is added to where it begins. */
export function ownPart(c: Context, x: LocalNode, dim: string, axes: Axes, where: { readonly block?: number; readonly size?: number; readonly start?: number } = {}): LocalNode {
  const { block = sizeIn(x, dim) / partsOf(c.mesh, axes), start = 0 } = where
  const { size = block } = where
  const part = partIndex(c, axes)
  const begin = binary(c, 'mul', part, constant(c, block, part))
  return c.make('dynamicSlice', [x, start === 0 ? begin : binary(c, 'add', begin, constant(c, start, begin))], { dim, to: { name: dim, size } }, x.site)
}
