/** Graph + mesh + layout → the program of one device. */
import { names, type Dim } from '../core/dim.ts'
import { userSite } from '../core/site.ts'
import { checkLayout, localShape, rulesOf, shardingOf, type Layouts, type Role } from '../core/layout.ts'
import type { Mesh } from '../core/mesh.ts'
import { bodiesOf, dtypeOf, operand, reachable, shapeOf, visit, type Node } from '../graph/node.ts'
import type { Attrs, Graph } from '../graph/ops.ts'
import { newContext, reduced, type Context, type Value } from './context.ts'
import type { LocalGraph, LocalNode, Placement } from './local.ts'
import { optimized } from './passes/run.ts'
import { partitioners } from './ops/table.ts'

/** The values of some nodes, given those of the inputs. Partial ones that any user needed reduced are reduced for all. */
function partitionNodes(roots: readonly Node[], given: ReadonlyMap<Node, Value>, c: Context): Value[] {
  const values = new Map<Node, readonly Value[]>()
  const settled = (v: Value, n: Node): Value => {
    const own = { ...v, origin: n }
    return c.reduced.has(n) ? reduced(c, own) : own
  }
  for (const [n, v] of given) values.set(n, [settled(v, n)])
  const valueOf = (n: Node): Value => {
    const v = values.get(n)?.[0]
    if (v === undefined) throw new Error(`op ${n.op} was not partitioned`)
    return v
  }
  for (const n of reachable(roots)) {
    if (values.has(n)) continue
    if (n.op === 'project') {
      const v = values.get(operand(n, 0))?.[n.attrs.index]
      if (v !== undefined) values.set(n, [settled(v, n)])
      continue
    }
    const results = visit<Attrs, readonly Value[], [readonly Value[], Context], typeof n.op>(partitioners, n, n.inputs.map(valueOf), c)
    values.set(n, results.map(v => settled(v, n)))
  }
  return roots.map(valueOf)
}

/** Every node of a graph, bodies of loops and choices included. */
export function allNodes(roots: readonly Node[]): Node[] {
  const all: Node[] = []
  const add = (graph: readonly Node[]): void => {
    for (const n of reachable(graph)) {
      all.push(n)
      for (const body of bodiesOf(n)) {
        add(body.outputs)
        for (const p of body.inputs) all.push(p)
      }
    }
  }
  add(roots)
  return all
}

/** Ops that give a dim another size. */
const resizing: ReadonlySet<string> = new Set(['resample', 'concat', 'conv', 'dynamicSlice', 'topK'])

/** Which dims got their size from an op, not from the user. */
function derivedDims(nodes: readonly Node[]): (d: Dim) => boolean {
  const key = (d: Dim): string => `${d.name}=${d.size}`
  const found = new Set(nodes.filter(n => resizing.has(n.op)).flatMap(n => {
    const given = new Set(n.inputs.flatMap(i => shapeOf(i).map(key)))
    return n.results.flatMap(r => r.shape.map(key)).filter(k => !given.has(k))
  }))
  return d => found.has(key(d))
}

/**
 * Checks that the rules fit every tensor of the graph, and says which dims got their sizes from ops.
 * @throws LayoutError, which names the tensor, the rule and the user's line
 */
export function checkGraph(graph: Graph, mesh: Mesh, layouts: Layouts, dims: readonly Dim[] = []): (d: Dim) => boolean {
  const nodes = [...graph.inputs, ...allNodes(graph.outputs)]
  const known = new Set([...nodes.flatMap(n => n.results.flatMap(r => names(r.shape))), ...names(dims)])
  for (const rules of [layouts.layout, layouts.params ?? {}, layouts.state ?? {}]) checkLayout(rules, mesh, known, { what: 'the layout', owner: 'the model', at: userSite() })
  const compute = rulesOf(layouts, 'compute')
  const derived = derivedDims(nodes)
  for (const n of nodes) {
    const what = n.op === 'input' ? n.attrs.name : n.op
    for (const r of n.results) shardingOf(compute, mesh, r.shape, what, n.site, derived)
    if (n.op === 'relayout') {
      const { to } = n.attrs
      if (typeof to !== 'string') checkLayout(to, mesh, names(shapeOf(n)), { what, owner: 'the tensor', at: n.site })
      shardingOf(typeof to === 'string' ? rulesOf(layouts, to) : to, mesh, shapeOf(n), what, n.site, derived)
    }
    if (n.op === 'input' && n.attrs.role !== 'compute') shardingOf(rulesOf(layouts, n.attrs.role), mesh, shapeOf(n), what, n.site)
  }
  return derived
}

/** The program that every device runs, all collectives in it. `dims` are those that the rules may name though this graph lacks them. */
export function partition(graph: Graph, mesh: Mesh, layouts: Layouts, dims: readonly Dim[] = []): LocalGraph {
  const derived = checkGraph(graph, mesh, layouts, dims)
  const reduced = new Set<Node>()
  // What one user needs reduced is reduced where it is made; each round can only find more of it.
  for (;;) {
    const before = reduced.size
    const c = newContext(mesh, layouts, derived, reduced, partitionNodes)
    const local = attempt(graph, c, layouts)
    if (reduced.size === before) return optimized(local, c.make)
  }
}

function attempt(graph: Graph, c: Context, layouts: Layouts): LocalGraph {
  const { mesh } = c
  const given = new Map<Node, Value>()
  const inputs: LocalNode<'input'>[] = []
  const inputPlacements: Placement[] = []
  for (const n of graph.inputs) {
    const role: Role = n.attrs.role
    const sharding = shardingOf(rulesOf(layouts, role), mesh, shapeOf(n), n.attrs.name, n.site)
    const node = c.make('input', [], { ...n.attrs, type: { shape: localShape(shapeOf(n), sharding, mesh), dtype: dtypeOf(n) } }, n.site)
    inputs.push(node)
    inputPlacements.push({ shape: shapeOf(n), dtype: dtypeOf(n), sharding })
    given.set(n, { shape: shapeOf(n), node, sharding, origin: n, ...(role === 'compute' ? {} : { resting: role }) })
  }
  const outputs = partitionNodes(graph.outputs, given, c).map(v => reduced(c, v))
  return {
    mesh, inputs, outputs: outputs.map(v => v.node), inputPlacements,
    outputPlacements: outputs.map((v, i) => ({ shape: v.shape, dtype: dtypeOf(graph.outputs[i] ?? v.node), sharding: v.sharding })),
  }
}
