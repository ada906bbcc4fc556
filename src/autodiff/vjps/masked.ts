/** Cotangents that a `where` has masked. */
import { fullNode, make, splatValue } from '../../graph/make.ts'
import { dtypeOf, operand, shapeOf, type Node } from '../../graph/node.ts'

/**
 * A rule is linear in the cotangent, so what a `where` has masked may be masked after the rule as well as before it, however often. After it,
 * what the rule gives where the operand was not chosen (1/0, say) is not seen.
 */
export function masked(g: Node, rule: (g: Node) => Node): Node {
  if (g.op !== 'select') return rule(g)
  const [p, yes, no] = [operand(g, 0), operand(g, 1), operand(g, 2)]
  const zero = (like: Node): Node => fullNode(0, shapeOf(like), dtypeOf(like))
  if (splatValue(no) === 0) { const d = masked(yes, rule); return make('select', [p, d, zero(d)], {}) }
  if (splatValue(yes) === 0) { const d = masked(no, rule); return make('select', [p, zero(d), d], {}) }
  return rule(g)
}
