/** Floating-point operations of a computation: those of its contractions and convolutions, two for each product. */
import { sizeOf, type Dim } from '../core/dim.ts'
import { bodiesOf, operand, reachable, shapeOf, type Node, type NodeOf } from './node.ts'
import type { Attrs, ContractionAttrs, WindowAttrs } from './ops.ts'
import { leavesOf } from './tensor.ts'
import type { Tree } from './types.ts'

const sizeUnion = (...shapes: readonly (readonly Dim[])[]): number => [...new Map(shapes.flat().map(d => [d.name, d.size])).values()].reduce((n, size) => n * size, 1)

/** Of one product or convolution, in any language of ops that has them. */
export function productFlops<A extends ContractionAttrs & WindowAttrs>(n: NodeOf<A, 'dot' | 'conv'>): number {
  const [a, b] = [shapeOf(operand<A>(n, 0)), shapeOf(operand<A>(n, 1))]
  if (n.op === 'dot') return 2 * sizeUnion(a, b)
  const { over, windows } = n.attrs as WindowAttrs['conv']
  const contracted = [...over, ...windows.map(w => w.w)]
  return 2 * sizeOf(shapeOf(n)) * sizeOf(b.filter(d => contracted.includes(d.name)))
}

/** A loop's body counts as often as it runs; of a choice every branch counts, of a loop without a known end its body once. */
function flopsOf(outputs: readonly Node[]): number {
  return reachable(outputs).reduce((total, n) => {
    const inside = bodiesOf(n).reduce((sum, body) => sum + flopsOf(body.outputs), 0) * (n.op === 'scan' ? n.attrs.over.size : 1)
    if (n.op === 'dot' || n.op === 'conv') return total + productFlops<Attrs>(n)
    return total + inside
  }, 0)
}

/** Operations that these tensors take to compute from a program's inputs, all devices together. */
export const contractionFlops = (results: Tree): number => flopsOf(leavesOf(results).map(l => l.leaf.node))
