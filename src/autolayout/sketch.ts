/**
 * What a layout makes of a program, without the program: every op's partition rule is applied to stand-ins that know how a value lies and nothing of what it was computed from, so what a rule
 * gives depends on a few dims only, and is looked up when they lie so again. What a layout costs is then a sum over small tables, one of each op.
 */
import type { Dim } from '../core/dim.ts'
import { leavingTo, shardingOf, localShape, type Layout, type Layouts, type Sharding } from '../core/layout.ts'
import type { Mesh } from '../core/mesh.ts'
import { rulesOf } from '../core/named-layouts.ts'
import { bodiesOf, dtypeOf, interner, operand, reachable, shapeOf, visit, type Node } from '../graph/node.ts'
import type { Attrs, Graph } from '../graph/ops.ts'
import { reduced, type Context, type Value } from '../partition/context.ts'
import { localInfer, type LocalAttrs, type LocalNode } from '../partition/local.ts'
import { home, wherever } from '../partition/meet.ts'
import { landed } from '../partition/operands.ts'
import { partitioners } from '../partition/ops/table.ts'
import { fragmentOf, type Fragment, type Needs, type Use, type Work } from './fragment.ts'
import { nowhere, type Looped, type Point } from './points.ts'
import { Asked, Recorded, type Answers } from './recorded.ts'
import { Stands, type Stand } from './stands.ts'

/** What a rule gives for operands that lie in one way: stand-ins for its results, and the nodes that these stand for. */
interface Entry extends Fragment { readonly results: readonly Stand[]; readonly made: readonly LocalNode[]; readonly reduces: readonly Node[]; readonly tempts: readonly string[]; /** Uses that were asked for, and whether they meet what rests where it rests. */ readonly answers: Answers<string>; /** See `imageOf` in reuse.ts. */ readonly images: Map<string, readonly (LocalNode | undefined)[]> }

/** A product, a convolution or a collective of a body. */
export interface Done extends Pick<Work, 'node' | 'uses' | 'readers'> {
  /** The global node whose rule it comes from. */
  readonly by: Node
  readonly point: Point
  /** Results of the fragment that it lies in. */
  readonly results: readonly LocalNode[]
  /** See `Work`. */
  readonly inputs?: readonly Point[] | undefined
}
/** A rule that was applied: what was given, what it made, and what stands for that. */
export interface Step extends Pick<Entry, 'made' | 'images'> { readonly given: readonly LocalNode[]; readonly stands: readonly LocalNode[] }
/** How a stand-in is used by a fragment with these results. */
export interface Used { readonly use: Use; readonly results: readonly LocalNode[]; readonly points: readonly Point[] }
/** What a run of one body does. */
export interface BodyWork {
  readonly roots: readonly Node[]
  readonly done: Done[]
  readonly loops: Looped[]
  readonly steps: Step[]
  /** How stand-ins are used, other than in what is `done`. */
  readonly uses: Map<LocalNode, Used[]>
  /** Its results, as devices have them. */
  results: readonly LocalNode[]
  outputs: readonly Point[]
}
export interface Sketch { readonly bodies: ReadonlyMap<readonly Node[], BodyWork>; readonly inputs: readonly Value[]; /** Uses of what rests that would be less where it rests: see `partition`. */ readonly tempted: ReadonlySet<string> }

export interface SketchOptions { readonly graph: Graph; readonly mesh: Mesh; /** Dims that got their sizes from ops; see `checkGraph`. */ readonly derived: (d: Dim) => boolean }

type Recording = Context & { readonly reduced: Recorded<Node>; readonly tempted: Recorded<string>; readonly atRest: Asked<string> }
interface Order { readonly nodes: readonly Node[]; /** Of each node, one list for all that have the same. */ readonly dims: readonly (readonly string[])[]; /** Of all, those in bodies too; and the layouts that are named there. */ readonly all: readonly string[]; readonly names: readonly string[]; /** All nodes, those in bodies too. */ readonly inside: ReadonlySet<Node> }
/** A walk over a body, as it is known for what it was given. */
interface Walked extends Found { readonly results: readonly Placed[]; readonly own: BodyWork; readonly inner: readonly BodyWork[] }
/** What the rule of a loop or a choice gave, with its bodies as they are once its results are known. */
interface Ruled extends Found { readonly results: readonly Value[]; readonly local: LocalNode | undefined; readonly bodies: readonly BodyWork[] }
/** What was found on the way, which whoever looks it up has found as well. */
interface Found { readonly reduces: readonly Node[]; readonly tempts: readonly string[]; readonly answers: Answers<string>; readonly points: readonly (readonly [LocalNode, Point])[] }

/** Sketches of one program on one mesh: what one layout has found the next one looks up. */
export class Sketcher {
  readonly make: Context['make'] = interner<LocalAttrs>(localInfer, () => undefined, new Map())
  readonly stands: Stands = new Stands(this.make)
  private readonly entries = new Map<Node, Map<string, Entry[]>>()
  private readonly settling = new Map<Stand, Map<string, Entry>>()
  private readonly orders = new Map<readonly Node[], Order>()
  /** Rules that were applied, and results that were looked up. */
  applied = 0
  known = 0
  readonly given: SketchOptions
  constructor(given: SketchOptions) { this.given = given }

  /** The sketch of layouts that are legal. `atRest`: see `partition`. */
  sketch(layouts: Layouts, atRest: ReadonlySet<string> = new Set()): Sketch { return new Walk(this, layouts, atRest).all() }

  /** Drops the ways through bodies, which other layouts hardly take again and which would fill the memory; what rules gave stays. */
  forget(): void {
    this.walked.clear()
    this.ruled.clear()
  }

  order(roots: readonly Node[]): Order {
    const known = this.orders.get(roots)
    if (known !== undefined) return known
    const nodes = reachable(roots)
    const lists = new Map<string, readonly string[]>()
    const dims = nodes.map(n => {
      const own = [...new Set([...n.inputs, n].flatMap(x => x.results.flatMap(r => r.shape.map(d => d.name))))].sort()
      const list = lists.get(own.join()) ?? own
      lists.set(own.join(), list)
      return list
    })
    const inner = nodes.flatMap(n => bodiesOf<Attrs>(n).map(body => this.order(body.outputs)))
    const found = {
      nodes, dims, all: [...new Set([...dims.flat(), ...inner.flatMap(o => o.all)])].sort(),
      names: [...new Set(['compute', ...nodes.flatMap(n => (n.op === 'relayout' && typeof n.attrs.to === 'string' ? [n.attrs.to] : [])), ...inner.flatMap(o => o.names)])].sort(),
      inside: new Set([...nodes, ...inner.flatMap(o => [...o.inside])]),
    }
    this.orders.set(roots, found)
    return found
  }

  /** A walk that was given the same. */
  readonly walked: Map<readonly Node[], Map<string, Walked[]>> = new Map()
  /** And a loop or a choice that was. */
  readonly ruled: Map<Node, Map<string, Ruled[]>> = new Map()
  private readonly insides = new Map<Node, Pick<Order, 'all' | 'names' | 'inside'>>()

  /** Of a node with bodies, what the rules of its own dims and of theirs are looked up by. */
  insideOf(n: Node): Pick<Order, 'all' | 'names' | 'inside'> {
    const known = this.insides.get(n)
    if (known !== undefined) return known
    const inner = bodiesOf<Attrs>(n).map(body => this.order(body.outputs))
    const own = [n, ...n.inputs].flatMap(x => x.results.flatMap(r => r.shape.map(d => d.name)))
    const found = { all: [...new Set([...own, ...inner.flatMap(o => o.all)])].sort(), names: [...new Set(['compute', ...inner.flatMap(o => o.names)])].sort(), inside: new Set(inner.flatMap(o => [...o.inside])) }
    this.insides.set(n, found)
    return found
  }

  /** What the rule of a node gives, looked up by how the operands lie and the rules of their dims. */
  entry(n: Node, key: string, operands: readonly Stand[], c: Recording, apply: () => readonly Value[]): Entry {
    const table = this.entries.get(n) ?? new Map<string, Entry[]>()
    this.entries.set(n, table)
    const list = table.get(key) ?? []
    table.set(key, list)
    let known = list.find(e => c.atRest.gives(e.answers))
    if (known === undefined) list.push(known = this.apply(operands, c, apply, n, ''))
    return this.again(known, c)
  }
  /** And of the value itself, where some user needs it reduced: one off the rules goes to where these want it. `rules`: those of its dims. */
  settled(v: Stand, rules: string, c: Recording): Entry {
    const table = this.settling.get(v) ?? new Map<string, Entry>()
    this.settling.set(v, table)
    const known = table.get(rules) ?? this.apply([v], c, () => [landed(c, v)], v.origin, 'reduced')
    table.set(rules, known)
    return this.again(known, c)
  }
  private again(known: Entry, c: Recording): Entry {
    this.known++
    for (const r of known.reduces) c.reduced.add(r)
    for (const t of known.tempts) c.tempted.add(t)
    c.atRest.asks(known.answers)
    return known
  }
  private apply(operands: readonly Stand[], c: Recording, rule: () => readonly Value[], origin: Node, part: string): Entry {
    this.applied++
    const { result: { result: { result: results, added: tempts }, added: reduces }, answers } = c.atRest.during(() => c.reduced.during(() => c.tempted.during(rule)))
    const made = results.map(v => v.node)
    return { ...fragmentOf(made, operands.map(o => o.node)), made, images: new Map(), results: results.map((v, i) => this.stands.of(v, origin, `${part}${i}`)), reduces, tempts, answers }
  }
}

interface Placed { readonly value: Stand; readonly point: Point }
function follows({ operands, work }: Needs, given: readonly Point[], done: readonly Point[]): readonly Point[] {
  if (operands.length === 0 && work.length === 0) return nothing
  const found: Point[] = []
  for (const k of operands) { const p = given[k]; if (p !== undefined) found.push(p) }
  for (const k of work) { const p = done[k]; if (p !== undefined) found.push(p) }
  return found
}
const nothing: readonly never[] = []

/** One layout's way through a program. */
class Walk {
  private readonly context: Recording
  private readonly bodies = new Map<readonly Node[], BodyWork>()
  private points = new Map<LocalNode, Point>()
  private readonly rules = new Map<string, Layout>()
  private readonly keys = new Map<string, Map<readonly string[], string>>()
  private readonly owner: Sketcher
  private readonly layouts: Layouts

  constructor(owner: Sketcher, layouts: Layouts, atRest: ReadonlySet<string>) {
    const { mesh, derived } = owner.given
    this.owner = owner
    this.layouts = layouts
    const target = (shape: readonly Dim[], layout: string | Layout = 'compute', first?: string): Sharding => {
      const rules = typeof layout === 'string' ? this.rulesOf(layout) : layout
      return shardingOf(first === undefined ? rules : leavingTo(first, rules), mesh, shape, 'relayout', undefined, derived)
    }
    this.context = { mesh, make: owner.make, reduced: new Recorded(), tempted: new Recorded(), atRest: new Asked(atRest), overlaps: false, target, partitionNodes: (roots, values) => this.walk(roots, values).map(p => p.value) }
  }

  private rulesOf(name: string): Layout {
    const known = this.rules.get(name) ?? rulesOf(this.layouts, name)
    this.rules.set(name, known)
    return known
  }
  private rulesKey(name: string, dims: readonly string[]): string {
    const found = this.keys.get(name) ?? new Map<readonly string[], string>()
    this.keys.set(name, found)
    const known = found.get(dims)
    if (known !== undefined) return known
    const rules = this.rulesOf(name)
    let key = ''
    for (const d of dims) {
      const axes = Object.hasOwn(rules, d) ? rules[d] : undefined
      key += axes === undefined ? ';' : `${typeof axes === 'string' ? axes : axes.join('+')};`
    }
    found.set(dims, key)
    return key
  }

  all(): Sketch {
    const { graph, mesh } = this.owner.given
    const { context: c } = this
    const inputs = graph.inputs.map((n): Value => {
      const { role } = n.attrs
      const sharding = c.target(shapeOf(n), role)
      const node = c.make('input', [], { ...n.attrs, type: { shape: localShape(shapeOf(n), sharding, mesh), dtype: dtypeOf(n) } }, n.site)
      return { shape: shapeOf(n), node, sharding, origin: n, ...(role === 'compute' ? {} : { resting: role }) }
    })
    for (;;) {
      const before = c.reduced.size
      this.points = new Map()
      const outputs = this.walk(graph.outputs, new Map(graph.inputs.flatMap((n, i) => inputs.slice(i, i + 1).map(v => [n, v])))).map(p => home(c, reduced(c, p.value)))
      if (c.reduced.size > before) continue
      const [first] = graph.outputs
      const body = this.bodies.get(graph.outputs)
      if (first !== undefined && body !== undefined) {
        body.results = outputs.map(v => v.node)
        body.outputs = this.more(body, first, body.results)
      }
      return { bodies: this.bodies, inputs, tempted: c.tempted }
    }
  }

  /** Adds what a body does beside the rules of its nodes: what a loop asks of its operands and of its results. What these follow from. */
  private more(body: BodyWork, by: Node, results: readonly LocalNode[]): readonly Point[] {
    const leaves = reachable(results, n => !this.points.has(n)).filter(n => n.inputs.length === 0 || this.points.has(n))
    const { work, needs, uses } = fragmentOf(results, leaves)
    return this.noted(body, by, { work, needs, uses }, leaves.map(l => this.points.get(l) ?? nowhere), leaves, results)
  }
  private noted(body: BodyWork, by: Node, { work, needs, uses }: Fragment, given: readonly Point[], operands: readonly LocalNode[], results: readonly LocalNode[]): readonly Point[] {
    const done: Point[] = []
    for (const w of work) {
      const inputs = w.inputs?.map((n): Point => ({ needs: follows(n, given, done), axes: n.axes }))
      const point: Point = { needs: follows(w.needs, given, done), work: w.node, axes: w.needs.axes }
      done.push(point)
      body.done.push({ node: w.node, by, uses: w.uses, results, point, readers: w.readers, inputs })
    }
    const points = needs.map((n): Point => ({ needs: follows(n, given, done), axes: n.axes }))
    for (const [k, x] of operands.entries()) for (const use of uses[k] ?? nothing) addUse(body, x, { use, results, points })
    return points
  }

  /** The way through a body, or what is known of it from a time when it was given the same under the same rules. */
  private walk(roots: readonly Node[], given: ReadonlyMap<Node, Value>): readonly Placed[] {
    const { owner, context: c } = this
    const { all, names, inside } = owner.order(roots)
    const table = owner.walked.get(roots) ?? new Map<string, Walked[]>()
    owner.walked.set(roots, table)
    const stands = [...given].map(([n, v]) => [n, owner.stands.of(v, n, '')] as const)
    // What is reduced elsewhere changes nothing in a body that has none of it, and what meets what rests nothing in one that did not ask for it.
    const key = `${stands.map(([, v]) => v.id).join()} ${this.keyOf(names, all, inside)}`
    const list = table.get(key) ?? []
    table.set(key, list)
    const known = list.find(w => c.atRest.gives(w.answers))
    if (known !== undefined) {
      this.finds(known)
      for (const body of known.inner) this.bodies.set(body.roots, body)
      this.bodies.set(roots, copyOf(known.own))
      return known.results
    }
    const { result: results, found } = this.finding(() => this.way(roots, stands))
    const own = this.bodies.get(roots)
    if (own !== undefined) list.push({ ...found, results, own: copyOf(own), inner: this.within(own) })
    return results
  }

  /** The rules of dims inside, and what of it is reduced. */
  private keyOf(names: readonly string[], all: readonly string[], inside: ReadonlySet<Node>): string {
    let key = ''
    for (const name of names) key += `${this.rulesKey(name, all)} `
    const ids: number[] = []
    for (const n of this.context.reduced) if (inside.has(n)) ids.push(n.id)
    return key + ids.sort((a, b) => a - b).join()
  }
  private finding<R>(run: () => R): { readonly result: R; readonly found: Found } {
    const { context: c } = this
    const before = new Set(c.reduced)
    const outer = this.points
    this.points = new Map()
    const { result: { result, added: tempts }, answers } = c.atRest.during(() => c.tempted.during(run))
    const found = { tempts, answers, reduces: [...c.reduced].filter(n => !before.has(n)), points: [...this.points] }
    for (const [n, point] of this.points) outer.set(n, point)
    this.points = outer
    return { result, found }
  }
  private finds({ answers, reduces, tempts, points }: Found): void {
    const { context: c } = this
    c.atRest.asks(answers)
    for (const n of reduces) c.reduced.add(n)
    for (const t of tempts) c.tempted.add(t)
    for (const [n, point] of points) this.points.set(n, point)
  }
  private within(body: BodyWork): BodyWork[] {
    return body.loops.flatMap(l => bodiesOf<Attrs>(l.node).flatMap(b => { const inner = this.bodies.get(b.outputs); return inner === undefined ? [] : [inner, ...this.within(inner)] }))
  }

  private way(roots: readonly Node[], given: readonly (readonly [Node, Stand])[]): readonly Placed[] {
    const { owner, context: c } = this
    const placed = new Map<Node, readonly Placed[]>()
    const body: BodyWork = { roots, done: [], loops: [], steps: [], uses: new Map(), results: [], outputs: [] }
    this.bodies.set(roots, body)
    const note = (by: Node, entry: Entry, operands: readonly Placed[]): readonly Placed[] => {
      const [given, stands] = [operands.map(p => p.value.node), entry.results.map(r => r.node)]
      const points = this.noted(body, by, entry, operands.map(p => p.point), given, stands)
      body.steps.push({ given, made: entry.made, images: entry.images, stands })
      return entry.results.map((value, i) => this.at({ value, point: points[i] ?? nowhere }))
    }
    const settled = (p: Placed, n: Node): Placed => {
      const own = p.value.origin === n ? p : { ...p, value: owner.stands.of(p.value, n, '') }
      return !c.reduced.has(n) || own.value.partial === undefined ? own : note(n, owner.settled(own.value, own.value.strayed === undefined ? '' : this.rulesKey('compute', own.value.shape.map(d => d.name)), c), [own])[0] ?? own
    }
    for (const [index, [n, value]] of given.entries()) placed.set(n, [settled(this.at({ value, point: { needs: [], given: index } }), n)])
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
      const rule = (): readonly Value[] => {
        const results = visit<Attrs, readonly Value[], [readonly Value[], Context], typeof n.op>(partitioners, n, values, c)
        return n.op !== 'relayout' && values.some(v => v.strayed) ? results.map(v => wherever(c, v)) : results
      }
      if (bodiesOf(n).length > 0) {
        placed.set(n, this.loop(n, operands, rule, body).map(p => settled(p, n)))
        continue
      }
      let key = this.rulesKey('compute', dims[i] ?? [])
      if (n.op === 'relayout' && typeof n.attrs.to === 'string') key += this.rulesKey(n.attrs.to, dims[i] ?? [])
      for (const v of values) key += `,${v.id}`
      placed.set(n, note(n, owner.entry(n, key, values, c, rule), operands).map(p => settled(p, n)))
    }
    return roots.map(first)
  }

  private at(p: Placed): Placed {
    const { node } = p.value
    const known = this.points.get(node)
    if (known !== p.point) this.points.set(node, known === undefined ? p.point : { needs: [known, p.point] })
    return p
  }

  /** What the rule of an op with bodies gives, or what is known of it from a time when its operands lay the same. */
  private ruled(n: Node, given: readonly Placed[], rule: () => readonly Value[]): Ruled {
    const { owner, context: c } = this
    const table = owner.ruled.get(n) ?? new Map<string, Ruled[]>()
    owner.ruled.set(n, table)
    const { all, names, inside } = owner.insideOf(n)
    const key = `${given.map(p => p.value.id).join()} ${this.keyOf(names, all, inside)}`
    const list = table.get(key) ?? []
    table.set(key, list)
    const known = list.find(r => c.atRest.gives(r.answers))
    if (known !== undefined) {
      this.finds(known)
      for (const body of known.bodies) this.bodies.set(body.roots, body)
      return known
    }
    const { result: results, found } = this.finding(rule)
    const local = results.flatMap(v => (v.node.op === 'project' ? v.node.inputs : [])).find(x => x.op === n.op)
    const locals = local === undefined ? [] : bodiesOf<LocalAttrs>(local)
    const bodies = bodiesOf<Attrs>(n).flatMap((body, i) => {
      const inner = this.bodies.get(body.outputs)
      const its = locals[i]?.outputs
      if (inner === undefined) return []
      if (its !== undefined) {
        inner.results = its
        inner.outputs = this.more(inner, n, its)
      }
      return [inner, ...this.within(inner)]
    })
    const made = { ...found, results, local, bodies }
    list.push(made)
    return made
  }

  /** Results of an op with bodies: what these do is noted by themselves, but for what the loop asks of its operands and of their results. */
  private loop(n: Node, given: readonly Placed[], rule: () => readonly Value[], around: BodyWork): readonly Placed[] {
    const { results: partitioned, local } = this.ruled(n, given, rule)
    if (local === undefined) return this.fallen(n, given, partitioned, around)
    const operands = this.more(around, n, local.inputs)
    const stands = partitioned.map((v, index) => this.owner.stands.of(v, n, `${index}`))
    const looped: Looped = { node: n, local, operands, results: stands.map(v => v.node) }
    around.loops.push(looped)
    const placed = stands.map((value, result) => this.at({ value, point: { needs: [], loop: looped, result } }))
    this.given(around, local.inputs, placed)
    return placed
  }

  /** What a loop is given it uses whole. */
  private given(around: BodyWork, operands: readonly LocalNode[], placed: readonly Placed[]): void {
    for (const x of operands) addUse(around, x, { use: 'other', results: [], points: placed.map(p => p.point) })
  }

  /** Results of a choice that falls away, as all devices take its first branch (see `atWork` in graph/ops.ts): that branch is a part of the body around it (see `unfolded` in unfold.ts). */
  private fallen(n: Node, given: readonly Placed[], partitioned: readonly Value[], around: BodyWork): readonly Placed[] {
    const [first] = partitioned
    const inner = bodiesOf<Attrs>(n).slice(0, 1).map(b => this.bodies.get(b.outputs))[0]
    if (first === undefined || inner === undefined) throw new Error('a choice has results')
    inner.results = partitioned.map(v => v.node)
    inner.outputs = inner.results.map(r => this.points.get(r) ?? nowhere)
    const looped: Looped = { node: n, local: first.node, operands: given.map(p => p.point), results: inner.results, fallen: true }
    around.loops.push(looped)
    const placed = partitioned.map((v, result): Placed => ({ value: this.owner.stands.of(v, n, `${result}`), point: { needs: [], loop: looped, result } }))
    for (const p of placed) this.points.set(p.value.node, p.point)
    // What it was given has the same nodes in it as around it.
    for (const p of given) this.points.set(p.value.node, p.point)
    return placed
  }
}

const copyOf = (b: BodyWork): BodyWork => ({ ...b, done: [...b.done], loops: [...b.loops], steps: [...b.steps], uses: new Map([...b.uses].map(([n, list]) => [n, [...list]])) })

function addUse(body: BodyWork, x: LocalNode, used: Used): void {
  const list = body.uses.get(x)
  if (list === undefined) body.uses.set(x, [used])
  else list.push(used)
}
