/** Floating-point operations of a computation: those of its contractions and convolutions, two for each product. */
import { sizeOf, type Dim } from '../core/dim.ts'
import { bodiesOf, operand, reachable, shapeOf, type Node } from './node.ts'
import { leavesOf } from './tensor.ts'
import type { Tree } from './types.ts'

const sizeUnion = (...shapes: readonly (readonly Dim[])[]): number => [...new Map(shapes.flat().map(d => [d.name, d.size])).values()].reduce((n, size) => n * size, 1)

/** A loop's body counts as often as it runs; of a choice every branch counts, of a loop without a known end its body once. */
function flopsOf(outputs: readonly Node[]): number {
  return reachable(outputs).reduce((total, n) => {
    const inside = bodiesOf(n).reduce((sum, body) => sum + flopsOf(body.outputs), 0) * (n.op === 'scan' ? n.attrs.over.size : 1)
    const [a, b] = n.op === 'dot' || n.op === 'conv' ? [shapeOf(operand(n, 0)), shapeOf(operand(n, 1))] : [[], []]
    if (n.op === 'dot') return total + inside + 2 * sizeUnion(a, b)
    if (n.op === 'conv') {
      const contracted = [...n.attrs.over, ...n.attrs.windows.map(w => w.w)]
      return total + inside + 2 * sizeOf(shapeOf(n)) * sizeOf(b.filter(d => contracted.includes(d.name)))
    }
    return total + inside
  }, 0)
}

/** Operations that these tensors take to compute from a program's inputs, all devices together. */
export const contractionFlops = (results: Tree): number => flopsOf(leavesOf(results).map(l => l.leaf.node))
