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
  const active = new Set<Node>(body.inputs.filter((p, i) => wants(operand(n, i)) && isFloat(dtypeOf(p))))
  for (let before = -1; before !== active.size;) {
    before = active.size
    const reached = dependents(body.outputs, [...active])
    body.inputs.slice(0, carries).forEach((p, i) => {
      const out = body.outputs[i]
      if (out !== undefined && reached.has(out) && isFloat(dtypeOf(p))) active.add(p)
    })
  }
  return active
}
