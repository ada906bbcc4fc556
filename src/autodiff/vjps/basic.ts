/** Gradients: values from outside, and what changes only how they are seen. */
import { names } from '../../core/dim.ts'
import { moved, sumNode } from '../../graph/half-precision.ts'
import { broadcastTo, make } from '../../graph/make.ts'
import { operand, shapeOf, type Node } from '../../graph/node.ts'
import { laidBy } from '../laid.ts'
import { masked } from './masked.ts'
import { none } from './vjp.ts'
import type { BasicAttrs } from '../../graph/ops.ts'
import type { Vjps } from './vjp.ts'

const sumTo = (g: Node, like: Node): Node => {
  const kept = new Set(names(shapeOf(like)))
  const over = names(shapeOf(g)).filter(d => !kept.has(d))
  return moved(g, g => broadcastTo(over.length === 0 ? g : sumNode(g, over), shapeOf(like)))
}

export const basic: Vjps<BasicAttrs> = {
  input: () => none,
  constant: () => none,
  iota: () => none,
  broadcast: (n, [g]) => (g === undefined ? none : [sumTo(g, operand(n, 0))]),
  rename: (n, [g]) => (g === undefined ? none : [moved(g, g => make('rename', [g], { from: n.attrs.to, to: n.attrs.from }))]),
  relayout: (n, [g]) => {
    const back = g === undefined ? undefined : laidBy(operand(n, 0))
    if (g === undefined || back === undefined) return [g]
    return [moved(g, g => make('relayout', [g], back, n.site))]
  },
  named: (_, [g]) => [g],
  stored: (_, [g]) => [g],
  stopGradient: () => none,
  customGradient: (n, [g], { wants }) => {
    if (g === undefined) return none
    const [{ vjp, elementwise }, inputs] = [n.attrs, n.inputs.slice(1)]
    if (elementwise !== true) return [undefined, ...vjp(g, n, inputs)]
    return [undefined, ...inputs.map((x, i) => (wants(x) ? masked(g, d => vjp(d, n, inputs)[i] ?? d) : undefined))]
  },
}
