/** Gradients: values from outside, and what changes only how they are seen. */
import { names } from '../../core/dim.ts'
import { sumNode } from '../../graph/half-precision.ts'
import { broadcastTo, make } from '../../graph/make.ts'
import { operand, shapeOf, type Node } from '../../graph/node.ts'
import { none } from './vjp.ts'
import type { BasicAttrs } from '../../graph/ops.ts'
import type { Vjps } from './vjp.ts'

const sumTo = (g: Node, like: Node): Node => {
  const kept = new Set(names(shapeOf(like)))
  const over = names(shapeOf(g)).filter(d => !kept.has(d))
  return broadcastTo(over.length === 0 ? g : sumNode(g, over), shapeOf(like))
}

export const basic: Vjps<BasicAttrs> = {
  input: () => none,
  constant: () => none,
  iota: () => none,
  broadcast: (n, [g]) => (g === undefined ? none : [sumTo(g, operand(n, 0))]),
  rename: (n, [g]) => (g === undefined ? none : [make('rename', [g], { from: n.attrs.to, to: n.attrs.from })]),
  relayout: (_, [g]) => [g],
  named: (_, [g]) => [g],
  stopGradient: () => none,
  customGradient: (n, [g]) => (g === undefined ? none : [undefined, ...n.attrs.vjp(g, n, n.inputs.slice(1))]),
}
