/** Walks a device's program and writes each node by the table. */
import { operand, reachable } from '../graph/node.ts'
import { visitLocal, type LocalNode } from '../partition/local.ts'
import { emitKeys, keyGroups } from './keys.ts'
import type { Scope } from './scope.ts'
import { table } from './table.ts'
import type { Ssa, Writer } from './writer.ts'

/** The values of the roots, given those of the inputs. */
export function emitNodes(roots: readonly LocalNode[], given: ReadonlyMap<LocalNode, Ssa>, w: Writer, scope: Scope): Ssa[] {
  const values = new Map<LocalNode, readonly Ssa[]>([...given].map(([n, v]) => [n, [v]]))
  const valueOf = (n: LocalNode): Ssa => {
    const v = n.op === 'project' ? values.get(operand(n, 0))?.[n.attrs.index] : values.get(n)?.[0]
    if (v === undefined) throw new Error(`op ${n.op} was not emitted`)
    return v
  }
  const here: Scope = { ...scope, ssaOf: n => values.get(n)?.[0] }
  const order = reachable(roots)
  // What depends on no input is shared with other programs and may have been made on a line of theirs.
  const shared = new Set<LocalNode>()
  for (const n of order) if (n.op !== 'input' && n.inputs.every(i => shared.has(i))) shared.add(n)
  const at = (n: LocalNode): void => w.at(shared.has(n) ? undefined : n.site)
  const emit = (n: LocalNode): void => {
    if (n.op === 'project' || values.has(n)) return
    at(n)
    values.set(n, visitLocal(table, n, n.inputs.map(valueOf), w, here))
  }
  for (const { before, keys } of keyGroups(order)) {
    before.forEach(emit)
    keys.slice(0, 1).forEach(at)
    const words = emitKeys(keys.map(k => k.inputs.map(valueOf)), w)
    keys.forEach((k, i) => values.set(k, words.slice(i, i + 1)))
  }
  order.forEach(emit)
  return roots.map(valueOf)
}
