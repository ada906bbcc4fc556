/** Where gradients flow. */
import { isFloat } from '../core/dtype.ts'
import { dtypeOf, operand, reachable, type Node } from '../graph/node.ts'
import type { Graph } from '../graph/ops.ts'

/** A node that a gradient goes through: integers and what is stopped let none. */
const passes = (n: Node): boolean => n.op !== 'stopGradient' && n.results.some(r => isFloat(r.dtype))

/** Nodes through which a gradient may come from the roots to `wrt`. */
export function dependents(roots: readonly Node[], wrt: readonly Node[]): Set<Node> {
  const found = new Set<Node>(wrt)
  for (const n of reachable(roots)) if (passes(n) && n.inputs.some(i => found.has(i))) found.add(n)
  return found
}

/** Which of the body's inputs, the loop's operands in turn, a gradient flows to: a carry counts as soon as anything active flows into it. */
export function activeInputs(n: Node, body: Graph, carries: number, wants: (input: Node) => boolean): Set<Node> {
  const users = new Map<Node, Node[]>()
  for (const m of reachable(body.outputs)) {
    for (const i of passes(m) ? m.inputs : []) {
      const known = users.get(i)
      if (known === undefined) users.set(i, [m])
      else known.push(m)
    }
  }
  const fedBy = new Map<Node, Node[]>()
  body.inputs.slice(0, carries).forEach((p, i) => {
    const out = body.outputs[i]
    if (out !== undefined && isFloat(dtypeOf(p))) fedBy.set(out, [...fedBy.get(out) ?? [], p])
  })
  const given = body.inputs.filter((p, i) => wants(operand(n, i)) && isFloat(dtypeOf(p)))
  const reached = new Set<Node>(given)
  const open: Node[] = [...given]
  for (let m = open.pop(); m !== undefined; m = open.pop()) {
    for (const next of [...users.get(m) ?? [], ...fedBy.get(m) ?? []]) {
      if (reached.has(next)) continue
      reached.add(next)
      open.push(next)
    }
  }
  return new Set<Node>(body.inputs.filter(p => reached.has(p)))
}
