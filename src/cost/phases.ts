/** Which part of a training step each op of a device's program belongs to: the way forward, the way back, or the update. */
import { isHidden, sizeOf } from '../core/dim.ts'
import { bodiesOf, reachable, shapeOf } from '../graph/node.ts'
import type { LocalBody, LocalNode } from '../partition/local.ts'
import { makerOf } from './schedule.ts'

export type Phase = 'forward' | 'backward' | 'update'

/** What a step's phases are told apart by. */
export interface Marks {
  /** What the loss is, among the program's results. */
  readonly loss: LocalNode
  /** The norm of the gradient. */
  readonly gradNorm: LocalNode
}

/** What a value is made of. What was joined with others to be reduced as one is made of its own part alone. */
function sources(n: LocalNode): readonly LocalNode[] {
  const joined = n.op === 'resample' && isHidden(n.attrs.dim) && n.inputs[0]?.op === 'allReduce' ? n.inputs[0].inputs[0] : undefined
  if (n.op !== 'resample' || joined?.op !== 'concat') return n.inputs
  const { dim, start, to } = n.attrs
  let end = 0
  return joined.inputs.filter(piece => {
    const from = end
    end += shapeOf(piece).find(d => d.name === dim)?.size ?? 0
    return from < start + to.size && start < end
  })
}
/** All that some values are made of. */
function ancestorsOf(roots: readonly LocalNode[]): readonly LocalNode[] {
  const found = new Set<LocalNode>()
  const open = [...roots]
  for (let n = open.pop(); n !== undefined; n = open.pop()) {
    if (found.has(n)) continue
    found.add(n)
    open.push(...sources(n))
  }
  return [...found]
}

/** The results of a loop or a choice that something of `nodes` reads, by the op; of other ops their only one. */
function resultsRead(nodes: Iterable<LocalNode>): ReadonlyMap<LocalNode, ReadonlySet<number>> {
  const read = new Map<LocalNode, Set<number>>()
  for (const n of nodes) {
    const maker = makerOf(n)
    const index = n.op === 'project' ? n.attrs.index : 0
    read.set(maker, (read.get(maker) ?? new Set()).add(index))
  }
  return read
}

/** Whether it is a number, or several that were joined to be reduced as one. */
export function isOfScalars(n: LocalNode): boolean {
  if (sizeOf(shapeOf(n)) === 1) return true
  if (!shapeOf(n).every(d => isHidden(d.name))) return false
  return n.op === 'concat' ? n.inputs.every(isOfScalars) : n.inputs.length === 1 && n.inputs.every(isOfScalars)
}

/**
 * The numbers that make a norm of the gradient, back to the squares that are summed: they have no line of a model's, as gradients have.
 * What the way back itself uses is none of it.
 */
function normOf({ gradNorm }: Marks, ancestors: readonly LocalNode[]): ReadonlySet<LocalNode> {
  const found = new Set<LocalNode>()
  const open = [gradNorm]
  for (let n = open.pop(); n !== undefined; n = open.pop()) {
    if (n.site !== undefined || found.has(n) || n.op === 'input') continue
    const squares = n.op === 'binary' && n.attrs.fn === 'mul' && n.inputs[0] === n.inputs[1]
    if (!isOfScalars(n) && !squares) continue
    found.add(n)
    if (!squares) open.push(...n.inputs)
  }
  for (let left = -1; left !== found.size;) {
    left = found.size
    for (const n of ancestors) if (!found.has(n)) for (const i of n.inputs) found.delete(i)
  }
  return found
}

/**
 * The phase of every op, of those in bodies too. Forward is what the loss is made of, and what is kept on the way for the way back; backward is what else the gradients are
 * made of, what is computed again included; update is the rest. A loop that goes forward and back by turns, as a pipeline of one forward and one backward does,
 * has both in it, and is itself what it does first.
 */
export function phasesOf(program: LocalBody, marks: Marks): ReadonlyMap<LocalNode, Phase> {
  const phases = new Map<LocalNode, Phase>()
  const all = (body: LocalBody, phase: Phase): void => {
    for (const n of reachable([...body.inputs, ...body.outputs])) {
      if (!phases.has(n)) phases.set(n, phase)
      for (const inside of bodiesOf(n)) all(inside, phase)
    }
  }
  /** Ops that some results are made of go forward, and so do bodies in them as far as these results go; the others are `rest`. */
  const forward = (roots: readonly LocalNode[]): void => {
    const ancestors = ancestorsOf(roots)
    for (const n of ancestors) phases.set(n, 'forward')
    const used = ancestors.flatMap((n): readonly LocalNode[] => (n.op === 'project' ? [n] : n.inputs.filter(i => i.op !== 'project')))
    const read = resultsRead([...roots, ...used])
    for (const n of ancestors) {
      if (n.op === 'scan' || n.op === 'while') {
        const { body, carries } = n.attrs
        const needed = carriesFor(body, carries, read.get(n) ?? new Set())
        // What a loop stacks is kept for the way back, unless that is in the loop itself: then it carries what the loss does not need.
        const isMixed = body.outputs.slice(0, carries).some((_, i) => !needed.has(i))
        forward(body.outputs.filter((_, i) => needed.has(i) || (i >= carries && !isMixed)))
        if (n.op === 'while') all(n.attrs.condition, 'forward')
      } else for (const inside of bodiesOf(n)) all(inside, 'forward')
      for (const inside of bodiesOf(n)) all(inside, 'backward')
    }
  }
  forward([marks.loss])
  const gradients = reachable([marks.gradNorm])
  const norm = normOf(marks, gradients)
  for (const n of gradients) {
    if (phases.has(n) || norm.has(n)) continue
    phases.set(n, 'backward')
    for (const inside of bodiesOf(n)) all(inside, 'backward')
  }
  all(program, 'update')
  return phases
}

/** The carries that results of a loop follow from, turn by turn. */
function carriesFor(body: LocalBody, carries: number, results: ReadonlySet<number>): ReadonlySet<number> {
  const needed = new Set(results)
  for (let before = -1; before !== needed.size;) {
    before = needed.size
    const used = new Set<LocalNode>(ancestorsOf(body.outputs.filter((_, i) => needed.has(i))))
    body.inputs.slice(0, carries).forEach((p, i) => { if (used.has(p)) needed.add(i) })
  }
  return needed
}
