/** Which collectives of a body nothing waits for: those of weights before their use, and those of gradients after all is computed. A compiler can run them beside computation. */
import { bodiesOf, orderOf } from '../graph/node.ts'
import { collectiveKind } from '../partition/collectives.ts'
import type { LocalBody, LocalNode } from '../partition/local.ts'

const computes = (n: LocalNode): boolean => n.op === 'dot' || n.op === 'conv' || bodiesOf(n).length > 0

/**
 * Those that follow from what the body is given, but for what earlier turns of the loop have computed (`carried`, the first inputs), and those that no product needs, nor a later turn.
 */
export function hiddenIn(body: LocalBody, carried: number): ReadonlySet<LocalNode> {
  const order = orderOf(body.outputs)
  const found = order.filter(n => collectiveKind(n) !== undefined)
  if (found.length === 0) return new Set()
  const after = new Set<LocalNode>(body.inputs.slice(0, carried))
  for (const n of order) if (computes(n) || n.inputs.some(i => after.has(i))) after.add(n)
  const needed = new Set<LocalNode>(body.outputs.slice(0, carried))
  for (const n of [...order].reverse()) if (computes(n) || needed.has(n)) for (const i of n.inputs) needed.add(i)
  return new Set(found.filter(n => !n.inputs.some(i => after.has(i)) || !needed.has(n)))
}
