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
import { collectiveKind } from '../partition/collectives.ts'
import { noting, reduced, type Alone, type Context, type Value } from '../partition/context.ts'
import { localInfer, type LocalAttrs, type LocalNode } from '../partition/local.ts'
import { home, wherever } from '../partition/meet.ts'
import { landed } from '../partition/operands.ts'
import { partitioners } from '../partition/ops/table.ts'
import { fragmentOf, type Fragment, type Needs, type Use, type Work } from './fragment.ts'
import { nowhere, type Looped, type Point } from './points.ts'
import { Asked, Recorded, type Answers } from './recorded.ts'
import { Stands, type Stand } from './stands.ts'

/** What a rule gives for operands that lie in one way: stand-ins for its results, and the nodes that these stand for. */
interface Entry extends Fragment { readonly results: readonly Stand[]; readonly made: readonly LocalNode[]; readonly reduces: readonly Node[]; readonly tempts: readonly string[]; /** Where one device is alone: see `Alone`. */ readonly asks: readonly string[]; /** Uses that were asked for, and whether they meet what rests where it rests. */ readonly answers: Answers<string>; /** See `imageOf` in reuse.ts. */ readonly images: Map<string, readonly (LocalNode | undefined)[]>; /** For the same operands, where uses that were asked for are answered otherwise. */ next?: Entry }

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
  /** By each stand-in, what it follows from. */
  readonly points: Map<LocalNode, Point>
  /** Its results, as devices have them. */
  results: readonly LocalNode[]
  outputs: readonly Point[]
}
export interface Sketch { readonly bodies: ReadonlyMap<readonly Node[], BodyWork>; readonly inputs: readonly Value[]; /** Uses of what rests that would be less where it rests: see `partition`. */ readonly tempted: ReadonlySet<string> }

export interface SketchOptions { readonly graph: Graph; readonly mesh: Mesh; /** Dims that got their sizes from ops; see `checkGraph`. */ readonly derived: (d: Dim) => boolean }

type Recording = Context & { readonly reduced: Recorded<Node>; readonly tempted: Recorded<string>; readonly atRest: Asked<string>; readonly alone?: Alone & { readonly asked: Recorded<string> } }
/** Results of rules by numbers: that of the rules of its dims, and those of its operands. */
interface Kept { entry?: Entry; readonly next: Map<number, Kept> }
interface Order { readonly nodes: readonly Node[]; /** Of each node, one list for all that have the same. */ readonly dims: readonly (readonly string[])[]; /** Of all, those in bodies too; and the layouts that are named there. */ readonly all: readonly string[]; readonly names: readonly string[]; /** All nodes, those in bodies too. */ readonly inside: ReadonlySet<Node> }
/** A walk over a body, as it is known for what it was given. */
interface Walked extends Found { readonly results: readonly Placed[]; readonly own: BodyWork; readonly inner: readonly BodyWork[] }
/** What the rule of a loop or a choice gave, with its bodies as they are once its results are known. */
interface Ruled extends Found { readonly results: readonly Value[]; readonly local: LocalNode | undefined; readonly bodies: readonly BodyWork[] }
/** What was found on the way, which whoever looks it up has found as well. */
interface Found { readonly reduces: readonly Node[]; readonly tempts: readonly string[]; readonly asks: readonly string[]; readonly answers: Answers<string> }

/** Sketches of one program on one mesh: what one layout has found the next one looks up. */
export class Sketcher {
  readonly make: Context['make'] = interner<LocalAttrs>(localInfer, () => undefined, new Map())
  readonly stands: Stands = new Stands(this.make)
  private readonly entries = new Map<Node, Kept>()
  private readonly settling = new Map<Stand, Map<number, Entry>>()
  private readonly straying = new Map<Stand, Map<number, Entry>>()
  private readonly texts = new Map<string, number>()
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

  /** A number for a text. */
  numberOf(text: string): number {
    const known = this.texts.get(text) ?? this.texts.size
    this.texts.set(text, known)
    return known
  }

  /** What the rule of a node gives, looked up by how the operands lie and the rules of their dims, by its number. */
  entry(n: Node, rules: number, operands: readonly Stand[], c: Recording, apply: () => readonly Value[]): Entry {
    let kept = this.entries.get(n)
    if (kept === undefined) this.entries.set(n, kept = { next: new Map() })
    kept = under(kept, rules)
    for (const v of operands) kept = under(kept, v.id)
    let known = kept.entry
    while (known !== undefined && !c.atRest.gives(known.answers)) known = known.next
    if (known === undefined) {
      known = this.apply(operands, c, apply, n, '')
      if (kept.entry !== undefined) known.next = kept.entry
      kept.entry = known
    }
    return this.again(known, c)
  }
  /** And of the value itself, where some user needs it reduced: one off the rules goes to where these want it. `rules`: those of its dims. */
  settled(v: Stand, rules: number, c: Recording): Entry { return this.moved(this.settling, v, rules, c, () => landed(c, v), 'reduced') }
  /** And of a result of a loop or a choice that was given something off the rules, by its number. */
  strayed(v: Stand, result: number, rules: number, c: Recording): Entry { return this.moved(this.straying, v, rules, c, () => wherever(c, v), `strayed ${result} `) }
  private moved(known: Map<Stand, Map<number, Entry>>, v: Stand, rules: number, c: Recording, rule: () => Value, part: string): Entry {
    const table = known.get(v) ?? new Map<number, Entry>()
    known.set(v, table)
    const entry = table.get(rules) ?? this.apply([v], c, () => [rule()], v.origin, part)
    table.set(rules, entry)
    return this.again(entry, c)
  }
  private again(known: Entry, c: Recording): Entry {
    this.known++
    for (const r of known.reduces) c.reduced.add(r)
    for (const t of known.tempts) c.tempted.add(t)
    for (const a of known.asks) c.alone?.asked.add(a)
    c.atRest.asks(known.answers)
    return known
  }
  private apply(operands: readonly Stand[], c: Recording, rule: () => readonly Value[], origin: Node, part: string): Entry {
    this.applied++
    const { result: results, reduces, tempts, asks, answers } = found(c, rule)
    const made = results.map(v => v.node)
    return { ...fragmentOf(made, operands.map(o => o.node)), made, images: new Map(), results: results.map((v, i) => this.stands.of(v, origin, `${part}${i}`)), reduces, tempts, asks, answers }
  }
}
function under({ next }: Kept, n: number): Kept {
  let kept = next.get(n)
  if (kept === undefined) next.set(n, kept = { next: new Map() })
  return kept
}
/** What is found on the way of something. */
function found<R>(c: Recording, run: () => R): { readonly result: R } & Omit<Found, 'reduces'> & { readonly reduces: readonly Node[] } {
  const asking = (): { readonly result: R; readonly added: readonly string[] } => (c.alone === undefined ? { result: run(), added: nothing } : c.alone.asked.during(run))
  const { result: { result: { result: { result, added: asks }, added: tempts }, added: reduces }, answers } = c.atRest.during(() => c.reduced.during(() => c.tempted.during(asking)))
  return { result, asks, tempts, reduces, answers }
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
  private readonly rules = new Map<string, Layout>()
  private readonly numbers = new Map<string, Map<readonly string[], number>>()
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
    const within = (outer: Context, axes: readonly string[]): Recording & { readonly alone: Alone } => {
      const alone = { axes, asked: new Recorded<string>() }
      const own: Recording & { readonly alone: Alone } = { ...this.context, alone, target: noting(outer.target, alone.asked), partitionNodes: (roots, values) => this.walk(roots, values, own).map(p => p.value) }
      return own
    }
    this.context = {
      mesh, make: owner.make, reduced: new Recorded(), tempted: new Recorded(), atRest: new Asked(atRest), overlaps: false, target, within, axesOf: (branch, of) => this.axesOf(branch.outputs, of.outputs),
      partitionNodes: (roots, values) => this.walk(roots, values, this.context).map(p => p.value),
    }
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

  /** The same as a number; of what is laid by `name`, too; `alone`: along which axes one device is at work alone. */
  private numberOf(dims: readonly string[], { alone }: Recording, name?: string): number {
    const where = `${name ?? ''} ${alone?.axes.join() ?? ''}`
    const table = this.numbers.get(where) ?? new Map<readonly string[], number>()
    this.numbers.set(where, table)
    const known = table.get(dims) ?? this.owner.numberOf(`${this.rulesKey('compute', dims)}${name === undefined ? '' : this.rulesKey(name, dims)}${alone === undefined ? '' : ` ${where}`}`)
    table.set(dims, known)
    return known
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
      const outputs = this.walk(graph.outputs, new Map(graph.inputs.flatMap((n, i) => inputs.slice(i, i + 1).map(v => [n, v]))), c).map(p => home(c, reduced(c, p.value)))
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

  /** See `Context`: of a branch, whose stand-ins do not show what they follow from. */
  private axesOf(outputs: readonly LocalNode[], of: readonly Node[]): ReturnType<Context['axesOf']> {
    const axes = new Set<string>()
    let counted = true
    const seen = new Set<Point>()
    const add = (n: LocalNode): boolean => {
      if (collectiveKind(n) === undefined || !('axes' in n.attrs)) return false
      for (const a of n.attrs.axes) axes.add(a)
      return true
    }
    /** Whether there is any; `around`: what is given to the body that these are of. */
    const visit = (roots: readonly Point[], around: readonly Point[]): boolean => {
      let any = false
      const open = [...roots]
      for (let p = open.pop(); p !== undefined; p = open.pop()) {
        if (seen.has(p)) continue
        seen.add(p)
        if (p.work !== undefined && typeof p.work !== 'string' && add(p.work)) any = true
        open.push(...p.needs, ...p.given === undefined ? nothing : around.slice(p.given, p.given + 1))
        if (p.loop === undefined) continue
        const { node, operands, fallen } = p.loop
        const bodies = bodiesOf<Attrs>(node).map(b => this.bodies.get(b.outputs)?.outputs ?? nothing)
        if (fallen === true) {
          if (visit((bodies[0] ?? nothing).slice(p.result, (p.result ?? 0) + 1), operands.slice(1))) any = true
          continue
        }
        open.push(...operands)
        if (!bodies.map(outputs => visit(outputs, nothing)).includes(true)) continue
        any = true
        if (node.op === 'while' || node.op === 'cond') counted = false
      }
      return any
    }
    const points = this.bodies.get(of)?.points
    for (const n of reachable(outputs, x => points?.has(x) !== true)) {
      const point = points?.get(n)
      if (point === undefined) add(n)
      else visit([point], nothing)
    }
    return { axes, counted }
  }

  /** Adds what a body does beside the rules of its nodes: what a loop asks of its operands and of its results. What these follow from. */
  private more(body: BodyWork, by: Node, results: readonly LocalNode[]): readonly Point[] {
    const { points } = body
    const leaves = reachable(results, n => !points.has(n)).filter(n => n.inputs.length === 0 || points.has(n))
    const { work, needs, uses } = fragmentOf(results, leaves)
    return this.noted(body, by, { work, needs, uses }, leaves.map(l => points.get(l) ?? nowhere), leaves, results)
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
  private walk(roots: readonly Node[], given: ReadonlyMap<Node, Value>, c: Recording): readonly Placed[] {
    const { owner } = this
    const { all, names, inside } = owner.order(roots)
    const table = owner.walked.get(roots) ?? new Map<string, Walked[]>()
    owner.walked.set(roots, table)
    const stands = [...given].map(([n, v]) => [n, owner.stands.of(v, n, '')] as const)
    // What is reduced elsewhere changes nothing in a body that has none of it, and what meets what rests nothing in one that did not ask for it.
    const key = `${stands.map(([, v]) => v.id).join()} ${this.keyOf(names, all, inside, c)}`
    const list = table.get(key) ?? []
    table.set(key, list)
    const known = list.find(w => c.atRest.gives(w.answers))
    if (known !== undefined) {
      this.finds(known, c)
      for (const body of known.inner) this.bodies.set(body.roots, body)
      this.bodies.set(roots, copyOf(known.own))
      return known.results
    }
    const { result: results, found } = this.finding(c, () => this.way(roots, stands, c))
    const own = this.bodies.get(roots)
    if (own !== undefined) list.push({ ...found, results, own: copyOf(own), inner: this.within(own) })
    return results
  }

  /** The rules of dims inside, and what of it is reduced. */
  private keyOf(names: readonly string[], all: readonly string[], inside: ReadonlySet<Node>, { reduced, alone }: Recording): string {
    let key = alone === undefined ? '' : `${alone.axes.join()} `
    for (const name of names) key += `${this.rulesKey(name, all)} `
    const ids: number[] = []
    for (const n of reduced) if (inside.has(n)) ids.push(n.id)
    return key + ids.sort((a, b) => a - b).join()
  }
  private finding<R>(c: Recording, run: () => R): { readonly result: R; readonly found: Found } {
    const before = new Set(c.reduced)
    const { result, ...its } = found(c, run)
    return { result, found: { ...its, reduces: [...c.reduced].filter(n => !before.has(n)) } }
  }
  private finds({ answers, reduces, tempts, asks }: Found, c: Recording): void {
    c.atRest.asks(answers)
    for (const n of reduces) c.reduced.add(n)
    for (const t of tempts) c.tempted.add(t)
    for (const a of asks) c.alone?.asked.add(a)
  }
  private within(body: BodyWork): BodyWork[] {
    return body.loops.flatMap(l => bodiesOf<Attrs>(l.node).flatMap(b => { const inner = this.bodies.get(b.outputs); return inner === undefined ? [] : [inner, ...this.within(inner)] }))
  }

  private way(roots: readonly Node[], given: readonly (readonly [Node, Stand])[], c: Recording): readonly Placed[] {
    const { owner } = this
    const placed = new Map<Node, readonly Placed[]>()
    const body: BodyWork = { roots, done: [], loops: [], steps: [], uses: new Map(), points: new Map(), results: [], outputs: [] }
    this.bodies.set(roots, body)
    const note = (by: Node, entry: Entry, operands: readonly Placed[]): readonly Placed[] => {
      const [given, stands] = [operands.map(p => p.value.node), entry.results.map(r => r.node)]
      const points = this.noted(body, by, entry, operands.map(p => p.point), given, stands)
      body.steps.push({ given, made: entry.made, images: entry.images, stands })
      return entry.results.map((value, i) => at(body, { value, point: points[i] ?? nowhere }))
    }
    const rulesFor = ({ shape }: Value): number => owner.numberOf(`${this.rulesKey('compute', shape.map(d => d.name))} ${c.alone?.axes.join() ?? ''}`)
    const settled = (p: Placed, n: Node): Placed => {
      const own = p.value.origin === n ? p : { ...p, value: owner.stands.of(p.value, n, '') }
      return !c.reduced.has(n) || own.value.partial === undefined ? own : note(n, owner.settled(own.value, own.value.strayed === undefined ? -1 : rulesFor(own.value), c), [own])[0] ?? own
    }
    for (const [index, [n, value]] of given.entries()) placed.set(n, [settled(at(body, { value, point: { needs: [], given: index } }), n)])
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
      const applied = (): readonly Value[] => visit<Attrs, readonly Value[], [readonly Value[], Context], typeof n.op>(partitioners, n, values, c)
      const strays = n.op !== 'relayout' && values.some(v => v.strayed)
      if (bodiesOf(n).length > 0) {
        // What takes its results to where the rules have them comes after it.
        const results = this.loop(n, operands, applied, body, c).map((p, result) => (strays ? note(n, owner.strayed(p.value, result, rulesFor(p.value), c), [p])[0] ?? p : p))
        placed.set(n, results.map(p => settled(p, n)))
        continue
      }
      const rule = (): readonly Value[] => (strays ? applied().map(v => wherever(c, v)) : applied())
      const rules = this.numberOf(dims[i] ?? nothing, c, n.op === 'relayout' && typeof n.attrs.to === 'string' ? n.attrs.to : undefined)
      placed.set(n, note(n, owner.entry(n, rules, values, c, rule), operands).map(p => settled(p, n)))
    }
    return roots.map(first)
  }

  /** What the rule of an op with bodies gives, or what is known of it from a time when its operands lay the same. */
  private ruled(n: Node, given: readonly Placed[], rule: () => readonly Value[], c: Recording): Ruled {
    const { owner } = this
    const table = owner.ruled.get(n) ?? new Map<string, Ruled[]>()
    owner.ruled.set(n, table)
    const { all, names, inside } = owner.insideOf(n)
    const key = `${given.map(p => p.value.id).join()} ${this.keyOf(names, all, inside, c)}`
    const list = table.get(key) ?? []
    table.set(key, list)
    const known = list.find(r => c.atRest.gives(r.answers))
    if (known !== undefined) {
      this.finds(known, c)
      for (const body of known.bodies) this.bodies.set(body.roots, body)
      return known
    }
    const { result: results, found } = this.finding(c, rule)
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
  private loop(n: Node, given: readonly Placed[], rule: () => readonly Value[], around: BodyWork, c: Recording): readonly Placed[] {
    const { results: partitioned, local } = this.ruled(n, given, rule, c)
    if (local === undefined) return this.fallen(n, given, partitioned, around)
    const operands = this.more(around, n, local.inputs)
    const stands = partitioned.map((v, index) => this.owner.stands.of(v, n, `${index}`))
    const looped: Looped = { node: n, local, operands, results: stands.map(v => v.node) }
    around.loops.push(looped)
    const placed = stands.map((value, result) => at(around, { value, point: { needs: [], loop: looped, result } }))
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
    inner.outputs = inner.results.map(r => inner.points.get(r) ?? nowhere)
    const looped: Looped = { node: n, local: first.node, operands: given.map(p => p.point), results: inner.results, fallen: true, step: around.steps.length }
    around.loops.push(looped)
    const placed = partitioned.map((v, result): Placed => ({ value: this.owner.stands.of(v, n, `${result}`), point: { needs: [], loop: looped, result } }))
    for (const p of placed) around.points.set(p.value.node, p.point)
    // What it was given has the same nodes in it as around it.
    for (const p of given) around.points.set(p.value.node, p.point)
    return placed
  }
}

/** Noted where it is in a body. */
function at({ points }: BodyWork, p: Placed): Placed {
  const { node } = p.value
  const known = points.get(node)
  if (known !== p.point) points.set(node, known === undefined ? p.point : { needs: [known, p.point] })
  return p
}
const copyOf = (b: BodyWork): BodyWork => ({ ...b, done: [...b.done], loops: [...b.loops], steps: [...b.steps], uses: new Map([...b.uses].map(([n, list]) => [n, [...list]])) })

function addUse(body: BodyWork, x: LocalNode, used: Used): void {
  const list = body.uses.get(x)
  if (list === undefined) body.uses.set(x, [used])
  else list.push(used)
}
