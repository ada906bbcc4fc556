/** The partition rule of loops of unknown length: the state is reduced and lies as the layout has it, before and after every turn. */
import type { Node } from '../graph/node.ts'
import { enterAll, projected } from './bodies.ts'
import { reduced, type Context, type Value } from './context.ts'
import { relayout } from './moves/relayout.ts'
import { ready } from './operands.ts'

export function partitionWhile(n: Node<'while'>, values: readonly Value[], c: Context): readonly Value[] {
  const { condition, body, carries } = n.attrs
  const placed = (v: Value): Value => relayout(c, v, c.target(v.shape))
  const init = values.slice(0, carries).map(placed)
  const captured = values.slice(carries).map(v => reduced(c, v))
  const { inputs, given } = enterAll(c, body.inputs, [...init, ...captured])
  const next = c.partitionNodes(body.outputs, given).map(placed)
  const goesOn = c.partitionNodes(condition.outputs, given).map(v => ready(c, v))
  const loop = c.make('while', [...init, ...captured].map(v => v.node), {
    condition: { inputs, outputs: goesOn.map(v => v.node) }, body: { inputs, outputs: next.map(v => v.node) }, carries,
  }, n.site)
  return projected(c, n, loop, next)
}
