/** What keeps the collectives of one process in one order where only the plugin's own bookkeeping would. */
import { bodiesOf, loopsOf, orderOf } from '../graph/node.ts'
import { collectiveKind, communicates } from './collectives.ts'
import type { LocalBody, LocalNode } from './local.ts'

/** Whether a loop or a branch of it takes collectives. */
export const holdsCollectives = (n: LocalNode): boolean => bodiesOf(n).some(communicates)

/**
 * Of the nodes of a body, in the order in which they are written, those that have to wait for others that they do not depend on, and for which: so that of a loop, or a choice, that takes collectives and any other
 * collective one is computed from the other. Collectives of one body need none among themselves.
 */
export function tiesIn(order: readonly LocalNode[]): ReadonlyMap<LocalNode, readonly LocalNode[]> {
  const found = new Map<LocalNode, readonly LocalNode[]>()
  // Of each node, how many of the loops and choices it depends on the last of; each of these depends on all before it, once it is tied.
  const behind = new Map<LocalNode, number>()
  let [holders, last, since]: [number, LocalNode | undefined, LocalNode[]] = [0, undefined, []]
  for (const n of order) {
    const depth = n.inputs.reduce((most, i) => Math.max(most, behind.get(i) ?? 0), 0)
    const open = last !== undefined && depth < holders ? [last] : []
    if (collectiveKind(n) !== undefined) {
      if (open.length > 0) found.set(n, open)
      since.push(n)
      behind.set(n, holders)
    } else if (holdsCollectives(n)) {
      const above = since.length === 0 ? new Set<LocalNode>() : ancestorsOf(n)
      const others = [...open, ...since.filter(c => !above.has(c))]
      if (others.length > 0) found.set(n, others)
      ;[last, since] = [n, []]
      behind.set(n, ++holders)
    } else behind.set(n, depth)
  }
  return found
}

function ancestorsOf(n: LocalNode): ReadonlySet<LocalNode> {
  const seen = new Set<LocalNode>()
  const open = [...n.inputs]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (seen.has(next)) continue
    seen.add(next)
    open.push(...next.inputs)
  }
  return seen
}

/** Whether the collectives of a program are all in an order by what is computed from what, and by that of their bodies. */
export const isOrdered = ({ outputs }: Pick<LocalBody, 'outputs'>): boolean => {
  const order = orderOf(outputs)
  return tiesIn(order).size === 0 && loopsOf(outputs).every(n => bodiesOf(n).every(isOrdered))
}
