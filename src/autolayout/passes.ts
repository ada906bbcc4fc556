/** What the partitioner's passes make of the products and collectives of a sketch: the same ones that a whole plan has, in the same number. */
import { sizeOf } from '../core/dim.ts'
import { dtypes, type DType } from '../core/dtype.ts'
import { partsOf, type Mesh } from '../core/mesh.ts'
import { bodiesOf, dtypeOf, operand, shapeOf, type Make, type Node } from '../graph/node.ts'
import type { Attrs } from '../graph/ops.ts'
import { collectiveKind, received, type CollectiveKind } from '../partition/collectives.ts'
import type { LocalAttrs, LocalNode } from '../partition/local.ts'
import { hoistBytes } from '../partition/passes/hoist.ts'
import { smallBytes } from '../partition/passes/merge.ts'
import type { LocalScan } from '../partition/passes/reuse.ts'
import type { Use } from './fragment.ts'
import { carriesOf, inOrder, neededOf, type Looped, type Needed, type Point, type Pointed, type WorkKey } from './points.ts'
import { repeated } from './reuse.ts'
import type { BodyWork, Done, Sketch } from './sketch.ts'

/** A collective of a device's program. */
export interface Sent {
  readonly kind: CollectiveKind
  /** The sum, extremum or nothing. */
  readonly reduces: string
  readonly axes: readonly string[]
  readonly groupSize: number
  readonly dtype: DType
  /** That enter it. */
  readonly elements: number
  /** Bytes of what enters or of what comes out, whichever is more: small ones are merged. */
  readonly most: number
  readonly node: LocalNode
}
/** One that computation waits for, or that can go on beside it: see cost/waiting.ts. */
export interface Crossing extends Sent { readonly waited: boolean }
type Product = LocalNode<'dot' | 'conv'>
/** What a run of one body does after the passes. */
export interface Performed { readonly products: readonly Product[]; readonly sent: readonly Crossing[]; readonly loops: readonly Looped[] }

const bytesOf = (n: LocalNode): number => sizeOf(shapeOf(n)) * dtypes[dtypeOf(n)].bytes
const axesOf = (n: LocalNode): readonly string[] => ('axes' in n.attrs ? n.attrs.axes : [])
const sentOf = (mesh: Mesh, kind: CollectiveKind, node: LocalNode, axes = axesOf(node), elements = sizeOf(shapeOf(operand(node, 0)))): Sent => {
  const dtype = dtypeOf(operand(node, 0))
  const groupSize = partsOf(mesh, axes)
  const bytes = elements * dtypes[dtype].bytes
  return { kind, reduces: node.op === 'allReduce' ? node.attrs.kind : '', axes, groupSize, dtype, elements, most: kind === 'all-gather' ? bytes * groupSize : bytes, node }
}

/** One body, while the passes go over it. */
class Body implements Pointed {
  /** By each piece of work, the collectives that it is, one after another; none where it is done elsewhere. */
  readonly sent = new Map<WorkKey, readonly Sent[]>()
  readonly products = new Map<WorkKey, Product>()
  /** By the number of a result, what the loop around it takes of it. */
  readonly outputTakes = new Map<number, string>()
  /** Sums that became reduce-scatters, and which. */
  readonly scattered = new Map<LocalNode, string>()
  readonly cut = new Set<WorkKey>()
  readonly extra = new Map<Looped, Point[]>()
  readonly stacked: Point[] = []
  readonly outputs: Point[]
  readonly loops: readonly Looped[]
  private readonly done = new Map<LocalNode, Done[]>()
  private needed: Needed = { points: new Set(), results: new Map(), operands: new Map() }
  readonly work: BodyWork

  constructor(work: BodyWork, mesh: Mesh) {
    this.work = work
    this.outputs = [...work.outputs]
    this.loops = work.loops
    for (const d of work.done) {
      const { node } = d
      const known = this.done.get(node)
      if (known !== undefined) { known.push(d); continue }
      this.done.set(node, [d])
      const kind = collectiveKind(node)
      if (kind !== undefined) this.sent.set(node, [sentOf(mesh, kind, node)])
      else if (node.op === 'dot' || node.op === 'conv') this.products.set(node, node)
    }
  }

  /** What is left of the program. */
  look(needed: Needed): void { this.needed = needed }
  doneOf(n: LocalNode): readonly Done[] { return (this.done.get(n) ?? []).filter(d => this.needed.points.has(d.point)) }
  isNeeded(result: number): boolean { return this.needed.results.get(this)?.has(result) === true }

  /** All that takes something of a value, by name; `other` where something uses it whole. */
  takes(x: LocalNode, converts: boolean, seen: ReadonlySet<LocalNode> = new Set()): Set<string> {
    const all = new Set<string>()
    if (seen.has(x)) return all
    for (const { use, results, points } of this.work.uses.get(x) ?? []) if (points.some(p => this.needed.points.has(p))) for (const t of this.takesBy(use, results, converts, new Set([...seen, x]))) all.add(t)
    for (const t of this.asResult(x)) all.add(t)
    return all
  }
  private asResult(x: LocalNode): string[] { return this.work.results.flatMap((r, i) => (r === x && this.isNeeded(i) ? [this.outputTakes.get(i) ?? 'other'] : [])) }
  takesBy(use: Use, results: readonly LocalNode[], converts: boolean, seen: ReadonlySet<LocalNode> = new Set()): Iterable<string> {
    if (use === 'other') return ['other']
    if ('take' in use) return [use.take]
    if ('sum' in use) return [this.scattered.get(use.sum) ?? 'other']
    if (use.converted && !converts) return ['other']
    const result = results[use.result]
    if (result === undefined || seen.has(result)) return []
    // What a loop is given it uses whole.
    if (result.op !== 'input' && !this.work.results.includes(result)) return this.work.uses.has(result) ? this.takes(result, converts && !use.converted, seen) : ['other']
    return this.takes(result, converts && !use.converted, seen)
  }
}
const only = (takes: ReadonlySet<string>): string | undefined => (takes.size === 1 ? [...takes][0] : undefined)
const parsed = (take: string): { readonly kind: string; readonly dim: string; readonly axes: readonly string[] } => {
  const [kind = '', dim = '', axes = ''] = take.split(' ')
  return { kind, dim, axes: axes.split(',') }
}

type Bodies = ReadonlyMap<readonly Node[], Body>
const bodyOf = (bodies: Bodies, { node }: Looped): Body | undefined => (node.op === 'scan' ? bodies.get(node.attrs.body.outputs) : undefined)

const costOf = ({ kind, axes, groupSize, dtype, elements, node }: Sent): number => received([{ kind, axes, groupSize, count: 1, dtype, elements, bytes: elements * dtypes[dtype].bytes, at: node.site }])
const has = (n: LocalNode, dim: string): boolean => shapeOf(n).some(d => d.name === dim)

/** Whether a value is the same on all devices along axes: of what loops are given and give nothing is known. `split`: the axes that an input of the body lies on. */
function sameness(split: (given: number) => readonly string[] | undefined): (p: Point, axes: readonly string[]) => boolean {
  const known = new Map<string, Map<Point, boolean>>()
  const same = (p: Point, axes: readonly string[]): boolean => {
    const found = known.get(axes.join()) ?? new Map<Point, boolean>()
    known.set(axes.join(), found)
    const is = found.get(p) ?? decide(p, axes)
    found.set(p, is)
    return is
  }
  const decide = ({ given, loop, work, needs, axes: places = [] }: Point, axes: readonly string[]): boolean => {
    if (given !== undefined) { const own = split(given); return own !== undefined && !axes.some(a => own.includes(a)) }
    if (loop !== undefined || typeof work === 'string') return false
    const kind = work === undefined ? undefined : collectiveKind(work)
    const whole = work !== undefined && (kind === 'all-reduce' || kind === 'all-gather') && axes.every(a => axesOf(work).includes(a))
    return whole || ((kind === undefined || kind === 'all-reduce' || kind === 'all-gather') && !axes.some(a => places.includes(a)) && needs.every(q => same(q, axes)))
  }
  return same
}

/** See partition/passes/sink-gathers.ts: of what makes a gather smaller, products alone. */
function sinkGathers(body: Body, mesh: Mesh, make: Make<LocalAttrs>, same: (p: Point, axes: readonly string[]) => boolean): void {
  for (const [key, [gather, ...more]] of [...body.sent]) {
    const g = gather?.node
    if (gather === undefined || g?.op !== 'allGather' || more.length > 0) continue
    const { dim, axes } = g.attrs
    const all = body.doneOf(g)
    const readers = new Set(all.flatMap(d => d.readers ?? []))
    if (readers.size === 0 || all.some(d => d.readers === undefined)) continue
    const made = [...readers].flatMap(u => {
      const at = u.inputs.findIndex(i => i !== g)
      const [other, point] = [u.inputs[at], body.doneOf(u)[0]?.inputs?.[at]]
      if (u.op !== 'dot' || u.attrs.over.includes(dim) || other === undefined || has(other, dim) || point === undefined || !same(point, axes)) return []
      const part = make('dot', u.inputs.map(i => (i === g ? operand(g, 0) : i)), u.attrs, u.site)
      return [{ u, part, sent: sentOf(mesh, 'all-gather', make('allGather', [part], g.attrs, g.site ?? u.site)) }]
    })
    if (made.length < readers.size || made.reduce((n, m) => n + costOf(m.sent), 0) >= costOf(gather)) continue
    body.sent.delete(key)
    for (const { u, part, sent } of made) {
      body.products.set(u, part)
      body.sent.set(u, [sent])
    }
  }
}

/** See partition/passes/scatter.ts. */
function scatter(body: Body, mesh: Mesh): void {
  // What a loop that follows reads of this one's turns it reads whole.
  const kept = new Set(body.stacked.map(p => p.work))
  for (const [key, [sent, ...more]] of [...body.sent]) {
    if (sent === undefined || more.length > 0 || sent.kind !== 'all-reduce' || sent.reduces !== 'sum' || kept.has(key)) continue
    const take = only(new Set(body.doneOf(sent.node).flatMap(d => d.uses.flatMap(use => [...body.takesBy(use, d.results, true)]))))
    const { kind, dim, axes } = parsed(take ?? '')
    if (kind !== 'part' || !axes.every(a => sent.axes.includes(a))) continue
    body.scattered.set(sent.node, `sum ${dim} ${axes.join()}`)
    const rest = sent.axes.filter(a => !axes.includes(a))
    const scattering: Sent = { ...sent, kind: 'reduce-scatter', reduces: '', axes, groupSize: partsOf(mesh, axes) }
    body.sent.set(key, [scattering, ...rest.length === 0 ? [] : [sentOf(mesh, 'all-reduce', sent.node, rest, sent.elements / partsOf(mesh, axes))]])
  }
}

/** See partition/passes/sink.ts. */
function sink(body: Body, bodies: Bodies): void {
  for (const looped of body.loops) {
    const inner = bodyOf(bodies, looped)
    const { node, results } = looped
    if (node.op !== 'scan' || inner === undefined) continue
    const { carries, over } = node.attrs
    results.forEach((project, index) => {
      const y = inner.work.results[index]
      if (index < carries || y === undefined || !inner.isNeeded(index) || inner.outputTakes.has(index)) return
      const take = only(body.takes(project, false))
      const { kind, dim } = parsed(take ?? '')
      if (take === undefined || dim === over.name || (kind !== 'part' && (kind !== 'sum' || bytesOf(y) <= smallBytes))) return
      inner.outputTakes.set(index, take)
      if (kind === 'part') return
      for (const [key, [sent, ...more]] of [...body.sent]) {
        if (sent?.kind !== 'reduce-scatter' || operand(sent.node, 0) !== project) continue
        body.sent.set(key, more)
        const work = `${sent.node.id} ${index}`
        inner.sent.set(work, [{ ...sent, elements: sent.elements / over.size, most: sent.most / over.size }])
        inner.outputs[index] = { needs: inner.outputs.slice(index, index + 1), work }
      }
    })
  }
}

const described = ({ kind, node, elements, dtype }: Sent): string => `${kind} ${JSON.stringify(node.attrs)} ${elements} ${dtype} ${shapeOf(operand(node, 0)).map(d => `${d.name}=${d.size}`).join(' ')}`

/** See partition/passes/hoist.ts. */
function hoist(body: Body, bodies: Bodies, needed: Needed): void {
  for (const looped of body.loops) {
    const inner = bodyOf(bodies, looped)
    const { node, local, operands } = looped
    if (inner === undefined || node.op !== 'scan' || node.attrs.over.size < 2 || inner.sent.size === 0) continue
    const { carries, xs } = node.attrs
    type Out = { readonly point: Point; readonly key: string }
    const outside = new Map<Point, Out>()
    const gone = new Map<WorkKey, Out>()
    for (const [p, after] of inOrder(inner, needed)) {
      const out = p.work === undefined ? undefined : gone.get(p.work)
      if (out !== undefined) outside.set(p, out)
      if (p.work !== undefined && inner.cut.has(p.work)) continue
      const before = after.map(q => outside.get(q))
      if (p.loop !== undefined || (p.given !== undefined && p.given < carries + xs) || before.includes(undefined)) continue
      if (p.given !== undefined) { outside.set(p, { point: operands[p.given] ?? { needs: [] }, key: `${local.inputs[p.given]?.id}` }); continue }
      const given = before.flatMap(b => b ?? [])
      const needs = given.map(g => g.point)
      const from = [...new Set(given.map(g => g.key))].sort().join()
      const [sent, product] = [p.work === undefined ? undefined : inner.sent.get(p.work), p.work === undefined ? undefined : inner.products.get(p.work)]
      if (p.work === undefined || (sent === undefined && product === undefined)) { outside.set(p, { point: { needs }, key: from }); continue }
      const key = `${sent === undefined ? product?.id : sent.map(described).join()} of ${from}`
      const point = { needs, work: key }
      outside.set(p, { point, key })
      const [gather, ...more] = sent ?? []
      if (product !== undefined || gather?.kind !== 'all-gather' || more.length > 0 || bytesOf(gather.node) > hoistBytes) continue
      const moved = (q: Point): void => {
        if (q.work !== undefined && !inner.cut.has(q.work)) {
          const out = outside.get(q)?.point.work
          const [its, own] = [inner.sent.get(q.work), inner.products.get(q.work)]
          if (out !== undefined && its !== undefined) body.sent.set(out, its)
          if (out !== undefined && own !== undefined) body.products.set(out, own)
        }
        for (const need of q.needs) moved(need)
      }
      moved(p)
      gone.set(p.work, { point, key })
      inner.cut.add(p.work)
      inner.sent.delete(p.work)
      body.extra.set(looped, [...body.extra.get(looped) ?? [], point])
    }
  }
}

type Scanned = Looped & { readonly node: Node<'scan'>; readonly local: LocalScan }
const isScan = (l: Looped): l is Scanned => l.node.op === 'scan' && l.local.op === 'scan'

/** See partition/passes/reuse.ts. */
function reuse(body: Body, bodies: Bodies, needed: Needed, make: Make<LocalAttrs>): void {
  const scans = body.loops.filter(isScan)
  const kept: (() => void)[] = []
  for (const loop of scans) {
    const again = loop.node.attrs.keepsCollectives === true ? bodyOf(bodies, loop) : undefined
    if (again === undefined || again.sent.size === 0) continue
    for (const first of scans) {
      const before = bodyOf(bodies, first)
      const { carries, xs, over } = loop.local.attrs
      const follows = loop.local.inputs.slice(carries, carries + xs).some(x => first.results.includes(x))
      if (before === undefined || first === loop || !follows || first.node.attrs.over.size !== over.size) continue
      const changing = new Set<Point>()
      const steady = new Set<LocalNode>(before.work.done.map(d => d.node))
      for (const [p, after] of inOrder(before, needed)) {
        if ((p.given ?? Infinity) >= first.local.attrs.carries && !after.some(q => changing.has(q))) continue
        changing.add(p)
        if (p.work !== undefined && typeof p.work !== 'string') steady.delete(p.work)
      }
      for (const [node, image] of repeated(loop, again.work, first, before.work, make)) {
        const [point] = before.doneOf(image)
        if (!again.sent.has(node) || again.doneOf(node).length === 0 || point === undefined || steady.has(image)) continue
        kept.push(() => {
          again.cut.add(node)
          again.sent.delete(node)
          again.products.delete(node)
          before.stacked.push(point.point)
          body.extra.set(loop, [...body.extra.get(loop) ?? [], { needs: [], loop: first }])
        })
      }
    }
  }
  for (const keep of kept) keep()
}

const mergeable: readonly CollectiveKind[] = ['all-reduce', 'all-gather', 'reduce-scatter']

/** Of what a body is given, by its numbers, what is computed before, and of what it gives, what something waits for: of a loop what its turns carry; of a choice what is so around it. */
interface Outside { readonly late: ReadonlySet<number>; readonly asked: ReadonlySet<number> }
const carriedBy = (carries: number): Outside => { const all = new Set(Array.from({ length: carries }, (_, i) => i)); return { late: all, asked: all } }

/** Small ones that run as one (see partition/passes/merge.ts), and what of all nothing waits for (see cost/waiting.ts). */
function crossing(body: Body, outside: Outside, needed: Needed): { readonly sent: Crossing[]; readonly products: Product[]; /** Of a choice, the same for its branches. */ readonly inside: (choice: Looped) => Outside } {
  const order = inOrder(body, needed)
  const depths = new Map<Point, number>()
  const groups = new Map<string, { readonly all: Sent[]; readonly key: string }>()
  const groupsOf = new Map<WorkKey, { readonly all: Sent[]; readonly key: string }[]>()
  const products = new Map<WorkKey, Product>()
  for (const [p, after] of order) {
    const before = after.reduce((d, q) => Math.max(d, depths.get(q) ?? 0), 0)
    const sent = p.work === undefined ? [] : body.sent.get(p.work) ?? []
    depths.set(p, p.work !== undefined && body.cut.has(p.work) ? 0 : before + (p.loop === undefined ? sent.length : 1))
    const product = p.work === undefined ? undefined : body.products.get(p.work)
    if (p.work !== undefined && product !== undefined) products.set(p.work, product)
    if (p.work === undefined || groupsOf.has(p.work) || sent.length === 0) continue
    groupsOf.set(p.work, sent.map((s, i) => {
      const small = mergeable.includes(s.kind) && s.most <= smallBytes
      const key = small ? `${before + i + 1} ${s.kind} ${s.reduces} ${s.axes.join()} ${s.dtype}` : `${groups.size}`
      const group = groups.get(key) ?? { all: [], key }
      group.all.push(s)
      groups.set(key, group)
      return group
    }))
  }
  const [late, asked] = [new Set<Point | string>(), new Set<Point | string>()]
  const computes = (p: Point): boolean => p.loop !== undefined || (p.work !== undefined && body.products.has(p.work))
  // What runs as one waits for all that any of it waits for: until nothing more is found.
  for (let size = -1; size < late.size + asked.size;) {
    size = late.size + asked.size
    for (const [p, after] of order) {
      const own = p.work === undefined ? [] : groupsOf.get(p.work) ?? []
      let is = computes(p) || (p.given !== undefined && outside.late.has(p.given)) || after.some(q => late.has(q))
      for (const g of own) {
        if (is) late.add(g.key)
        is = late.has(g.key)
      }
      if (is) late.add(p)
    }
    for (const [i, p] of body.outputs.entries()) if (outside.asked.has(i)) asked.add(p)
    for (const [p, after] of [...order].reverse()) {
      const own = p.work === undefined ? [] : groupsOf.get(p.work) ?? []
      let is = asked.has(p)
      for (const g of [...own].reverse()) {
        if (is) asked.add(g.key)
        is = asked.has(g.key)
      }
      if (is || computes(p)) for (const q of after) asked.add(q)
    }
  }
  const sent = [...groups.values()].flatMap(({ all: [first, ...more], key }) => (first === undefined ? [] : [{ ...first, elements: more.reduce((n, s) => n + s.elements, first.elements), waited: late.has(key) && asked.has(key) }]))
  const inside = (choice: Looped): Outside => ({
    late: new Set(choice.operands.slice(1).flatMap((p, i) => (late.has(p) ? [i] : []))), asked: new Set(order.flatMap(([p]) => (p.loop === choice && p.result !== undefined && asked.has(p) ? [p.result] : []))),
  })
  return { sent, products: [...products.values()], inside }
}

/** What one run of each body does, by the outputs of its graph. */
export function performed(sketch: Sketch, mesh: Mesh, outputs: readonly Node[], make: Make<LocalAttrs>): ReadonlyMap<readonly Node[], Performed> {
  const bodies = new Map([...sketch.bodies].map(([roots, work]) => [roots, new Body(work, mesh)] as const))
  const root = bodies.get(outputs)
  if (root === undefined) throw new Error('a sketch has a body')
  // Bodies of loops before what is around them.
  const inward: Body[] = []
  const around = new Map<Body, { readonly body: Body; readonly looped: Looped; readonly carries: number }>()
  const walk = (body: Body): void => {
    if (inward.includes(body)) return
    for (const looped of body.loops) for (const inside of bodiesOf<Attrs>(looped.node)) {
      const inner = bodies.get(inside.outputs)
      if (inner === undefined) continue
      around.set(inner, { body, looped, carries: looped.node.op !== 'while' || inside === looped.node.attrs.body ? carriesOf(looped) : 0 })
      walk(inner)
    }
    inward.push(body)
  }
  walk(root)
  const look = (): Needed => {
    const needed = neededOf(root, bodies)
    for (const b of inward) b.look(needed)
    return needed
  }
  let needed = look()
  const inputs = sketch.inputs.map(v => [...v.sharding.values()].flat())
  for (const b of inward) sinkGathers(b, mesh, make, sameness(given => (b === root ? inputs[given] : undefined)))
  for (const pass of [reuse, hoist]) {
    for (const b of inward) pass(b, bodies, needed, make)
    needed = look()
  }
  const sunk = (): void => { for (const b of inward) sink(b, bodies) }
  sunk()
  for (const b of inward) scatter(b, mesh)
  sunk()
  // What has sunk into a loop is in it now.
  needed = look()
  // Of branches it is told by what is around them.
  const found = new Map<Body, ReturnType<typeof crossing>>()
  for (const b of [...inward].reverse()) {
    const its = around.get(b)
    found.set(b, crossing(b, its?.looped.node.op === 'cond' ? found.get(its.body)?.inside(its.looped) ?? carriedBy(0) : carriedBy(its?.carries ?? 0), needed))
  }
  return new Map(inward.flatMap(b => { const its = found.get(b); return its === undefined ? [] : [[b.work.roots, { sent: its.sent, products: its.products, loops: b.loops }] as const] }))
}
