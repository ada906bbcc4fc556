/** Walks a device's program and writes each node by the table. */
import { operand, reachable } from '../graph/node.ts'
import { visitLocal, type LocalNode } from '../partition/local.ts'
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
  // What depends on no input is shared with other programs and may have been made on a line of theirs.
  const shared = new Set<LocalNode>()
  for (const n of reachable(roots)) {
    if (n.op !== 'input' && n.inputs.every(i => shared.has(i))) shared.add(n)
    if (n.op === 'project' || values.has(n)) continue
    w.at(shared.has(n) ? undefined : n.site)
    values.set(n, visitLocal(table, n, n.inputs.map(valueOf), w, scope))
  }
  return roots.map(valueOf)
}
