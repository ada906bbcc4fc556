/**
 * What a layout makes of a program, without the program: every op's partition rule is applied to stand-ins that know how a value lies and nothing of what it was computed from, so what a rule
 * gives depends on a few dims only, and is looked up when they lie so again. What a layout costs is then a sum over small tables, one of each op.
 */
import type { Dim } from '../core/dim.ts'
import { shardingOf, localShape, type Layout, type Layouts, type Sharding } from '../core/layout.ts'
import type { Mesh } from '../core/mesh.ts'
import { rulesOf } from '../core/named-layouts.ts'
import { bodiesOf, dtypeOf, heldWeakly, interner, operand, reachable, shapeOf, visit, type Node } from '../graph/node.ts'
import type { Attrs, Graph } from '../graph/ops.ts'
import { collectiveKind } from '../partition/collectives.ts'
import { reduced, type Context, type Value } from '../partition/context.ts'
import { localInfer, type LocalAttrs, type LocalNode } from '../partition/local.ts'
import { home, wherever } from '../partition/meet.ts'
import { landed } from '../partition/operands.ts'
import { partitioners } from '../partition/ops/table.ts'
import { fragmentOf, type Fragment, type Use, type Work } from './fragment.ts'
import { Recorded } from './recorded.ts'
import { Stands, type Stand } from './stands.ts'

/** What a rule gives for operands that lie in one way. */
interface Entry extends Fragment { readonly results: readonly Stand[]; readonly reduces: readonly Node[]; readonly tempts: readonly string[] }

/** A product, a convolution or a collective of a body. */
export interface Done extends Pick<Work, 'node' | 'uses'> {
  /** The global node whose rule it comes from. */
  readonly by: Node
  /** Collectives and loops that it waits for, itself among them. */
  readonly depth: number
  /** Results of the fragment that it lies in. */
  readonly results: readonly LocalNode[]
  /** Which captures of the loop it follows from, if from nothing else: then it gives the same in every turn. */
  readonly from: readonly number[] | undefined
  /** Whether computation waits for it: see cost/waiting.ts. */
  readonly waited: boolean
  /** The operands of `by` that it moves; undefined where it moves what `by` gives. */
  readonly moves: readonly number[] | undefined
}
/** A loop or a choice where it stands. */
export interface Looped { readonly node: Node; readonly local: LocalNode; readonly results: readonly LocalNode[]; /** Of its operands. */ readonly given: readonly Pick<Done, 'depth' | 'from'>[] }
/** What a run of one body does. */
export interface BodyWork {
  readonly roots: readonly Node[]
  readonly done: Done[]
  readonly loops: Looped[]
  /** How stand-ins are used, other than in what is `done`. */
  readonly uses: Map<LocalNode, { readonly use: Use; readonly results: readonly LocalNode[] }[]>
  /** Its results, as devices have them. */
  results: readonly LocalNode[]
}
export interface Sketch { readonly bodies: ReadonlyMap<readonly Node[], BodyWork>; readonly inputs: readonly Value[]; /** Uses of what rests that would be less where it rests: see `partition`. */ readonly tempted: ReadonlySet<string> }

export interface SketchOptions { readonly graph: Graph; readonly mesh: Mesh; /** Dims that got their sizes from ops; see `checkGraph`. */ readonly derived: (d: Dim) => boolean }

type Recording = Context & { readonly reduced: Recorded<Node>; readonly tempted: Recorded<string> }
interface Order { readonly nodes: readonly Node[]; /** Of each node, one list for all that have the same. */ readonly dims: readonly (readonly string[])[]; /** Of all, those in bodies too; and the layouts that are named there. */ readonly all: readonly string[]; readonly names: readonly string[] }
interface Waiting { /** What follows from a product, a loop, or what earlier turns have computed. */ readonly after: ReadonlySet<Node>; /** What one of these needs, or a later turn. */ readonly needed: ReadonlySet<Node> }

/** A walk over a body, as it is known for what it was given. */
interface Walked { readonly results: readonly Placed[]; readonly own: BodyWork; readonly inner: readonly BodyWork[]; readonly reduces: readonly Node[]; readonly tempts: readonly string[]; readonly depths: readonly (readonly [LocalNode, number])[] }

/** Sketches of one program on one mesh: what one layout has found the next one looks up. */
export class Sketcher {
  readonly make: Context['make'] = interner<LocalAttrs>(localInfer, () => undefined, heldWeakly())
  readonly stands: Stands = new Stands(this.make)
  private readonly entries = new Map<Node, Map<string, Entry>>()
  private readonly settling = new Map<Stand, Entry>()
  /** Of the bodies of scans, inputs that are the same in every turn, by their number. */
  readonly captures: Map<readonly Node[], ReadonlyMap<Node, number>> = new Map()
  private readonly orders = new Map<readonly Node[], Order>()
  /** What is interned stays what it is as long as somebody has it. */
  private readonly kept: LocalNode[] = []
  /** Rules that were applied, and results that were looked up. */
  applied = 0
  known = 0
  readonly given: SketchOptions
  constructor(given: SketchOptions) { this.given = given }

  /** The sketch of layouts that are legal. `atRest`: see `partition`. */
  sketch(layouts: Layouts, atRest: ReadonlySet<string> = new Set()): Sketch { return new Walk(this, layouts, atRest).all() }

  /** Drops the ways through bodies, which other layouts hardly take again and which would fill the memory; what rules gave stays. */
  forget(): void { this.walked.clear() }

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
    }
    this.orders.set(roots, found)
    return found
  }

  /** Carries of a body are its first inputs and results. */
  waiting(roots: readonly Node[]): Waiting {
    const known = this.waits.get(roots)
    if (known !== undefined) return known
    const carried = this.carried.get(roots)
    const { nodes } = this.order(roots)
    const computes = (n: Node): boolean => n.op === 'dot' || n.op === 'conv' || bodiesOf(n).length > 0
    const after = new Set<Node>(carried ?? [])
    for (const n of nodes) if (computes(n) || n.inputs.some(i => after.has(i))) after.add(n)
    const needed = new Set<Node>(roots.slice(0, carried?.length ?? 0))
    for (const n of [...nodes].reverse()) if (computes(n) || needed.has(n)) for (const i of n.inputs) needed.add(i)
    const found = { after, needed }
    this.waits.set(roots, found)
    return found
  }
  /** Of the bodies of loops, inputs that come from the turn before. */
  readonly carried: Map<readonly Node[], readonly Node[]> = new Map()
  private readonly waits = new Map<readonly Node[], Waiting>()

  /** A walk that was given the same. */
  readonly walked: Map<readonly Node[], Map<string, Walked>> = new Map()

  /** What the rule of a node gives, looked up by how the operands lie and the rules of their dims. */
  entry(n: Node, key: string, operands: readonly Stand[], c: Recording, apply: () => readonly Value[]): Entry {
    const table = this.entries.get(n) ?? new Map<string, Entry>()
    this.entries.set(n, table)
    const known = table.get(key) ?? this.apply(operands, c, apply, n, '')
    table.set(key, known)
    return this.again(known, c)
  }
  /** And of the value itself, where some user needs it reduced. */
  settled(v: Stand, c: Recording): Entry {
    const known = this.settling.get(v) ?? this.apply([v], c, () => [landed(c, v)], v.origin, 'reduced')
    this.settling.set(v, known)
    return this.again(known, c)
  }
  private again(known: Entry, c: Recording): Entry {
    this.known++
    for (const r of known.reduces) c.reduced.add(r)
    for (const t of known.tempts) c.tempted.add(t)
    return known
  }
  private apply(operands: readonly Stand[], c: Recording, rule: () => readonly Value[], origin: Node, part: string): Entry {
    this.applied++
    const { result: { result: results, added: tempts }, added: reduces } = c.reduced.during(() => c.tempted.during(rule))
    for (const v of results) this.kept.push(v.node)
    return { ...fragmentOf(results.map(v => v.node), operands.map(o => o.node)), results: results.map((v, i) => this.stands.of(v, origin, `${part}${i}`)), reduces, tempts }
  }
}

interface Placed { readonly value: Stand; readonly depth: number; readonly from: readonly number[] | undefined }
const joint = (all: readonly Placed[]): readonly number[] | undefined => (all.some(p => p.from === undefined) ? undefined : [...new Set(all.flatMap(p => p.from ?? []))])

/** One layout's way through a program. */
class Walk {
  private readonly context: Recording
  private readonly bodies = new Map<readonly Node[], BodyWork>()
  private depths = new Map<LocalNode, number>()
  private readonly rules = new Map<string, Layout>()
  private readonly keys = new Map<string, Map<readonly string[], string>>()
  private readonly restKey: string
  private readonly owner: Sketcher
  private readonly layouts: Layouts

  constructor(owner: Sketcher, layouts: Layouts, atRest: ReadonlySet<string>) {
    const { mesh, derived } = owner.given
    this.owner = owner
    this.layouts = layouts
    const target = (shape: readonly Dim[], layout: string | Layout = 'compute'): Sharding =>
      shardingOf(typeof layout === 'string' ? this.rulesOf(layout) : layout, mesh, shape, 'relayout', undefined, derived)
    this.context = { mesh, make: owner.make, reduced: new Recorded(), tempted: new Recorded(), atRest, overlaps: false, target, partitionNodes: (roots, values) => this.walk(roots, values).map(p => p.value) }
    this.restKey = [...atRest].sort().join()
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
      const outputs = this.walk(graph.outputs, new Map(graph.inputs.flatMap((n, i) => inputs.slice(i, i + 1).map(v => [n, v])))).map(p => home(c, reduced(c, p.value)))
      if (c.reduced.size > before) continue
      const [first] = graph.outputs
      if (first !== undefined) this.more(graph.outputs, first, outputs.map(v => v.node), false)
      const body = this.bodies.get(graph.outputs)
      if (body !== undefined) body.results = outputs.map(v => v.node)
      return { bodies: this.bodies, inputs, tempted: c.tempted }
    }
  }

  /** Adds what a body does beside the rules of its nodes: what a loop asks of its operands and of its results. */
  private more(roots: readonly Node[], by: Node, results: readonly LocalNode[], waited: boolean): void {
    const body = this.bodies.get(roots)
    if (body === undefined) return
    const depths = new Map<LocalNode, number>()
    const order = reachable(results)
    for (const n of order) depths.set(n, Math.max(this.depths.get(n) ?? 0, ...n.inputs.map(i => depths.get(i) ?? 0)) + (collectiveKind(n) === undefined ? 0 : 1))
    const leaves = order.filter(n => n.inputs.length === 0)
    const { work, uses } = fragmentOf(results, leaves)
    for (const { node, uses: own } of work) body.done.push({ node, by, depth: depths.get(node) ?? 1, uses: own, results, from: undefined, waited, moves: [] })
    leaves.forEach((leaf, i) => { for (const use of uses[i] ?? []) if (use === 'other' || !('result' in use)) addUse(body, leaf, use, results) })
  }

  /** The way through a body, or what is known of it from a time when it was given the same under the same rules. */
  private walk(roots: readonly Node[], given: ReadonlyMap<Node, Value>): readonly Placed[] {
    const { owner, context: c } = this
    const { all, names } = owner.order(roots)
    const table = owner.walked.get(roots) ?? new Map<string, Walked>()
    owner.walked.set(roots, table)
    const entering = [...given].map(([n, v]) => owner.stands.of(v, n, '').id).join()
    const key = `${entering} ${names.map(name => this.rulesKey(name, all)).join(' ')} ${this.restKey} ${[...c.reduced].map(n => n.id).sort((a, b) => a - b).join()}`
    const known = table.get(key)
    if (known !== undefined) {
      for (const n of known.reduces) c.reduced.add(n)
      for (const t of known.tempts) c.tempted.add(t)
      for (const [n, depth] of known.depths) this.depths.set(n, Math.max(this.depths.get(n) ?? 0, depth))
      for (const body of known.inner) this.bodies.set(body.roots, body)
      this.bodies.set(roots, copyOf(known.own))
      return known.results
    }
    const before = new Set(c.reduced)
    const outer = this.depths
    this.depths = new Map()
    const { result: results, added: tempts } = c.tempted.during(() => this.way(roots, given))
    const own = this.bodies.get(roots)
    const inner = own === undefined ? [] : this.within(own)
    if (own !== undefined) table.set(key, { results, own: copyOf(own), inner, tempts, reduces: [...c.reduced].filter(n => !before.has(n)), depths: [...this.depths] })
    for (const [n, depth] of this.depths) outer.set(n, Math.max(outer.get(n) ?? 0, depth))
    this.depths = outer
    return results
  }
  private within(body: BodyWork): BodyWork[] {
    return body.loops.flatMap(l => bodiesOf<Attrs>(l.node).flatMap(b => { const inner = this.bodies.get(b.outputs); return inner === undefined ? [] : [inner, ...this.within(inner)] }))
  }

  private way(roots: readonly Node[], given: ReadonlyMap<Node, Value>): readonly Placed[] {
    const { owner, context: c } = this
    const captures = owner.captures.get(roots)
    const placed = new Map<Node, readonly Placed[]>()
    const body: BodyWork = { roots, done: [], loops: [], uses: new Map(), results: [] }
    this.bodies.set(roots, body)
    const { after, needed } = owner.waiting(roots)
    const note = (by: Node, entry: Entry, operands: readonly Placed[], given: readonly Node[] | undefined): readonly Placed[] => {
      const from = joint(operands)
      const results = entry.results.map(r => r.node)
      const reach = (ways: readonly (number | undefined)[], least: number): number => ways.reduce<number>((d, w, k) => (w === undefined ? d : Math.max(d, w + (operands[k]?.depth ?? 0))), least)
      for (const w of entry.work) {
        const late = w.follows || w.ways.some((way, k) => way !== undefined && after.has(given?.[k] ?? by))
        const moves = given === undefined || w.follows ? undefined : w.ways.flatMap((way, k) => (way === undefined ? [] : [k]))
        body.done.push({ node: w.node, by, depth: reach(w.ways, collectiveKind(w.node) === undefined ? 0 : 1), uses: w.uses, results, from, waited: late && needed.has(by), moves })
      }
      operands.forEach((p, k) => { for (const use of entry.uses[k] ?? []) addUse(body, p.value.node, use, results) })
      return entry.results.map((value, i) => this.at({ value, depth: reach(entry.ways[i] ?? [], 0), from }))
    }
    const settled = (p: Placed, n: Node): Placed => {
      const own = { ...p, value: p.value.origin === n ? p.value : owner.stands.of(p.value, n, '') }
      return !c.reduced.has(n) || own.value.partial === undefined ? own : note(n, owner.settled(own.value, c), [own], undefined)[0] ?? own
    }
    for (const [n, v] of given) {
      const index = captures?.get(n)
      placed.set(n, [settled(this.at({ value: owner.stands.of(v, n, ''), depth: 0, from: index === undefined ? undefined : [index] }), n)])
    }
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
      if (this.restKey !== '' && values.some(v => v.resting !== undefined)) key += this.restKey
      placed.set(n, note(n, owner.entry(n, key, values, c, rule), operands, n.inputs).map(p => settled(p, n)))
    }
    return roots.map(first)
  }

  private at(p: Placed): Placed {
    this.depths.set(p.value.node, Math.max(this.depths.get(p.value.node) ?? 0, p.depth))
    return p
  }

  /** Results of an op with bodies: what these do is noted by themselves, but for what the loop asks of its operands and of their results. */
  private loop(n: Node, operands: readonly Placed[], rule: () => readonly Value[], around: BodyWork): readonly Placed[] {
    if (n.op === 'scan') this.owner.captures.set(n.attrs.body.outputs, new Map(n.attrs.body.inputs.flatMap((p, i) => (i < n.attrs.carries + n.attrs.xs ? [] : [[p, i]]))))
    if (n.op === 'scan' || n.op === 'while') this.owner.carried.set(n.attrs.body.outputs, n.attrs.body.inputs.slice(0, n.attrs.carries))
    const partitioned = rule()
    const [local] = partitioned.flatMap(v => v.node.inputs)
    if (local === undefined) throw new Error('a loop has results')
    this.more(around.roots, n, local.inputs, true)
    const locals = bodiesOf<LocalAttrs>(local)
    bodiesOf<Attrs>(n).forEach((body, i) => {
      const results = locals[i]?.outputs
      const inner = this.bodies.get(body.outputs)
      if (results === undefined || inner === undefined) return
      this.more(body.outputs, n, results, true)
      inner.results = results
    })
    const depth = Math.max(0, ...operands.map(p => p.depth)) + 1
    const results = partitioned.map((v, index) => this.at({ value: this.owner.stands.of(v, n, `${index}`), depth, from: undefined }))
    around.loops.push({ node: n, local, results: results.map(p => p.value.node), given: operands.map(({ depth: d, from }) => ({ depth: d, from })) })
    return results
  }
}

const copyOf = (b: BodyWork): BodyWork => ({ ...b, done: [...b.done], loops: [...b.loops], uses: new Map([...b.uses].map(([n, list]) => [n, [...list]])) })

function addUse(body: BodyWork, x: LocalNode, use: Use, results: readonly LocalNode[]): void {
  const list = body.uses.get(x)
  if (list === undefined) body.uses.set(x, [{ use, results }])
  else list.push({ use, results })
}
