/** The order of a body's kernels, and which of them have to be done before others. */
import type { LocalNode } from '../partition/local.ts'
import { seen, type Kernel } from './kernels.ts'

/** What makes a value: itself, or the loop or choice that it is a result of. */
export const makerOf = (n: LocalNode): LocalNode => (n.op === 'project' ? n.inputs[0] ?? n : n)

/** Whoever can run first runs first, as XLA schedules for CPUs: breadth first, from what needs nothing. */
export function breadthFirst(kernels: readonly Kernel[]): Kernel[] {
  const made = new Map(kernels.map(k => [k.node, k]))
  const missing = new Map<Kernel, number>()
  const readers = new Map<Kernel, Kernel[]>()
  for (const k of kernels) {
    const from = new Set(k.reads.flatMap(r => made.get(makerOf(r)) ?? []))
    missing.set(k, from.size)
    for (const f of from) {
      const list = readers.get(f)
      if (list === undefined) readers.set(f, [k])
      else list.push(k)
    }
  }
  const order = kernels.filter(k => missing.get(k) === 0)
  // It grows while it is walked.
  for (const k of order) {
    for (const r of readers.get(k) ?? []) {
      const left = (missing.get(r) ?? 1) - 1
      missing.set(r, left)
      if (left === 0) order.push(r)
    }
  }
  return order
}

/** What a kernel needs, directly or not: all that is certainly done when it runs, whatever the order. */
function needs(k: Kernel, made: ReadonlyMap<LocalNode, Kernel>): ReadonlySet<LocalNode> {
  const found = new Set<LocalNode>()
  const open = [k]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    for (const maker of next.reads.map(makerOf)) {
      if (found.has(maker)) continue
      found.add(maker)
      const more = made.get(maker)
      if (more !== undefined) open.push(more)
    }
  }
  return found
}

const elementwise: ReadonlySet<string> = new Set(['unary', 'binary', 'compare', 'select', 'convert'])
const overFirst: ReadonlySet<string> = new Set(['allReduce', 'scatter', 'dynamicUpdate'])
/** Which of its operands a kernel may write a result over: a loop what its carries begin as, if nothing else of it is that. */
export function overwritten({ node, reads }: Kernel): readonly LocalNode[] {
  if (node.op !== 'scan' && node.op !== 'while') return elementwise.has(node.op) ? reads : overFirst.has(node.op) ? reads.slice(0, 1) : []
  const operands = node.inputs.map(seen)
  return operands.slice(0, node.attrs.carries).filter(x => operands.filter(y => y === x).length === 1)
}

/** Whether a result may be written where a value lies that it takes the place of: all others who read that are done by then. */
export function mayReplace(input: LocalNode, maker: Kernel, kernels: readonly Kernel[]): boolean {
  const readers = kernels.filter(k => k !== maker && k.reads.includes(input))
  if (maker.reads.includes(input) && !overwritten(maker).includes(input)) return false
  if (readers.length === 0) return true
  const done = needs(maker, new Map(kernels.map(k => [k.node, k])))
  return readers.every(k => done.has(k.node))
}
