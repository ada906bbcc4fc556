/** Reverse mode: cotangents walk the graph from its results back to what is differentiated. */
import { isFloat } from '../core/dtype.ts'
import { onBehalfOf } from '../core/site.ts'
import { dtypeOf, operand, reachable, visit, type Node } from '../graph/node.ts'
import type { Keep } from './policy.ts'
import type { Attrs } from '../graph/ops.ts'
import { dependents } from './active.ts'
import { sumOf, type Cotangents, type Wanted } from './vjps/vjp.ts'
import { vjps } from './vjps/table.ts'

/**
 * Cotangents of `wrt`, given those of `roots`; undefined where none flows. `keep` is for loops: see `remat.ts`. What is made for the
 * gradient of an op bears the line of that op.
 */
export function pullback(roots: readonly Node[], given: Cotangents, wrt: readonly Node[], keep: Keep): Cotangents {
  const active = dependents(roots, wrt)
  const found = new Map<Node, (Node | undefined)[]>()
  const give = (n: Node, g: Node | undefined): void => {
    if (g === undefined || !active.has(n) || !isFloat(dtypeOf(n))) return
    const [to, index] = n.op === 'project' ? [operand(n, 0), n.attrs.index] : [n, 0]
    const all = found.get(to) ?? []
    all[index] = onBehalfOf(n.site, () => sumOf(all[index], g))
    found.set(to, all)
  }
  roots.forEach((n, i) => give(n, given[i]))
  const wanted: Wanted = { wants: n => active.has(n), keep, pullback }
  for (const n of [...reachable(roots)].reverse()) {
    const g = found.get(n)
    if (g === undefined || n.op === 'project') continue
    const cotangents = onBehalfOf(n.site, () => visit<Attrs, Cotangents, [Cotangents, Wanted], typeof n.op>(vjps, n, g, wanted))
    cotangents.forEach((d, i) => give(operand(n, i), d))
  }
  return wrt.map(n => (n.op === 'project' ? found.get(operand(n, 0))?.[n.attrs.index] : found.get(n)?.[0]))
}
