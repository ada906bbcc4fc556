/** Graphs closed over what they use from outside: bodies of loops, branches of choices. */
import { isHalf } from '../core/dtype.ts'
import { inputNode } from './input.ts'
import { rewrite } from './make.ts'
import { dtypeOf, operand, reachable, shapeOf, typeOf, type Node } from './node.ts'
import type { Graph } from './ops.ts'

const independent = new WeakMap<Node, boolean>()
/** Whether a node depends on no input at all. */
export function isIndependent(root: Node): boolean {
  const known = independent.get(root)
  if (known !== undefined) return known
  for (const n of reachable([root], m => !independent.has(m))) {
    if (!independent.has(n)) independent.set(n, n.op !== 'input' && n.inputs.every(i => independent.get(i) === true))
  }
  return independent.get(root) === true
}

/** A broadcast to more elements (one that only reorders dims is made once, outside), or halves made f32, which contractions read as they were. */
const widens = (n: Node): boolean => (n.op === 'broadcast' ? shapeOf(n).length > shapeOf(operand(n, 0)).length : n.op === 'convert' && dtypeOf(n) === 'f32' && isHalf(dtypeOf(operand(n, 0))))

/**
 * A graph of `outputs` whose inputs are `params` and then what the outputs use from outside (`captures`). Inside are the nodes
 * that depend on the params, and those in `made`. What depends on no input at all stays inside, too, and so do broadcasts of what
 * comes from outside, and halves that are widened: they are cheaper made again than carried, at the size of all that they are broadcast to.
 */
export function closeOver(
  params: readonly Node<'input'>[], outputs: readonly Node[], made: ReadonlySet<Node> = new Set(),
): { readonly body: Graph; readonly captures: readonly Node[]; /** What is read inside, params among it. */ readonly used: ReadonlySet<Node> } {
  // What was there before any param does not depend on them: nobody looks at all that led to it.
  const oldest = params.reduce((id, p) => Math.min(id, p.id), Infinity)
  const order = reachable(outputs, n => n.id > oldest || made.has(n) || widens(n))
  const inside = new Set<Node>(params)
  const closed = new Set<Node>()
  for (const n of order) {
    if (n.op !== 'input' && (made.has(n) || n.inputs.some(i => inside.has(i)))) inside.add(n)
    else if (isIndependent(n)) closed.add(n)
  }
  const used = new Set(outputs)
  for (const n of order.toReversed()) {
    if (widens(n) && used.has(n)) inside.add(n)
    if (inside.has(n)) for (const i of n.inputs) used.add(i)
  }
  const outer = (n: Node): boolean => !inside.has(n) && !closed.has(n)
  const captures = [...new Set([...order.filter(n => inside.has(n)).flatMap(n => n.inputs), ...outputs].filter(outer))]
  const stands = captures.map((n, i) => inputNode(`capture${i}`, n.op === 'input' ? n.attrs.role : 'compute', typeOf(n)))
  const replaced = new Map<Node, Node>(captures.map((n, i) => [n, stands[i] ?? n]))
  const rewritten = rewrite(outputs, order.filter(n => inside.has(n)), replaced)
  return { body: { inputs: [...params, ...stands], outputs: rewritten }, captures, used }
}
