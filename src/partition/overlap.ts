/**
 * In what order one device's program runs where collectives can be under way while it computes: each is begun as soon as its operand is there, and waited for
 * right before what needs it, with work that does not depend on it in between. The order is one for all devices, so that all begin the same ones.
 */
import { sizeOf } from '../core/dim.ts'
import { dtypes } from '../core/dtype.ts'
import { partsOf, type Mesh } from '../core/mesh.ts'
import { productFlops } from '../graph/flops.ts'
import { bodiesOf, dtypeOf, operand, orderOf, reachable, shapeOf } from '../graph/node.ts'
import { collectiveKind, received } from './collectives.ts'
import type { LocalAttrs, LocalNode } from './local.ts'

/** A node as it is, a collective as one call; or a collective begun, or waited for once all of `after` is computed. */
export type Step = { readonly run: LocalNode } | { readonly start: LocalNode } | { readonly wait: LocalNode; readonly after: readonly LocalNode[] }

/** What is there and what is under way when a body begins, and what it begins and another waits for. */
export interface Around { readonly given: ReadonlySet<LocalNode>; readonly started: ReadonlySet<LocalNode>; readonly late: ReadonlySet<LocalNode> }

/** What a device is taken to do in a second, and what it is taken to receive. Only their ratio counts: what is begun first, and how much is put between. */
const [flopsPerSecond, bytesPerSecond] = [30e9, 0.5e9] as const
/** What takes less is not worth waiting behind. */
const least = 20e-6
/** How many of what is computed meanwhile a wait names: what these need comes before it, too. */
const mostNamed = 4

/** Sums, and what moves as it is: extrema of floats are more than one op. */
export const canFly = (n: LocalNode): boolean => collectiveKind(n) !== undefined && (n.op !== 'allReduce' || n.attrs.kind === 'sum')

/** Seconds of what is worth putting beside a collective: products, and loops of them. */
function work(n: LocalNode): number {
  if (n.op === 'dot' || n.op === 'conv') return productFlops<LocalAttrs>(n as LocalNode<'dot' | 'conv'>) / flopsPerSecond
  const times = n.op === 'scan' ? n.attrs.over.size : 1
  return bodiesOf(n).reduce((sum, body) => sum + times * orderOf(body.outputs).reduce((all, m) => all + work(m), 0), 0)
}

function flight(n: LocalNode, mesh: Mesh): number {
  const kind = collectiveKind(n)
  if (kind === undefined || !('axes' in n.attrs)) return 0
  const x = operand(n, 0)
  const [elements, dtype] = [sizeOf(shapeOf(x)), dtypeOf(x)]
  return received([{ kind, axes: n.attrs.axes, groupSize: partsOf(mesh, n.attrs.axes), count: 1, dtype, elements, bytes: elements * dtypes[dtype].bytes, at: n.site }]) / bytesPerSecond
}

/** The order that `roots` need, operands before users. */
export function scheduled(roots: readonly LocalNode[], mesh: Mesh, { given, started, late }: Around): readonly Step[] {
  const before = (n: LocalNode): boolean => started.has(n) || given.has(n)
  const order = reachable(roots, n => !before(n))
  const users = new Map<LocalNode, LocalNode[]>()
  for (const n of order) {
    if (!before(n)) for (const i of new Set(n.inputs)) users.set(i, [...users.get(i) ?? [], n])
  }
  const steps: Step[] = []
  const [done, awaited] = [new Set<LocalNode>(), new Set<LocalNode>()]
  /** When what is under way is there, and where among the steps it began. */
  const arrives = new Map<LocalNode, number>()
  const began = new Map<LocalNode, number>()
  const heavy: { readonly node: LocalNode; readonly step: number }[] = []
  let [clock, wire] = [0, 0]
  for (const n of order) {
    if (!before(n)) continue
    done.add(n)
    if (!started.has(n)) continue
    arrives.set(n, 0)
    began.set(n, -1)
  }
  const await_ = (n: LocalNode): void => {
    for (const i of new Set(n.inputs)) {
      const at = began.get(i)
      if (at === undefined || awaited.has(i)) continue
      awaited.add(i)
      clock = Math.max(clock, arrives.get(i) ?? 0)
      steps.push({ wait: i, after: heavy.filter(h => h.step > at).slice(-mostNamed).map(h => h.node) })
    }
  }
  const isHere = (n: LocalNode): boolean => n.inputs.every(i => done.has(i))
  const arrived = (n: LocalNode): number => n.inputs.reduce((t, i) => (awaited.has(i) ? t : Math.max(t, arrives.get(i) ?? 0)), 0)
  const run = (n: LocalNode): void => {
    if (done.has(n)) return
    await_(n)
    done.add(n)
    if (canFly(n)) {
      wire = Math.max(wire, clock) + flight(n, mesh)
      arrives.set(n, wire)
      began.set(n, steps.length)
      steps.push({ start: n })
      return
    }
    const seconds = work(n)
    clock += seconds + (collectiveKind(n) === undefined ? 0 : flight(n, mesh))
    if (seconds >= least) heavy.push({ node: n, step: steps.length })
    steps.push({ run: n })
    // What can be begun is begun.
    for (const u of users.get(n) ?? []) if (canFly(u) && !done.has(u) && isHere(u) && arrived(u) <= clock) run(u)
  }
  let open: LocalNode[] = []
  const pass = (nodes: readonly LocalNode[]): LocalNode[] => nodes.filter(n => {
    if (done.has(n)) return false
    if (!isHere(n) || arrived(n) > clock) return true
    run(n)
    return false
  })
  /** When something that is put off can go on; each time that the clock passes it, they are looked at. */
  let next = Infinity
  const again = (): void => {
    open = pass(open)
    next = open.reduce((t, n) => (isHere(n) ? Math.min(t, arrived(n)) : t), Infinity)
  }
  for (const n of order) {
    if (clock >= next) again()
    const [left] = pass([n])
    if (left === undefined) continue
    open.push(left)
    if (isHere(left)) next = Math.min(next, arrived(left))
  }
  while (open.length > 0) {
    clock = Math.max(clock, next)
    again()
  }
  // Roots that nothing here reads.
  for (const r of roots) {
    const at = began.get(r)
    if (at === undefined || awaited.has(r) || late.has(r)) continue
    awaited.add(r)
    steps.push({ wait: r, after: heavy.filter(h => h.step > at).slice(-mostNamed).map(h => h.node) })
  }
  return direct(steps, late)
}

/** What is waited for with nothing computed meanwhile is one call: in two it would only be slower. */
function direct(steps: readonly Step[], late: ReadonlySet<LocalNode>): readonly Step[] {
  const begun = new Set(steps.flatMap(s => ('start' in s ? [s.start] : [])))
  const idle = new Set(steps.flatMap(s => ('wait' in s && s.after.length === 0 && begun.has(s.wait) && !late.has(s.wait) ? [s.wait] : [])))
  return steps.flatMap(s => ('start' in s && idle.has(s.start) ? [{ run: s.start }] : 'wait' in s && idle.has(s.wait) ? [] : [s]))
}

type Scan = LocalNode<'scan'>

/** What a loop's turn can begin for the next one: gathers of what is walked over, which nothing that is carried is needed for. */
export function gathersAhead(n: Scan): LocalNode<'allGather'>[] {
  const { body, carries, xs, over } = n.attrs
  if (over.size < 2) return []
  const order = orderOf(body.outputs)
  const known = new Set<LocalNode>(body.inputs.slice(carries))
  const walked = new Set<LocalNode>(body.inputs.slice(carries, carries + xs))
  for (const m of order) {
    if (m.op === 'input') continue
    if (collectiveKind(m) === undefined && bodiesOf(m).length === 0 && m.inputs.every(i => known.has(i))) known.add(m)
    if (m.inputs.some(i => walked.has(i))) walked.add(m)
  }
  return order.filter(m => m.op === 'allGather').filter(m => known.has(operand(m, 0)) && walked.has(operand(m, 0)))
}

/** A collective whose result a turn only stacks, and the stacks that are made of it. */
export interface Late { readonly node: LocalNode; readonly ys: readonly number[] }

/** What the next turn can wait for: collectives that nothing in their own turn reads but what it stacks. */
export function sumsLate(n: Scan): Late[] {
  const { body, carries, over } = n.attrs
  if (over.size < 2) return []
  const order = orderOf(body.outputs)
  const users = new Map<LocalNode, LocalNode[]>()
  for (const m of order) for (const i of new Set(m.inputs)) users.set(i, [...users.get(i) ?? [], m])
  const fixed = new Set<LocalNode>()
  for (const m of order) if (m.op !== 'input' && collectiveKind(m) === undefined && m.inputs.every(i => fixed.has(i))) fixed.add(m)
  const carried = new Set<LocalNode>(body.outputs.slice(0, carries))
  const found = order.filter(canFly).flatMap(node => {
    const tail = new Set<LocalNode>([node])
    for (const m of tail) for (const u of users.get(m) ?? []) tail.add(u)
    const apart = [...tail].every(m => !carried.has(m) && (m === node || (collectiveKind(m) === undefined && bodiesOf(m).length === 0 && m.inputs.every(i => tail.has(i) || fixed.has(i)))))
    const ys = body.outputs.flatMap((y, i) => (i >= carries && tail.has(y) ? [i] : []))
    return apart && ys.length > 0 ? [{ node, ys }] : []
  })
  // A stack that is made of two of them is neither's.
  return found.filter(f => !found.some(g => g !== f && g.ys.some(y => f.ys.includes(y))))
}
