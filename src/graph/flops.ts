/** Floating-point operations of contractions and convolutions: two for each product of numbers. */
import { sizeOf, type Dim } from '../core/dim.ts'
import { operand, shapeOf, type NodeOf } from './node.ts'
import type { ContractionAttrs, WindowAttrs } from './ops.ts'

const sizeUnion = (...shapes: readonly (readonly Dim[])[]): number => [...new Map(shapes.flat().map(d => [d.name, d.size])).values()].reduce((n, size) => n * size, 1)

/** Of one product or convolution, in any language of ops that has them. */
export function productFlops<A extends ContractionAttrs & WindowAttrs>(n: NodeOf<A, 'dot' | 'conv'>): number {
  const [a, b] = [shapeOf(operand<A>(n, 0)), shapeOf(operand<A>(n, 1))]
  if (n.op === 'dot') return 2 * sizeUnion(a, b)
  const { over, windows } = n.attrs as WindowAttrs['conv']
  const contracted = [...over, ...windows.map(w => w.w)]
  return 2 * sizeOf(shapeOf(n)) * sizeOf(b.filter(d => contracted.includes(d.name)))
}
