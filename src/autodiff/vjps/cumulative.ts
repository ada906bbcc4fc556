/** The gradient of a cumulative product, right where factors are zero. */
import { names } from '../../core/dim.ts'
import { dimIn } from '../../graph/infer/checks.ts'
import { inputNode } from '../../graph/input.ts'
import { broadcastTo, fullNode, make } from '../../graph/make.ts'
import { dtypeOf, operand, shapeOf, type Node } from '../../graph/node.ts'
import { scanNodes } from '../../graph/scan.ts'
import { t } from './vjp.ts'

/**
 * dxⱼ = Pⱼ₋₁ rⱼ with Pⱼ₋₁ the product of what came before and rⱼ = gⱼ + xⱼ₊₁ rⱼ₊₁: a loop against the product's direction, and no
 * division.
 */
export function productGradient(n: Node<'cumulative'>, g: Node): Node {
  const { dim, reverse } = n.attrs
  const x = operand(n, 0)
  const along = dimIn(shapeOf(x), dim, 'gradient')
  const before = make('resample', [n], { dim, to: along, start: reverse ? 1 : -1, step: 1, dilation: 1, fill: 1 })
  const type = { shape: shapeOf(x).filter(d => d.name !== dim), dtype: dtypeOf(x) }
  const [carry, xj, gj] = [inputNode('carry', 'compute', type), inputNode('x', 'compute', type), inputNode('g', 'compute', type)]
  const r = t(gj).add(t(carry))
  const [, rs] = scanNodes(along, [fullNode(0, type.shape, type.dtype)], [x, g], [carry, xj, gj], [t(xj).mul(r).node, r.node], { reverse: !reverse })
  if (rs === undefined) throw new Error('the loop stacks one value')
  const inOrder = names(shapeOf(rs)).join() === names(shapeOf(x)).join() ? rs : broadcastTo(rs, shapeOf(x))
  return t(before).mul(t(inOrder)).node
}
