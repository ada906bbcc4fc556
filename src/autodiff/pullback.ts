/** Reverse mode: cotangents walk the graph from its results back to what is differentiated. */
import { isFloat } from '../core/dtype.ts'
import { cotangentIn, sumsIn } from '../graph/halves.ts'
import { make } from '../graph/make.ts'
import { dtypeOf, operand, reachable, visit, type Node } from '../graph/node.ts'
import type { Attrs } from '../graph/ops.ts'
import type { Cotangents, Wanted } from './rules/rule.ts'
import { rules } from './rules/table.ts'

/** A node that a gradient goes through: integers and what is stopped let none. */
const passes = (n: Node): boolean => n.op !== 'stopGradient' && n.results.some(r => isFloat(r.dtype))

/** Nodes through which a gradient may come from the roots to `wrt`. */
export function dependents(roots: readonly Node[], wrt: readonly Node[]): Set<Node> {
  const found = new Set<Node>(wrt)
  for (const n of reachable(roots)) if (passes(n) && n.inputs.some(i => found.has(i))) found.add(n)
  return found
}

/** Of halves added in f32: a sum of many is rounded once, as what was narrowed for one addition is taken as it was for the next. */
export function sumOf(a: Node | undefined, b: Node): Node {
  if (a === undefined) return b
  const dtype = dtypeOf(b)
  const sum = make('binary', [a, b].map(n => cotangentIn(n, sumsIn(dtype))), { fn: 'add' })
  return sumsIn(dtype) === dtype ? sum : make('convert', [sum], { dtype })
}

/** Cotangents of `wrt`, given those of `roots`; undefined where none flows. `keep` is for loops: see `remat.ts`. */
export function pullback(roots: readonly Node[], given: Cotangents, wrt: readonly Node[], keep: (n: Node) => boolean): Cotangents {
  const active = dependents(roots, wrt)
  const found = new Map<Node, (Node | undefined)[]>()
  const give = (n: Node, g: Node | undefined): void => {
    if (g === undefined || !active.has(n) || !isFloat(dtypeOf(n))) return
    const [to, index] = n.op === 'project' ? [operand(n, 0), n.attrs.index] : [n, 0]
    const all = found.get(to) ?? []
    all[index] = sumOf(all[index], g)
    found.set(to, all)
  }
  roots.forEach((n, i) => give(n, given[i]))
  const wanted: Wanted = { wants: n => active.has(n), keep }
  for (const n of reachable(roots).reverse()) {
    const g = found.get(n)
    if (g === undefined || n.op === 'project') continue
    visit<Attrs, Cotangents, [Cotangents, Wanted], typeof n.op>(rules, n, g, wanted).forEach((d, i) => give(operand(n, i), d))
  }
  return wrt.map(n => (n.op === 'project' ? found.get(operand(n, 0))?.[n.attrs.index] : found.get(n)?.[0]))
}
