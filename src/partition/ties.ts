/** What keeps the collectives of one process in one order where only the plugin's own bookkeeping would. */
import { bodiesOf, loopsOf, orderOf } from '../graph/node.ts'
import { collectiveKind, communicates } from './collectives.ts'
import type { LocalBody, LocalNode } from './local.ts'

/** Whether a loop or a branch of it takes collectives. */
export const holdsCollectives = (n: LocalNode): boolean => bodiesOf(n).some(communicates)

export interface Tied {
  /** The nodes of a body in an order in which each can be written. */
  readonly order: readonly LocalNode[]
  /** Of loops and choices, what they have to wait for that they are not computed from. */
  readonly ties: ReadonlyMap<LocalNode, readonly LocalNode[]>
}

/**
 * Of the nodes of a body, in an order in which they can be written: each loop, or choice, that takes collectives waits for the one before it, and for every collective that is computed from none but those before it. So of it and any other
 * collective one is computed from the other: what does not come before it comes of it, or of one behind it. Collectives of one body need no order among themselves.
 */
export function tiesIn(written: readonly LocalNode[]): Tied {
  const holders = written.filter(holdsCollectives)
  const ties = new Map<LocalNode, readonly LocalNode[]>()
  if (holders.length === 0) return { order: written, ties }
  const known = new Set(written)
  // What is fused into another has no place of its own: that is computed from what it is computed from.
  const sources = new Map<LocalNode, readonly LocalNode[]>()
  const sourcesOf = (n: LocalNode): readonly LocalNode[] => {
    const found = sources.get(n) ?? [...new Set(n.inputs.flatMap(i => (known.has(i) ? [i] : sourcesOf(i))))]
    sources.set(n, found)
    return found
  }
  const at = new Map(holders.map((n, i) => [n, i + 1]))
  // Of each node, the last of the loops and choices that it is computed from, itself among them; each of these comes after all before it.
  const behind = new Map<LocalNode, number>()
  for (const n of written) behind.set(n, at.get(n) ?? sourcesOf(n).reduce((most, i) => Math.max(most, behind.get(i) ?? 0), 0))
  const meeting = written.filter(n => collectiveKind(n) !== undefined)
  const waited = new Set<LocalNode>()
  holders.forEach((n, i) => {
    const above = ancestorsOf(n)
    const others = [...holders.slice(Math.max(0, i - 1), i), ...meeting.filter(c => (behind.get(c) ?? 0) <= i && !waited.has(c))].filter(c => !above.has(c))
    for (const c of meeting) if ((behind.get(c) ?? 0) <= i) waited.add(c)
    if (others.length > 0) ties.set(n, others)
  })
  const done = new Set<LocalNode>()
  const order: LocalNode[] = []
  const write = (root: LocalNode): void => {
    const open = [root]
    for (let n = open.at(-1); n !== undefined; n = open.at(-1)) {
      const missing = done.has(n) ? [] : [...sourcesOf(n), ...ties.get(n) ?? []].filter(i => !done.has(i))
      if (missing.length > 0) open.push(...missing)
      else {
        open.pop()
        if (!done.has(n)) order.push(n)
        done.add(n)
      }
    }
  }
  written.forEach(write)
  return { order, ties }
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
export const isOrdered = ({ outputs }: Pick<LocalBody, 'outputs'>): boolean =>
  tiesIn(orderOf(outputs)).ties.size === 0 && loopsOf(outputs).every(n => bodiesOf(n).every(isOrdered))
