/** What the partitioner's passes make of the products and collectives of a sketch: the same ones that a whole plan has, in the same number. */
import { sizeOf } from '../core/dim.ts'
import { dtypes, type DType } from '../core/dtype.ts'
import { partsOf, type Mesh } from '../core/mesh.ts'
import { bodiesOf, dtypeOf, operand, reachable, shapeOf, type Node } from '../graph/node.ts'
import { make } from '../graph/make.ts'
import { collectiveKind, type CollectiveKind } from '../partition/collectives.ts'
import type { LocalNode } from '../partition/local.ts'
import { hoistBytes } from '../partition/passes/hoist.ts'
import { smallBytes } from '../partition/passes/merge.ts'
import type { Use } from './fragment.ts'
import type { BodyWork, Done, Looped, Sketch } from './sketch.ts'

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
  readonly depth: number
  readonly waited: boolean
  readonly by: Node
  readonly node: LocalNode
}
export interface Computed { readonly node: LocalNode<'dot' | 'conv'>; readonly by: Node }
/** What a run of one body does after the passes. */
export interface Performed { readonly products: readonly Computed[]; readonly sent: readonly Sent[]; readonly loops: readonly Looped[] }

const bytesOf = (n: LocalNode): number => sizeOf(shapeOf(n)) * dtypes[dtypeOf(n)].bytes
const axesOf = (n: LocalNode): readonly string[] => ('axes' in n.attrs ? n.attrs.axes : [])
const sentOf = (mesh: Mesh, kind: CollectiveKind, { node, by, depth, waited }: Pick<Done, 'node' | 'by' | 'depth' | 'waited'>, axes = axesOf(node), elements = sizeOf(shapeOf(operand(node, 0)))): Sent => {
  const dtype = dtypeOf(operand(node, 0))
  const groupSize = partsOf(mesh, axes)
  const bytes = elements * dtypes[dtype].bytes
  return { kind, reduces: node.op === 'allReduce' ? node.attrs.kind : '', axes, groupSize, dtype, elements, most: kind === 'all-gather' ? bytes * groupSize : bytes, depth, waited, by, node }
}


/** One body, while the passes go over it. */
class Body {
  readonly sent = new Map<LocalNode | string, Sent>()
  products: Computed[] = []
  /** By the number of a result, what the loop around it takes of it. */
  readonly outputTakes = new Map<number, string>()
  /** Sums that became reduce-scatters, and which. */
  readonly scattered = new Map<LocalNode, string>()
  private readonly done = new Map<LocalNode, Done>()
  readonly work: BodyWork

  constructor(work: BodyWork, mesh: Mesh) {
    this.work = work
    for (const d of work.done) {
      if (this.done.has(d.node)) continue
      this.done.set(d.node, d)
      const { node, by } = d
      const kind = collectiveKind(node)
      if (kind !== undefined) this.sent.set(node, sentOf(mesh, kind, d))
      else if (node.op === 'dot' || node.op === 'conv') this.products.push({ node, by })
    }
  }

  doneOf(n: LocalNode): Done | undefined { return this.done.get(n) }

  /** All that takes something of a value, by name; `other` where something uses it whole. */
  takes(x: LocalNode, converts: boolean, seen: ReadonlySet<LocalNode> = new Set()): Set<string> {
    const all = new Set<string>()
    if (seen.has(x)) return all
    for (const { use, results } of this.work.uses.get(x) ?? []) for (const t of this.takesBy(use, results, converts, new Set([...seen, x]))) all.add(t)
    for (const t of this.asResult(x)) all.add(t)
    return all
  }
  private asResult(x: LocalNode): string[] { return this.work.results.flatMap((r, i) => (r === x ? [this.outputTakes.get(i) ?? 'other'] : [])) }
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

/** See partition/passes/scatter.ts. */
function scatter(body: Body, mesh: Mesh): void {
  for (const [key, sent] of [...body.sent]) {
    const d = body.doneOf(sent.node)
    if (sent.kind !== 'all-reduce' || sent.reduces !== 'sum' || d === undefined) continue
    const take = only(new Set(d.uses.flatMap(use => [...body.takesBy(use, d.results, true)])))
    const { kind, dim, axes } = parsed(take ?? '')
    if (kind !== 'part' || !axes.every(a => sent.axes.includes(a))) continue
    body.scattered.set(sent.node, `sum ${dim} ${axes.join()}`)
    body.sent.set(key, { ...sent, kind: 'reduce-scatter', reduces: '', axes, groupSize: partsOf(mesh, axes) })
    const rest = sent.axes.filter(a => !axes.includes(a))
    if (rest.length > 0) body.sent.set(`${sent.node.id} rest`, sentOf(mesh, 'all-reduce', { ...sent, depth: sent.depth + 1 }, rest, sent.elements / partsOf(mesh, axes)))
  }
}

/** See partition/passes/sink.ts. */
function sink(body: Body, bodies: Bodies): void {
  for (const { node, results } of body.work.loops) {
    if (node.op !== 'scan') continue
    const inner = bodies.get(node.attrs.body.outputs)
    if (inner === undefined) continue
    const { carries, over } = node.attrs
    results.forEach((project, index) => {
      const y = inner.work.results[index]
      const take = index < carries || y === undefined ? undefined : only(body.takes(project, false))
      const { kind, dim } = parsed(take ?? '')
      if (take === undefined || y === undefined || dim === over.name || (kind !== 'part' && (kind !== 'sum' || bytesOf(y) <= smallBytes)) || inner.outputTakes.has(index)) return
      inner.outputTakes.set(index, take)
      if (kind === 'part') return
      for (const [key, sent] of [...body.sent]) {
        if (sent.kind !== 'reduce-scatter' || operand(sent.node, 0) !== project) continue
        body.sent.delete(key)
        inner.sent.set(`${sent.node.id} ${index}`, { ...sent, elements: sent.elements / over.size, most: sent.most / over.size, waited: false })
      }
    })
  }
}

/** See partition/passes/hoist.ts. */
function hoist(body: Body, bodies: Bodies): void {
  for (const { node, local, given } of body.work.loops) {
    const inner = node.op === 'scan' && node.attrs.over.size > 1 ? bodies.get(node.attrs.body.outputs) : undefined
    for (const [key, sent] of [...inner?.sent ?? []]) {
      const from = inner?.doneOf(sent.node)?.from
      if (inner === undefined || sent.kind !== 'all-gather' || from === undefined || bytesOf(sent.node) > hoistBytes) continue
      inner.sent.delete(key)
      const depth = sent.depth + Math.max(0, ...from.map(i => given[i]?.depth ?? 0))
      body.sent.set(`${described(sent)} of ${from.map(i => local.inputs[i]?.id).join()}`, { ...sent, depth })
    }
  }
}

const described = ({ kind, node, elements, dtype }: Sent): string => `${kind} ${JSON.stringify(node.attrs)} ${elements} ${dtype} ${shapeOf(operand(node, 0)).map(d => `${d.name}=${d.size}`).join(' ')}`

type Scan = Node<'scan'>
const isScan = (n: Node): n is Scan => n.op === 'scan'
/** What the nodes of a loop's body are in the body of the loop that it follows: see partition/passes/reuse.ts. */
function imagesOf(loop: Scan, first: Scan): ReadonlyMap<Node, Node> {
  const { body, carries, xs } = loop.attrs
  const there = new Set<Node>(reachable(first.attrs.body.outputs))
  const carried = new Set<Node>(first.attrs.body.inputs.slice(0, first.attrs.carries))
  for (const n of there) if (n.inputs.some(i => carried.has(i))) carried.add(n)
  const images = new Map<Node, Node>()
  body.inputs.forEach((p, i) => {
    const given = loop.inputs[i]
    if (given === undefined || i < carries) return
    const walked = i < carries + xs
    const [from, to] = walked ? [first.attrs.carries, first.attrs.carries + first.attrs.xs] : [first.attrs.carries + first.attrs.xs, first.inputs.length]
    const at = first.inputs.findIndex((x, k) => k >= from && k < to && x === given)
    const stacked = walked && given.op === 'project' && operand(given, 0) === first && given.attrs.index >= first.attrs.carries ? first.attrs.body.outputs[given.attrs.index] : undefined
    const same = stacked ?? first.attrs.body.inputs[at]
    if (same !== undefined) images.set(p, same)
  })
  for (const n of reachable(body.outputs)) {
    if (n.op === 'input' || bodiesOf(n).length > 0) continue
    const inputs = n.inputs.flatMap(i => images.get(i) ?? [])
    if (inputs.length === n.inputs.length) images.set(n, make(n.op, inputs, n.attrs, n.site))
  }
  return new Map([...images].filter(([, image]) => there.has(image) && carried.has(image)))
}
const imaged = new WeakMap<Node, Map<Node, ReadonlyMap<Node, Node>>>()
const images = (loop: Scan, first: Scan): ReadonlyMap<Node, Node> => {
  const known = imaged.get(loop) ?? new Map<Node, ReadonlyMap<Node, Node>>()
  imaged.set(loop, known)
  const found = known.get(first) ?? imagesOf(loop, first)
  known.set(first, found)
  return found
}

/** What only led to collectives that are gone is not computed. */
function forget(body: Body, gone: readonly Done[]): void {
  const whole = new Set(gone.flatMap(d => (d.moves === undefined ? [d.by] : [])))
  const cut = new Map<Node, Set<number>>()
  for (const { by, moves = [] } of gone) cut.set(by, new Set([...cut.get(by) ?? [], ...moves]))
  const live = new Set<Node>()
  const open = [...body.work.roots]
  for (let n = open.pop(); n !== undefined; n = open.pop()) {
    if (live.has(n) || whole.has(n)) continue
    live.add(n)
    n.inputs.forEach((x, i) => { if (cut.get(n)?.has(i) !== true) open.push(x) })
  }
  body.products = body.products.filter(p => live.has(p.by))
  for (const [key, sent] of [...body.sent]) if (!live.has(sent.by) && body.doneOf(sent.node)?.by === sent.by) body.sent.delete(key)
}

/** See partition/passes/reuse.ts. */
function reuse(body: Body, bodies: Bodies): void {
  const scans = body.work.loops.flatMap(l => (isScan(l.node) ? [l.node] : []))
  for (const loop of scans) {
    if (loop.attrs.keepsCollectives !== true) continue
    const again = bodies.get(loop.attrs.body.outputs)
    const followed = new Set(loop.inputs.slice(loop.attrs.carries, loop.attrs.carries + loop.attrs.xs).flatMap(x => (x.op === 'project' ? [operand(x, 0)] : [])).filter(isScan))
    for (const first of followed) {
      const before = bodies.get(first.attrs.body.outputs)
      if (again === undefined || before === undefined || first.attrs.over.size !== loop.attrs.over.size) continue
      const found = images(loop, first)
      const kept = new Set([...before.sent.values()].map(s => `${s.by.id} ${described(s)}`))
      const gone: Done[] = []
      for (const [key, sent] of [...again.sent]) {
        const image = found.get(sent.by)
        const done = again.doneOf(sent.node)
        if (image === undefined || done === undefined || !kept.has(`${image.id} ${described(sent)}`)) continue
        again.sent.delete(key)
        gone.push(done)
      }
      if (gone.length > 0) forget(again, gone)
    }
  }
}

/** See partition/passes/merge.ts. */
function merged(all: readonly Sent[]): Sent[] {
  const groups = new Map<string, Sent>()
  const mergeable: readonly CollectiveKind[] = ['all-reduce', 'all-gather', 'reduce-scatter']
  return [...all.filter(s => !mergeable.includes(s.kind) || s.most > smallBytes), ...all.filter(s => mergeable.includes(s.kind) && s.most <= smallBytes).flatMap((s): Sent[] => {
    const key = `${s.depth} ${s.kind} ${s.reduces} ${s.axes.join()} ${s.dtype}`
    const before = groups.get(key)
    groups.set(key, { ...s, elements: s.elements + (before?.elements ?? 0), waited: s.waited || before?.waited === true })
    return []
  }), ...groups.values()]
}

/** What one run of each body does, by the outputs of its graph. */
export function performed(sketch: Sketch, mesh: Mesh): ReadonlyMap<readonly Node[], Performed> {
  const bodies = new Map([...sketch.bodies].map(([roots, work]) => [roots, new Body(work, mesh)] as const))
  // Bodies of loops before what is around them.
  const inward = [...bodies.values()].reverse()
  for (const pass of [reuse, hoist, sink, (b: Body) => { scatter(b, mesh) }, sink]) for (const body of inward) pass(body, bodies)
  return new Map([...bodies].map(([roots, body]) => [roots, { products: body.products, sent: merged([...body.sent.values()]), loops: body.work.loops }]))
}
