/** When a program's values begin and end to lie in memory: every kernel has its moment, those of a loop's body once, and each value a span. */
import type { Written } from '../core/platform.ts'
import { bodiesOf, typeOf, type TensorType } from '../graph/node.ts'
import type { LocalBody, LocalNode } from '../partition/local.ts'
import { bytesOf, kernelsOf, seen, type Kernel } from './kernels.ts'
import { breadthFirst, makerOf, mayReplace, overwritten } from './schedule.ts'

/** Memory that is taken from one moment to another, both included. */
export interface Span {
  readonly bytes: number
  from: number
  to: number
  /** The value, as one device holds it. */
  readonly type: TensorType
  /** What computes it. */
  readonly node: LocalNode
}

/** XLA begins every value at a multiple of so many bytes. */
const alignment = 64
const sizeIn = (type: TensorType): number => Math.ceil(bytesOf(type) / alignment) * alignment

/** Results by their number, of a kernel that has several. */
const resultsIn = (made: ReadonlyMap<LocalNode, readonly Span[]>, n: LocalNode): readonly Span[] => {
  const found = made.get(n)
  if (found === undefined) throw new Error(`op ${n.op} has no memory`)
  return found
}

interface Body {
  readonly body: LocalBody
  /** Where its inputs lie. */
  readonly given: ReadonlyMap<LocalNode, Span>
  /** Results that go into stacks; the others are to lie in memory. */
  readonly stacked?: readonly LocalNode[]
  /** Inputs of which each turn reads a slice. */
  readonly sliced?: ReadonlySet<LocalNode>
  /** Results whose place is known. */
  readonly homes?: ReadonlyMap<LocalNode, Span>
}

/** What a loop has to know of the body that it stands in. */
interface Around {
  /** Whether nothing else needs what it begins with. */
  readonly dies: (operand: LocalNode) => boolean
  /** The place of a result, where it is known. */
  readonly home: (result: number, from?: number) => Span | undefined
  /** When the body began. */
  readonly start: number
}

export class Timeline {
  now = 0
  /** What runs at each moment; where a body's results are waited for, nothing does. */
  readonly running: (LocalNode | undefined)[] = [undefined]
  /** All that lies beside what the caller gave. */
  readonly spans: Span[] = []
  private readonly written: Written
  constructor(written: Written) { this.written = written }

  /** A value that nobody has made room for, from now or from an earlier moment on. */
  take(type: TensorType, node: LocalNode, from: number = this.now): Span {
    const span = { bytes: sizeIn(type), from, to: this.now, type, node }
    this.spans.push(span)
    return span
  }

  /** A value that lies where the caller says, in memory that is none of ours. */
  lend(node: LocalNode): Span {
    return { bytes: sizeIn(typeOf(node)), from: Infinity, to: 0, type: typeOf(node), node }
  }

  private advance(to?: LocalNode): void {
    this.now++
    this.running.push(to)
  }

  /** Runs a body's kernels, and those of bodies inside. */
  run({ body, given, stacked = [], sliced = new Set(), homes = new Map() }: Body): void {
    const start = this.now
    const { kernels, kept } = kernelsOf(body.outputs.filter(o => !stacked.includes(o)), stacked, sliced, this.written)
    const order = breadthFirst(kernels)
    const made = new Map<LocalNode, readonly Span[]>([...given].map(([n, span]) => [n, [span]]))
    const left = new Map<LocalNode, number>()
    for (const k of order) for (const r of k.reads) left.set(r, (left.get(r) ?? 0) + 1)
    const projects = new Map<LocalNode, Map<number, LocalNode>>()
    for (const p of homes.keys()) if (p.op === 'project') projects.set(makerOf(p), (projects.get(makerOf(p)) ?? new Map<number, LocalNode>()).set(p.attrs.index, p))
    // What is made here may be overwritten when it has been read, as what the caller gave may not.
    const own = new Set<Span>()
    const spanOf = (n: LocalNode): Span => {
      const span = resultsIn(made, makerOf(n))[n.op === 'project' ? n.attrs.index : 0]
      if (span === undefined) throw new Error(`op ${n.op} has no memory`)
      return span
    }
    const dies = (n: LocalNode): boolean => left.get(n) === 1 && !kept.has(n) && own.has(spanOf(n))
    const lies = (n: LocalNode): Span => spanOf(seen(n))

    const home = (n: LocalNode, from = this.now): Span | undefined => {
      const span = homes.get(n)
      if (span !== undefined) span.from = Math.min(span.from, from)
      return span
    }
    const single = (k: Kernel): Span => {
      const own = home(k.node)
      if (own !== undefined) return own
      const size = sizeIn(typeOf(k.node))
      const over = overwritten(k).find(r => dies(r) && spanOf(r).bytes === size)
      return over === undefined ? this.take(typeOf(k.node), k.node) : spanOf(over)
    }
    const runKernel = (k: Kernel): readonly Span[] => {
      const { node: n } = k
      if (n.op === 'scan' || n.op === 'while') {
        const over = overwritten(k)
        return this.loop(n, n.inputs.map(lies), { dies: i => over.includes(seen(i)) && dies(seen(i)), home: (i, from) => { const p = projects.get(n)?.get(i); return p === undefined ? undefined : home(p, from) }, start })
      }
      if (n.op === 'cond') {
        const results = n.results.map(t => this.take(t, n))
        for (const branch of bodiesOf(n)) this.run({ body: branch, given: pairs(branch.inputs, n.inputs.slice(1).map(lies)) })
        return results
      }
      if (n.op === 'barrier') return n.inputs.map(lies)
      return n.results.length > 1 ? n.results.map(t => this.take(t, n)) : [single(k)]
    }
    for (const k of order) {
      this.advance(k.node)
      const results = runKernel(k)
      made.set(k.node, results)
      for (const span of [...results, ...k.reads.map(spanOf)]) span.to = Math.max(span.to, this.now)
      if (k.node.op !== 'barrier') for (const span of results) own.add(span)
      for (const r of k.reads) left.set(r, (left.get(r) ?? 1) - 1)
    }
    this.advance()
    for (const n of kept) spanOf(n).to = Math.max(spanOf(n).to, this.now)
  }

  /**
   * A loop: one turn of its body, beside its carries and the stacks that it fills, which are made when it begins or, as zeros, when the body around it does. A carry begins where its first value
   * lies if nothing else needs that, and a turn's result is written over it where nothing reads the old one any more; else it is copied.
   */
  private loop(n: LocalNode<'scan' | 'while'>, operands: readonly Span[], { dies, home, start }: Around): readonly Span[] {
    const { body, carries } = n.attrs
    const states = n.inputs.slice(0, carries).map((init, i) => { const at = operands[i]; return home(i) ?? (at !== undefined && dies(init) ? at : this.take(typeOf(init), n)) })
    const from = this.written.stacks === 'unwritten' ? this.now : start
    const stacks = n.results.slice(carries).map((t, i) => home(carries + i, from) ?? this.take(t, n, from))
    const inside = [...states, ...operands.slice(carries)]
    if (n.op === 'while') this.run({ body: n.attrs.condition, given: pairs(n.attrs.condition.inputs, inside) })
    const results = body.outputs.slice(0, carries)
    const stacked = body.outputs.slice(carries)
    const sliced = new Set<LocalNode>(n.op === 'scan' ? body.inputs.slice(carries, carries + n.attrs.xs) : [])
    const { kernels } = kernelsOf(results, stacked, sliced, this.written)
    const homes = new Map<LocalNode, Span>()
    results.map(seen).forEach((at, i, all) => {
      const [state, input, maker] = [states[i], body.inputs[i], kernels.find(k => k.node === makerOf(at))]
      if (state === undefined || input === undefined || maker === undefined || all.filter(r => r === at).length > 1 || all.some((r, j) => j !== i && r === input)) return
      if (mayReplace(input, maker, kernels)) homes.set(at, state)
    })
    this.run({ body, given: pairs(body.inputs, inside), stacked, sliced, homes })
    return [...states, ...stacks]
  }
}

const pairs = (inputs: readonly LocalNode[], spans: readonly Span[]): ReadonlyMap<LocalNode, Span> =>
  new Map(inputs.flatMap((p, i) => spans.slice(i, i + 1).map(s => [p, s] as const)))
