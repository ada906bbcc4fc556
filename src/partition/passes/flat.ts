/** Tensors as one dim, and parts of a dim moved by an all-to-all: of what passes make collectives anew. */
import { sizeOf } from '../../core/dim.ts'
import { shapeOf, type Make } from '../../graph/node.ts'
import type { LocalAttrs, LocalNode } from '../local.ts'

type Maker = Make<LocalAttrs>
/** Names that no dim of a user can have. */
export const merged = '~merged'
export const part = '~part'
export const sender = '~sender'

/** All elements in a row, but along dims that are kept. */
export const flat = (make: Maker, n: LocalNode, kept: readonly string[] = []): LocalNode => {
  const shape = shapeOf(n).filter(d => !kept.includes(d.name))
  return make('mergeDims', [n], { from: shape.map(d => d.name), into: { name: merged, size: sizeOf(shape) } })
}

/** As many elements of the row as `size`: cut off, or followed by zeros. */
export const fitted = (make: Maker, n: LocalNode, size: number): LocalNode =>
  (shapeOf(n).some(d => d.name === merged && d.size === size) ? n : make('resample', [n], { dim: merged, to: { name: merged, size }, start: 0, step: 1, dilation: 1, fill: 0 }))

/** Of every device the part of `dim` that is this device's: along a dim of their own, which is to be summed over with the other one named. */
export function exchanged(make: Maker, x: LocalNode, { dim, axes, parts }: LocalNode<'reduceScatter'>['attrs']): { readonly node: LocalNode; readonly over: readonly string[] } {
  const own = shapeOf(x).filter(d => d.name === dim).map(d => ({ name: dim, size: d.size / parts }))
  const cut = make('splitDim', [x], { dim, into: [{ name: part, size: parts }, ...own] })
  const wide = make('broadcast', [cut], { shape: [{ name: sender, size: 1 }, ...shapeOf(cut)] })
  return { node: make('allToAll', [wide], { from: sender, to: part, axes, parts }, x.site), over: [sender, part] }
}
