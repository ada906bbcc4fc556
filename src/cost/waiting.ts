/** Which collectives of a body nothing waits for: those of weights before their use, and those of gradients after all is computed. A compiler can run them beside computation. */
import { bodiesOf, orderOf } from '../graph/node.ts'
import { collectiveKind } from '../partition/collectives.ts'
import type { LocalBody, LocalNode } from '../partition/local.ts'

const computes = (n: LocalNode): boolean => n.op === 'dot' || n.op === 'conv' || bodiesOf(n).length > 0

export interface Waiting {
  /** Collectives that nothing waits for. */
  readonly hidden: ReadonlySet<LocalNode>
  /** What follows from something that is computed, and what something waits for: for the branches of a choice. */
  readonly after: ReadonlySet<LocalNode>
  readonly needed: ReadonlySet<LocalNode>
}

/**
 * Of a body's collectives those that follow from what it is given but for `late` inputs, which are computed before, and those that no product needs, nor whoever waits for one of `results`. Of a loop these are what its turns carry; of a choice,
 * what is so around it.
 */
export function waitingIn(body: LocalBody, late: readonly LocalNode[], results: readonly LocalNode[]): Waiting {
  const order = orderOf(body.outputs)
  const after = new Set(late)
  for (const n of order) if (computes(n) || n.inputs.some(i => after.has(i))) after.add(n)
  const needed = new Set(results)
  for (const n of [...order].reverse()) if (computes(n) || needed.has(n)) for (const i of n.inputs) needed.add(i)
  return { hidden: new Set(order.filter(n => collectiveKind(n) !== undefined && (!n.inputs.some(i => after.has(i)) || !needed.has(n)))), after, needed }
}
/** What is late in a branch of a choice, and what is waited for, by what is so around it. */
export function branchIn(choice: LocalNode, branch: LocalBody, { after, needed }: Waiting): readonly [late: readonly LocalNode[], results: readonly LocalNode[]] {
  const waited = new Set([...needed].flatMap(n => (n.op === 'project' && n.inputs[0] === choice ? [n.attrs.index] : [])))
  return [branch.inputs.filter((_, i) => { const given = choice.inputs[i + 1]; return given !== undefined && after.has(given) }), branch.outputs.filter((_, i) => waited.has(i))]
}
