/**
 * What a layout makes of a program, without the program: every op's partition rule is applied to stand-ins that know how a value lies and nothing of what it was computed from, so what a rule
 * gives depends on a few dims only, and is looked up when they lie so again. What a layout costs is then a sum over small tables, one of each op.
 */
import type { Dim } from '../core/dim.ts'
import { localShape, shardingOf, type Layout, type Layouts, type Sharding } from '../core/layout.ts'
import type { Mesh } from '../core/mesh.ts'
import { rulesOf } from '../core/named-layouts.ts'
import { bodiesOf, dtypeOf, interner, operand, reachable, shapeOf, visit, type Node } from '../graph/node.ts'
import type { Attrs, Graph } from '../graph/ops.ts'
import { collectiveKind } from '../partition/collectives.ts'
import { reduced, type Context, type Value } from '../partition/context.ts'
import { localInfer, type LocalAttrs, type LocalNode } from '../partition/local.ts'
import { home, wherever } from '../partition/meet.ts'
import { landed } from '../partition/operands.ts'
import { partitioners } from '../partition/ops/table.ts'
import { Stands, type Stand } from './stands.ts'

/** By operand, how many collectives lie between it and a value of a rule's fragment at most; undefined where no way leads there. */
type Ways = readonly (number | undefined)[]
/** A product, a convolution or a collective. */
interface Work { readonly node: LocalNode; readonly ways: Ways }
/** What a rule gives for operands that lie in one way. */
interface Entry { readonly results: readonly Stand[]; readonly ways: readonly Ways[]; readonly work: readonly Work[]; readonly reduces: readonly Node[]; readonly tempts: readonly string[] }

/** A product, a convolution or a collective of a body; `depth`: the collectives and loops that it waits for, itself among them. */
export interface Done { readonly node: LocalNode; readonly by: Node; readonly depth: number }
/** What one run of each body does, by the outputs of its graph; those of the program itself first. */
export interface Sketch { readonly bodies: ReadonlyMap<readonly Node[], readonly Done[]>; readonly inputs: readonly Value[] }

/** A set that tells what is added to it while something runs. */
class Recorded<T> extends Set<T> {
  private log: T[] | undefined
  override add(x: T): this {
    this.log?.push(x)
    return super.add(x)
  }
  during<R>(run: () => R): { readonly result: R; readonly added: readonly T[] } {
    const [added, before]: [T[], T[] | undefined] = [[], this.log]
    this.log = added
    try { return { result: run(), added } } finally { this.log = before }
  }
}

const isWork = (n: LocalNode): boolean => n.op === 'dot' || n.op === 'conv' || collectiveKind(n) !== undefined

/** What lies in a fragment, and how far each of it is from the operands, in collectives. */
function fragment(results: readonly LocalNode[], operands: readonly LocalNode[]): { readonly work: readonly Work[]; readonly ways: readonly Ways[] } {
  const ways = new Map<LocalNode, (number | undefined)[]>()
  const work: Work[] = []
  for (const n of reachable(results)) {
    const own = operands.map((o): number | undefined => (o === n ? 0 : undefined))
    for (const i of n.inputs) ways.get(i)?.forEach((w, k) => { if (w !== undefined && !(own[k] !== undefined && own[k] >= w)) own[k] = w })
    const waits = collectiveKind(n) === undefined ? 0 : 1
    const found = own.map(w => (w === undefined ? undefined : w + waits))
    ways.set(n, found)
    if (isWork(n)) work.push({ node: n, ways: found })
  }
  return { work, ways: results.map(r => ways.get(r) ?? []) }
}
const reach = (ways: Ways, depths: readonly number[], otherwise: number): number => ways.reduce<number>((d, w, k) => (w === undefined ? d : Math.max(d, w + (depths[k] ?? 0))), otherwise)

const hasBodies = (n: Node): boolean => n.op === 'scan' || n.op === 'cond' || n.op === 'while'

export interface SketchOptions { readonly graph: Graph; readonly mesh: Mesh; /** Dims that got their sizes from ops; see `checkGraph`. */ readonly derived: (d: Dim) => boolean }

/** Sketches of one program on one mesh; what one layout has found the next one looks up. */
export class Sketcher {
  private readonly make = interner<LocalAttrs>(localInfer, () => undefined)
  private readonly stands = new Stands(this.make)
  private readonly entries = new Map<Node, Map<string, Entry>>()
  private readonly settling = new Map<Stand, Entry>()
  private readonly orders = new Map<readonly Node[], { readonly nodes: readonly Node[]; readonly dims: readonly (readonly string[])[] }>()
  /** Fragments, so that nodes that are looked up by what they are stay what they are. */
  private readonly kept: LocalNode[] = []
  /** How many rules were applied, and how often what one gives was known. */
  applied = 0
  known = 0
  private readonly given: SketchOptions
  constructor(given: SketchOptions) { this.given = given }

  /** The sketch of a layout, which must be legal. `atRest`: see `partition`. */
  sketch(layouts: Layouts, atRest: ReadonlySet<string> = new Set()): Sketch & { readonly tempted: ReadonlySet<string> } {
    const run = new Walk(this, this.given, layouts, atRest)
    return run.all()
  }

  order(roots: readonly Node[]): { readonly nodes: readonly Node[]; readonly dims: readonly (readonly string[])[] } {
    const known = this.orders.get(roots)
    if (known !== undefined) return known
    const nodes = reachable(roots)
    const found = { nodes, dims: nodes.map(n => [...new Set([...n.inputs, n].flatMap(x => x.results.flatMap(r => r.shape.map(d => d.name))))]) }
    this.orders.set(roots, found)
    return found
  }

  stand(v: Value, origin: Node): Stand { return this.stands.of(v, origin) }
  standOfLoop(v: Value, origin: Node, index: number): Stand { return this.stands.ofLoop(v, origin, index) }
  maker(): Context['make'] { return this.make }

  /** What the rule gives, looked up by how the operands and the rules of the dims are. */
  entry(n: Node, key: string, operands: readonly Stand[], c: Walk['context'], apply: () => readonly Value[]): Entry {
    const table = this.entries.get(n) ?? new Map<string, Entry>()
    this.entries.set(n, table)
    const known = table.get(key)
    if (known !== undefined) {
      this.known++
      for (const r of known.reduces) c.reduced.add(r)
      for (const t of known.tempts) c.tempted.add(t)
      return known
    }
    const made = this.applyRule(operands, c, apply, n)
    table.set(key, made)
    return made
  }
  settled(v: Stand, c: Walk['context']): Entry {
    const known = this.settling.get(v)
    if (known !== undefined) return known
    const made = this.applyRule([v], c, () => [landed(c, v)], v.origin)
    this.settling.set(v, made)
    return made
  }

  private applyRule(operands: readonly Stand[], c: Walk['context'], apply: () => readonly Value[], origin: Node): Entry {
    this.applied++
    const { result: { result: results, added: tempts }, added: reduces } = c.reduced.during(() => c.tempted.during(apply))
    const { work, ways } = fragment(results.map(v => v.node), operands.map(o => o.node))
    for (const v of results) this.kept.push(v.node)
    return { results: results.map(v => this.stands.of(v, origin)), ways, work, reduces, tempts }
  }
}

interface Placed { readonly value: Stand; readonly depth: number }

/** One layout's way through a program. */
class Walk {
  readonly context: Context & { readonly reduced: Recorded<Node>; readonly tempted: Recorded<string> }
  private readonly bodies = new Map<readonly Node[], Done[]>()
  private readonly depths = new Map<LocalNode, number>()
  private readonly rules = new Map<string, Layout>()
  private readonly restKey: string

  private readonly owner: Sketcher
  private readonly given: SketchOptions
  private readonly layouts: Layouts

  constructor(owner: Sketcher, given: SketchOptions, layouts: Layouts, atRest: ReadonlySet<string>) {
    const { mesh, derived } = given
    this.owner = owner
    this.given = given
    this.layouts = layouts
    const target = (shape: readonly Dim[], layout: string | Layout = 'compute'): Sharding =>
      shardingOf(typeof layout === 'string' ? this.rulesOf(layout) : layout, mesh, shape, 'relayout', undefined, derived)
    this.context = {
      mesh, make: owner.maker(), reduced: new Recorded(), tempted: new Recorded(), atRest, target,
      partitionNodes: (roots, values) => this.walk(roots, values).map(p => p.value),
    }
    this.restKey = [...atRest].sort().join()
  }

  private rulesOf(name: string): Layout {
    const known = this.rules.get(name) ?? rulesOf(this.layouts, name)
    this.rules.set(name, known)
    return known
  }
  private rulesKey(name: string, dims: readonly string[]): string {
    const rules = this.rulesOf(name)
    let key = ''
    for (const d of dims) { const axes = rules[d]; key += axes === undefined ? ';' : `${typeof axes === 'string' ? axes : axes.join('+')};` }
    return key
  }

  all(): Sketch & { readonly tempted: ReadonlySet<string> } {
    const { graph, mesh } = this.given
    for (;;) {
      const before = this.context.reduced.size
      const values = new Map<Node, Value>()
      const inputs = graph.inputs.map((n): Value => {
        const { role } = n.attrs
        const sharding = this.context.target(shapeOf(n), role)
        const node = this.context.make('input', [], { ...n.attrs, type: { shape: localShape(shapeOf(n), sharding, mesh), dtype: dtypeOf(n) } }, n.site)
        return { shape: shapeOf(n), node, sharding, origin: n, ...(role === 'compute' ? {} : { resting: role }) }
      })
      graph.inputs.forEach((n, i) => { const v = inputs[i]; if (v !== undefined) values.set(n, v) })
      const outputs = this.walk(graph.outputs, values).map(p => home(this.context, reduced(this.context, p.value)))
      if (this.context.reduced.size > before) continue
      const first = graph.outputs[0]
      if (first !== undefined) this.more(graph.outputs, first, outputs.map(v => v.node))
      return { bodies: this.bodies, inputs, tempted: this.context.tempted }
    }
  }

  /** Adds what a body does beside the rules of its nodes: what a loop asks of its results. */
  private more(body: readonly Node[], by: Node, results: readonly LocalNode[]): void {
    const done = this.bodies.get(body) ?? []
    this.bodies.set(body, done)
    const depths = new Map<LocalNode, number>()
    for (const n of reachable(results)) {
      const depth = Math.max(this.depths.get(n) ?? 0, ...n.inputs.map(i => depths.get(i) ?? 0)) + (collectiveKind(n) === undefined ? 0 : 1)
      depths.set(n, depth)
      if (isWork(n)) done.push({ node: n, by, depth })
    }
  }

  private walk(roots: readonly Node[], given: ReadonlyMap<Node, Value>): readonly Placed[] {
    const { owner, context: c } = this
    const placed = new Map<Node, readonly Placed[]>()
    const done: Done[] = []
    this.bodies.set(roots, done)
    const note = (by: Node, { work, results, ways }: Entry, depths: readonly number[]): readonly Placed[] => {
      for (const w of work) done.push({ node: w.node, by, depth: reach(w.ways, depths, collectiveKind(w.node) === undefined ? 0 : 1) })
      return results.map((value, i) => this.at(value, reach(ways[i] ?? [], depths, 0)))
    }
    const settled = (p: Placed, n: Node): Placed => {
      const own = p.value.origin === n ? p.value : owner.stand(p.value, n)
      if (!c.reduced.has(n) || own.partial === undefined) return { value: own, depth: p.depth }
      return note(n, owner.settled(own, c), [p.depth])[0] ?? p
    }
    for (const [n, v] of given) placed.set(n, [settled(this.at(owner.stand(v, n), 0), n)])
    const first = (n: Node): Placed => {
      const found = placed.get(n)?.[0]
      if (found === undefined) throw new Error(`op ${n.op} was not placed`)
      return found
    }
    const { nodes, dims } = owner.order(roots)
    for (const [i, n] of nodes.entries()) {
      if (placed.has(n)) continue
      if (n.op === 'project') {
        const p = placed.get(operand(n, 0))?.[n.attrs.index]
        if (p !== undefined) placed.set(n, [settled(p, n)])
        continue
      }
      const operands = n.inputs.map(first)
      const values = operands.map(p => p.value)
      const apply = (): readonly Value[] => {
        const results = visit<Attrs, readonly Value[], [readonly Value[], Context], typeof n.op>(partitioners, n, values, c)
        return n.op !== 'relayout' && values.some(v => v.strayed) ? results.map(v => wherever(c, v)) : results
      }
      if (hasBodies(n)) {
        placed.set(n, this.loop(n, operands, apply(), roots).map(p => settled(p, n)))
        continue
      }
      let key = this.rulesKey('compute', dims[i] ?? [])
      if (n.op === 'relayout' && typeof n.attrs.to === 'string') key += this.rulesKey(n.attrs.to, dims[i] ?? [])
      for (const v of values) key += `,${v.id}`
      if (this.restKey !== '' && values.some(v => v.resting !== undefined)) key += this.restKey
      placed.set(n, note(n, owner.entry(n, key, values, c, apply), operands.map(p => p.depth)).map(p => settled(p, n)))
    }
    return roots.map(first)
  }

  private at(value: Stand, depth: number): Placed {
    this.depths.set(value.node, Math.max(this.depths.get(value.node) ?? 0, depth))
    return { value, depth }
  }

  /** Results of an op with bodies: what these do is noted by themselves, but for what the loop asks of its operands and of their results. */
  private loop(n: Node, operands: readonly Placed[], results: readonly Value[], around: readonly Node[]): readonly Placed[] {
    const [made] = results.flatMap(v => v.node.inputs)
    if (made === undefined) throw new Error('a loop has results')
    const locals = bodiesOf<LocalAttrs>(made)
    this.more(around, n, made.inputs)
    bodiesOf<Attrs>(n).forEach((body, i) => { const local = locals[i]; if (local !== undefined) this.more(body.outputs, n, local.outputs) })
    const depth = Math.max(0, ...operands.map(p => p.depth)) + 1
    return results.map((v, index) => this.at(this.owner.standOfLoop(v, n, index), depth))
  }
}
