/** Graph + mesh + layout → the program of one device. */
import { formatShape, isHidden, names, type Dim } from '../core/dim.ts'
import { LayoutError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { checkLayout, leavingTo, localShape, shardingOf, type Layouts, type Sharding } from '../core/layout.ts'
import { formatMesh, partsOf, type Mesh } from '../core/mesh.ts'
import { checkLayouts, isRole, layoutNames, rulesOf } from '../core/named-layouts.ts'
import { didYouMean } from '../core/nearest.ts'
import { bodiesOf, dtypeOf, operand, orderOf, shapeOf, visit, type Node } from '../graph/node.ts'
import type { Attrs, Graph } from '../graph/ops.ts'
import { Before, settle } from './before.ts'
import { collectives, received } from './collectives.ts'
import { newContext, reduced, targetsOf, type Context, type Rules, type Value } from './context.ts'
import type { LocalGraph, LocalNode, Placement } from './local.ts'
import { home, wherever } from './meet.ts'
import { optimized, type Wiring } from './passes/run.ts'
import { checkWire } from './passes/wire.ts'
import { partitioners } from './ops/table.ts'

/** The values of some nodes, given those of the inputs. Partial ones that any user needed reduced are reduced for all. */
function partitionNodes(roots: readonly Node[], given: ReadonlyMap<Node, Value>, c: Context): Value[] {
  const values = new Map<Node, readonly Value[]>()
  const { before } = c
  const lying = (n: Node, found: readonly Value[]): readonly Value[] => (before === undefined ? settle(n, found, c) : before.given(n, found, c))
  for (const [n, v] of given) values.set(n, lying(n, [v]))
  const valueOf = (n: Node): Value => {
    const v = values.get(n)?.[0]
    if (v === undefined) throw new Error(`op ${n.op} was not partitioned`)
    return v
  }
  for (const n of orderOf(roots)) {
    if (values.has(n)) continue
    if (n.op === 'project') {
      const v = values.get(operand(n, 0))?.[n.attrs.index]
      if (v !== undefined) values.set(n, lying(n, [v]))
      continue
    }
    const operands = n.inputs.map(valueOf)
    const rule = (): readonly Value[] => {
      const results = visit<Attrs, readonly Value[], [readonly Value[], Context], typeof n.op>(partitioners, n, operands, c)
      // What came of something off the rules is off them too, unless it is told where to be.
      return n.op !== 'relayout' && operands.some(v => v.strayed) ? results.map(v => wherever(c, v)) : results
    }
    values.set(n, before === undefined ? settle(n, rule(), c) : before.results(n, operands, c, rule))
  }
  return roots.map(valueOf)
}

/** Every node of a graph, bodies of loops and choices included. */
export function allNodes(roots: readonly Node[]): Node[] {
  const all: Node[] = []
  const add = (graph: readonly Node[]): void => {
    for (const n of orderOf(graph)) {
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

/** Ops that give a dim another size; those of the second list where it keeps its name. */
const resizing: ReadonlySet<string> = new Set(['resample', 'concat', 'conv', 'dynamicSlice', 'topK'])
const regrouping: ReadonlySet<string> = new Set(['splitDim', 'mergeDims'])

/** Which dims got their size from an op, not from the user. */
function derivedDims(nodes: readonly Node[]): (d: Dim) => boolean {
  const key = (d: Dim): string => `${d.name}=${d.size}`
  const found = new Set(nodes.filter(n => resizing.has(n.op) || regrouping.has(n.op)).flatMap(n => {
    const given = n.inputs.flatMap(i => shapeOf(i))
    const [before, had] = [new Set(given.map(key)), new Set(names(given))]
    return n.results.flatMap(r => r.shape).filter(d => !before.has(key(d)) && (resizing.has(n.op) || had.has(d.name))).map(key)
  }))
  // Under another name it is the same dim: the gradient of a slice that gave it one takes that back.
  for (const n of nodes) {
    if (n.op !== 'rename') continue
    const { from, to } = n.attrs
    for (const d of shapeOf(operand(n, 0))) if (d.name === from && found.has(key(d))) found.add(key({ name: to, size: d.size }))
  }
  return d => found.has(key(d))
}

/** The name of the layout that a node speaks of. */
const layoutNamed = (n: Node): string | undefined => (n.op === 'input' ? n.attrs.role : n.op === 'relayout' && typeof n.attrs.to === 'string' ? n.attrs.to : undefined)

/** The layouts, and what those start from that only the program names. */
export const withNames = (layouts: Layouts, nodes: readonly Node[]): Layouts => {
  const named = nodes.flatMap(n => (n.op === 'relayout' && typeof n.attrs.to === 'string' && n.attrs.otherwise !== undefined && !isRole(n.attrs.to) ? [[n.attrs.to, n.attrs.otherwise] as const] : []))
  return named.length === 0 ? layouts : { ...layouts, uses: { ...Object.fromEntries(named), ...layouts.uses } }
}

/**
 * Checks that the rules fit every tensor of the graph, and says which dims got their sizes from ops.
 * @throws LayoutError, which names the tensor, the rule and the user's line
 */
export function checkGraph(graph: Graph, mesh: Mesh, given: Layouts, dims: readonly Dim[] = [], within: readonly Node[] = allNodes(graph.outputs)): (d: Dim) => boolean {
  const nodes = [...graph.inputs, ...within]
  const known = new Set<string>()
  for (const n of nodes) for (const { shape } of n.results) for (const { name } of shape) if (!isHidden(name)) known.add(name)
  for (const { name } of dims) if (!isHidden(name)) known.add(name)
  const layouts = withNames(given, nodes)
  const there = layoutNames(layouts)
  for (const n of nodes) {
    const name = layoutNamed(n)
    if (name === undefined || there.includes(name)) continue
    throw new LayoutError({ code: 'unknown-layout', what: `${n.op === 'input' ? n.attrs.name : n.op}: there is no layout "${name}"`, fix: didYouMean(name, there), at: n.site })
  }
  checkLayouts(layouts, mesh, known, nodes.flatMap(n => layoutNamed(n) ?? []), userSite())
  const compute = rulesOf(layouts, 'compute')
  const derived = derivedDims(nodes)
  // Ops that change no shape have that of their operand, the same list.
  const fit = new Set<readonly Dim[]>()
  for (const n of nodes) {
    const what = n.op === 'input' ? n.attrs.name : n.op
    for (const { shape } of n.results) {
      if (fit.has(shape)) continue
      shardingOf(compute, mesh, shape, what, n.site, derived)
      fit.add(shape)
    }
    if (n.op === 'relayout') {
      const { to, first } = n.attrs
      if (typeof to === 'string') {
        const sharding = shardingOf(first === undefined ? rulesOf(layouts, to, n.site) : leavingTo(first, rulesOf(layouts, to, n.site)), mesh, shapeOf(n), n.attrs.parts?.by ?? what, n.site, derived, to)
        checkParts(n, sharding, mesh)
      } else {
        checkLayout(to, mesh, names(shapeOf(n)), { what, owner: 'the tensor', at: n.site })
        shardingOf(to, mesh, shapeOf(n), what, n.site, derived)
      }
    }
    if (n.op === 'input' && n.attrs.role !== 'compute') shardingOf(rulesOf(layouts, n.attrs.role, n.site), mesh, shapeOf(n), what, n.site, undefined, n.attrs.role)
  }
  return derived
}

/** Whether dims lie in as many parts as what asks for the layout can take. */
function checkParts(n: Node<'relayout'>, sharding: Sharding, mesh: Mesh): void {
  const { to, parts } = n.attrs
  for (const [dim, most] of Object.entries(parts?.of ?? {})) {
    const axes = sharding.get(dim) ?? []
    const cut = partsOf(mesh, axes)
    if (most % cut === 0) continue
    const on = `"${dim}" → ${axes.join(', ')} in layout "${String(to)}"`
    throw new LayoutError({
      code: 'parts', what: `${parts?.by ?? n.op}: dim "${dim}" lies in ${cut} parts, ${most === 1 ? 'and must be whole' : `which do not divide its ${most} blocks`}`, at: n.site,
      details: { tensor: formatShape(shapeOf(n)), mesh: formatMesh(mesh), rule: on },
      fix: most === 1 ? `take that rule back there and lay another dim on the axis: layouts: { ${String(to)}: { ${dim}: [], heads: '${axes.join(', ')}' } }`
        : `give as many blocks as a multiple of ${cut}, or lay "${dim}" on a smaller axis`,
    })
  }
}

interface Partitioned { readonly local: LocalGraph; readonly tempted: ReadonlySet<string> }
/** A program in which these uses of what rests are where it rests. */
function partitionedWith(atRest: ReadonlySet<string>, graph: Graph, mesh: Mesh, layouts: Layouts & Wiring, target: Rules): Partitioned {
  const before = new Before()
  const c = newContext(mesh, layouts.overlaps === true, target, before, atRest, partitionNodes)
  // What one user needs reduced is reduced where it is made; each round can only find more of it.
  for (;;) {
    const known = c.reduced.size
    c.tempted.clear()
    const local = attempt(graph, c, layouts)
    if (c.reduced.size === known) return { local: optimized(local, c.make, layouts), tempted: c.tempted }
  }
}

/**
 * The program that every device runs, all collectives in it. `dims` are those that the rules may name though this graph lacks them.
 * What rests is moved to where it is computed with, except for uses that the whole program receives fewer bytes by when they meet it
 * where it rests: those that seem so are tried, one kind after another.
 */
export function partition(graph: Graph, mesh: Mesh, given: Layouts & Wiring, dims: readonly Dim[] = []): LocalGraph {
  checkWire(given.wire ?? {}, mesh)
  const nodes = allNodes(graph.outputs)
  const derived = checkGraph(graph, mesh, given, dims, nodes)
  const layouts = { ...withNames(given, nodes), wire: given.wire, overlaps: given.overlaps }
  const target = targetsOf(mesh, layouts, derived)
  const costOf = ({ local }: Partitioned): number => received(collectives(local))
  let [best, atRest] = [partitionedWith(new Set(), graph, mesh, layouts, target), new Set<string>()]
  let least: number | undefined
  const tried = new Set<string>()
  for (;;) {
    const open = [...best.tempted].filter(use => !atRest.has(use))
    // Each alone, and then all together: the parts of one may need those of another.
    const next = [...open.map(use => [use]), open].find(uses => uses.length > 0 && !tried.has(key(atRest, uses)))
    if (next === undefined) return best.local
    tried.add(key(atRest, next))
    const more = new Set([...atRest, ...next])
    const trial = partitionedWith(more, graph, mesh, layouts, target)
    least ??= costOf(best)
    const cost = costOf(trial)
    if (cost < least) [best, atRest, least] = [trial, more, cost]
  }
}
/** The same where it has been decided which uses meet what rests where it rests: as tables of a search decide it before. */
export function partitionAt(atRest: ReadonlySet<string>, graph: Graph, mesh: Mesh, given: Layouts, dims: readonly Dim[] = []): LocalGraph {
  const nodes = allNodes(graph.outputs)
  const derived = checkGraph(graph, mesh, given, dims, nodes)
  const layouts = withNames(given, nodes)
  return partitionedWith(atRest, graph, mesh, layouts, targetsOf(mesh, layouts, derived)).local
}
const key = (uses: ReadonlySet<string>, more: readonly string[]): string => [...new Set([...uses, ...more])].sort().join(', ')

function attempt(graph: Graph, c: Context, layouts: Layouts): LocalGraph {
  const { mesh } = c
  const given = new Map<Node, Value>()
  const inputs: LocalNode<'input'>[] = []
  const inputPlacements: Placement[] = []
  for (const n of graph.inputs) {
    const { role } = n.attrs
    const sharding = shardingOf(rulesOf(layouts, role), mesh, shapeOf(n), n.attrs.name, n.site, undefined, role)
    const node = c.make('input', [], { ...n.attrs, type: { shape: localShape(shapeOf(n), sharding, mesh), dtype: dtypeOf(n) } }, n.site)
    inputs.push(node)
    inputPlacements.push({ shape: shapeOf(n), dtype: dtypeOf(n), sharding })
    given.set(n, { shape: shapeOf(n), node, sharding, origin: n, ...(role === 'compute' ? {} : { resting: role }) })
  }
  const outputs = partitionNodes(graph.outputs, given, c).map((v, i): Value => {
    const [n, found] = [graph.outputs[i], home(c, reduced(c, v))]
    // What was moved behind goes to the host again, from where it is to rest.
    return n?.op === 'stored' && n.attrs.in === 'host' && found.node.op !== 'stored' ? { ...found, node: c.make('stored', [found.node], n.attrs, n.site) } : found
  })
  const nodes = outputs.map(v => v.node)
  const awaited = fetched(inputs, nodes)
  return {
    mesh, inputs, outputs: nodes, inputPlacements: inputPlacements.map((p, i) => (awaited.has(i) ? { ...p, memory: 'host' } : p)),
    outputPlacements: outputs.map((v, i) => ({ shape: v.shape, dtype: dtypeOf(graph.outputs[i] ?? v.node), sharding: v.sharding, ...(v.node.op === 'stored' && v.node.attrs.in === 'host' ? { memory: 'host' } : {}) })),
  }
}

/** Inputs that rest with the host: all that uses one brings it to the device first. */
function fetched(inputs: readonly LocalNode<'input'>[], outputs: readonly LocalNode[]): ReadonlySet<number> {
  const places = new Map<LocalNode, number>(inputs.map((n, i) => [n, i]))
  const [brought, others] = [new Set<number>(), new Set<number>()]
  const used = (n: LocalNode, by: LocalNode | undefined): void => {
    const i = places.get(n)
    if (i !== undefined) (by?.op === 'stored' && by.attrs.in === 'device' ? brought : others).add(i)
  }
  for (const n of orderOf(outputs)) for (const m of n.inputs) used(m, n)
  for (const n of outputs) used(n, undefined)
  return new Set([...brought].filter(i => !others.has(i)))
}
