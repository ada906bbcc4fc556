/** The reference evaluator: one device, no layout, the judge of every other backend. */
import { operand, reachable, visit, type Node } from '../node.ts'
import type { Attrs, Graph } from '../ops.ts'
import type { Context } from './evaluator.ts'
import { reference } from './table.ts'
import type { Value } from './values.ts'

/** The outputs' values, given the inputs' in their order. Each value goes through `rounded` as it is made, also in loops. */
export function evaluate(graph: Graph, inputs: readonly Value[], rounded: (v: Value) => Value = v => v): Value[] {
  const values = new Map<Node, readonly Value[]>()
  graph.inputs.forEach((n, i) => { const v = inputs[i]; if (v !== undefined) values.set(n, [v]) })
  const context: Context = { run: (body, given) => evaluate(body as Graph, given, rounded) }
  const first = (n: Node): Value => {
    const v = n.op === 'project' ? values.get(operand(n, 0))?.[n.attrs.index] : values.get(n)?.[0]
    if (v === undefined) throw new Error(`op ${n.op} was not evaluated`)
    return v
  }
  for (const n of reachable(graph.outputs)) {
    if (n.op === 'project' || values.has(n)) continue
    values.set(n, visit<Attrs, readonly Value[], [readonly Value[], Context], typeof n.op>(reference, n, n.inputs.map(first), context).map(rounded))
  }
  return graph.outputs.map(first)
}
