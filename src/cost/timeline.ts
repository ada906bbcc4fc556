/** When a program's values begin and end to lie in memory: every kernel has its moment, those of a loop's body once, and each value a span. */
import { bodiesOf, typeOf, type TensorType } from '../graph/node.ts'
import type { LocalBody, LocalGraph, LocalNode } from '../partition/local.ts'
import { bytesOf, kernelsOf, seen, type Kernel, type Kernels } from './kernels.ts'

/** Memory that is taken from one moment to another, both included. */
export interface Span {
  readonly bytes: number
  readonly from: number
  readonly to: number
}
/** Memory that the caller gave or gets: nothing else may lie there while it is `taken`. */
export interface Lent extends Pick<Span, 'bytes'> { readonly taken: readonly Omit<Span, 'bytes'>[] }
export interface Timeline {
  readonly temporaries: readonly Span[]
  readonly lent: readonly Lent[]
}

interface Buffer { readonly bytes: number; from: number; to: number; readonly fixed: boolean; what?: string }

/** Kernels that can run, in the order in which what they read was there: first come, first served, as XLA schedules for CPUs. */
function breadthFirst(kernels: readonly Kernel[]): Kernel[] {
  const index = new Map(kernels.flatMap(k => [[k.node, k] as const]))
  const maker = (n: LocalNode): Kernel | undefined => index.get(n) ?? (n.op === 'project' ? index.get(n.inputs[0] as LocalNode) : undefined)
  const needed = new Map<Kernel, number>()
  const readers = new Map<Kernel, Kernel[]>()
  for (const k of kernels) {
    const from = new Set(k.reads.flatMap(r => maker(r) ?? []))
    from.delete(k)
    needed.set(k, from.size)
    for (const f of from) readers.set(f, [...readers.get(f) ?? [], k])
  }
  const queue = kernels.filter(k => needed.get(k) === 0)
  for (let i = 0; i < queue.length; i++) {
    for (const r of readers.get(queue[i] as Kernel) ?? []) {
      const left = (needed.get(r) ?? 1) - 1
      needed.set(r, left)
      if (left === 0) queue.push(r)
    }
  }
  return queue
}

/** What is computed from a value before another: whether the one is among what the other needs. */
function before(k: Kernel, kernels: readonly Kernel[]): ReadonlySet<LocalNode> {
  const by = new Map(kernels.map(x => [x.node, x]))
  const found = new Set<LocalNode>()
  const stack = [k]
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    for (const r of next.reads) {
      const made = r.op === 'project' ? r.inputs[0] as LocalNode : r
      if (found.has(made)) continue
      found.add(made)
      const maker = by.get(made)
      if (maker !== undefined) stack.push(maker)
    }
  }
  return found
}

const elementwise: ReadonlySet<string> = new Set(['unary', 'binary', 'compare', 'select', 'convert'])
/** Ops that may write where their first operand lies. */
const overwriting: ReadonlySet<string> = new Set(['allReduce', 'scatter', 'dynamicUpdate'])
const roundUp = (bytes: number): number => Math.ceil(bytes / 64) * 64

/** `donated`: of the program's inputs, in the place of which output each ends. */
export function timelineOf(graph: LocalGraph, donated: ReadonlyMap<number, number>): Timeline {
  let now = 0
  const buffers: Buffer[] = []
  const take = (type: TensorType, from = now): Buffer => {
    const b: Buffer = { bytes: roundUp(bytesOf(type)), from, to: now, fixed: false, what: type.dtype + "[" + type.shape.map(d => d.size).join() + "] " + type.shape.map(d => d.name).join() }
    buffers.push(b)
    return b
  }
  const touch = (b: Buffer): void => { b.to = Math.max(b.to, now) }

  /** Runs a body: what its inputs are is given, what its results are comes back. `own` may be overwritten once they are read. */
  function run(body: LocalBody, given: ReadonlyMap<LocalNode, Buffer>, { sliced = new Set(), stacked = [], own = new Set(), homes = new Map(), lasts = new Map() }: {
    readonly sliced?: ReadonlySet<LocalNode>; readonly stacked?: readonly LocalNode[]; readonly own?: Set<Buffer>
    /** Results that belong in the place of an input. */
    readonly homes?: ReadonlyMap<LocalNode, Buffer>
    readonly lasts?: ReadonlyMap<LocalNode, number>
  }): { readonly buffer: (n: LocalNode) => Buffer; readonly parts: Kernels } {
    const start = now
    const results = body.outputs.filter(o => !stacked.includes(o))
    const parts = kernelsOf(results, stacked, sliced)
    const order = breadthFirst(parts.kernels)
    const made = new Map<LocalNode, Buffer>(given)
    const left = new Map<LocalNode, number>()
    const keep = parts.kept
    for (const k of order) for (const r of k.reads) left.set(r, (left.get(r) ?? 0) + 1)
    const bufferOf = (n: LocalNode): Buffer => {
      const b = made.get(n)
      if (b === undefined) throw new Error(`op ${n.op} has no memory`)
      return b
    }
    const dies = (n: LocalNode): boolean => left.get(n) === 1 && !keep.has(n) && own.has(bufferOf(n))
    const write = (n: LocalNode, b: Buffer): void => {
      made.set(n, b)
      own.add(b)
      touch(b)
    }
    const place = (n: LocalNode, k: Kernel): Buffer => {
      const bytes = roundUp(bytesOf(typeOf(n)))
      const home = homes.get(n)
      if (home !== undefined) return home
      const candidates = elementwise.has(n.op) ? k.reads : overwriting.has(n.op) ? k.reads.slice(0, 1) : []
      const over = candidates.find(r => dies(r) && bufferOf(r).bytes === bytes)
      return over === undefined ? take(typeOf(n)) : bufferOf(over)
    }
    const whole = (n: LocalNode | undefined): Buffer => {
      if (n === undefined) throw new Error('an operand is missing')
      return bufferOf(seen(n))
    }
    const runKernel = (k: Kernel): void => {
      const { node: n } = k
      if (k.scratch > 0) take({ shape: [{ name: 'bytes', size: k.scratch }], dtype: 'u8' })
      if (n.op === 'scan' || n.op === 'while') {
        const carries = n.attrs.carries
        const inside = n.attrs.body
        const taken = new Set<Buffer>()
        const states = n.inputs.slice(0, carries).map(init => {
          const source = seen(init)
          const b = bufferOf(source)
          const fits = dies(source) && !taken.has(b) && n.inputs.filter(i => seen(i) === source).length === 1
          const state = fits ? b : take(typeOf(init))
          taken.add(state)
          return state
        })
        const stacks = inside.outputs.slice(carries).map((_, i) => take(n.results[carries + i] ?? typeOf(n), start))
        const inner = new Map<LocalNode, Buffer>()
        inside.inputs.forEach((p, i) => {
          const operand = n.inputs[i]
          const b = i < carries ? states[i] : operand === undefined ? undefined : whole(operand)
          if (b !== undefined) inner.set(p, b)
        })
        const xs = n.op === 'scan' ? n.attrs.xs : 0
        const ys = inside.outputs.slice(carries)
        loop(n.op === 'while' ? [n.attrs.condition, inside] : [inside], inner, states, new Set(inside.inputs.slice(carries, carries + xs)), ys)
        ;[...states, ...stacks].forEach((b, i) => { touch(b); own.add(b); outcome(n, i, b) })
      } else if (n.op === 'cond') {
        const results = n.results.map(t => take(t))
        for (const branch of bodiesOf(n)) run(branch, new Map(branch.inputs.flatMap((p, i) => { const x = n.inputs[i + 1]; return x === undefined ? [] : [[p, whole(x)] as const] })), {})
        results.forEach((b, i) => { touch(b); own.add(b); outcome(n, i, b) })
      } else if (n.op === 'barrier') {
        n.results.forEach((_, i) => outcome(n, i, whole(n.inputs[i])))
      } else if (n.results.length > 1) {
        n.results.forEach((t, i) => { const b = take(t); own.add(b); outcome(n, i, b) })
      } else write(n, place(n, k))
      for (const r of k.reads) {
        touch(bufferOf(r))
        left.set(r, (left.get(r) ?? 1) - 1)
      }
    }
    const outcomes = new Map<LocalNode, Map<number, Buffer>>()
    const outcome = (n: LocalNode, i: number, b: Buffer): void => {
      outcomes.set(n, (outcomes.get(n) ?? new Map<number, Buffer>()).set(i, b))
      if (i === 0) made.set(n, b)
    }
    const projects = new Map<LocalNode, LocalNode[]>()
    for (const n of new Set([...parts.kernels.flatMap(k => k.reads), ...keep])) {
      if (n.op !== 'project') continue
      const of = n.inputs[0] as LocalNode
      projects.set(of, [...projects.get(of) ?? [], n])
    }
    for (const k of order) {
      now++
      runKernel(k)
      for (const p of projects.get(k.node) ?? []) {
        const b = p.op === 'project' ? outcomes.get(k.node)?.get(p.attrs.index) ?? made.get(k.node) : undefined
        if (b !== undefined) made.set(p, b)
      }
    }
    now++
    for (const n of keep) touch(bufferOf(n))
    void lasts
    return { buffer: n => whole(n), parts }
  }

  /** A loop's bodies, one after another; carries end where they began where nothing reads them once the new ones are written, else they are copied. */
  function loop(bodies: readonly LocalBody[], given: ReadonlyMap<LocalNode, Buffer>, states: readonly Buffer[], sliced: ReadonlySet<LocalNode>, stacked: readonly LocalNode[]): void {
    for (const body of bodies) {
      const last = body === bodies.at(-1)
      const results = last ? body.outputs.slice(0, states.length) : body.outputs
      const inner = last || bodies.length === 1 ? given : new Map(body.inputs.flatMap((p, i) => { const b = [...given.values()][i]; return b === undefined ? [] : [[p, b] as const] }))
      const parts = kernelsOf(results, last ? stacked : [], sliced)
      const homes = new Map<LocalNode, Buffer>()
      if (last) {
        results.forEach((o, i) => {
          const [at, state, input] = [seen(o), states[i], body.inputs[i]]
          if (state === undefined || input === undefined || homes.has(at) || results.filter(r => seen(r) === at).length > 1) return
          const maker = parts.kernels.find(k => k.node === at)
          if (maker === undefined) return
          const needed = before(maker, parts.kernels)
          const readers = parts.kernels.filter(k => k.reads.includes(input))
          const free = readers.every(k => (k === maker ? elementwise.has(at.op) || overwriting.has(at.op) : needed.has(k.node))) && !results.some((r, j) => j !== i && seen(r) === input)
          if (free) homes.set(at, state)
        })
      }
      run({ inputs: body.inputs, outputs: [...results, ...(last ? stacked : [])] }, inner, { sliced, stacked: last ? stacked : [], homes })
    }
  }

  // The program itself. What is donated is overwritten by the result that ends there, if whatever else reads it has to be done by then; else it is copied first.
  const parts = kernelsOf(graph.outputs)
  const lent: { readonly bytes: number; readonly taken: Omit<Span, 'bytes'>[] }[] = []
  const given = new Map<LocalNode, Buffer>()
  const homes = new Map<LocalNode, Buffer>()
  const fixed = (n: LocalNode): Buffer => ({ bytes: roundUp(bytesOf(typeOf(n))), from: 0, to: 0, fixed: true })
  const atHome: { readonly input: Buffer; readonly result: Buffer; readonly copied: boolean }[] = []
  graph.inputs.forEach((p, i) => {
    const to = donated.get(i)
    const result = to === undefined ? undefined : graph.outputs[to]
    if (result === undefined) { given.set(p, fixed(p)); return }
    const at = seen(result)
    const maker = parts.kernels.find(k => k.node === at)
    const needed = maker === undefined ? new Set<LocalNode>() : before(maker, parts.kernels)
    const readers = parts.kernels.filter(k => k.reads.includes(p))
    const free = maker !== undefined && readers.every(k => (k === maker ? elementwise.has(at.op) || overwriting.has(at.op) : needed.has(k.node)))
    const [home, input] = [fixed(p), free ? fixed(p) : take(typeOf(p))]
    given.set(p, input)
    if (maker !== undefined) homes.set(at, home)
    atHome.push({ input, result: home, copied: !free })
  })
  graph.outputs.forEach((o, i) => {
    if ([...donated.values()].includes(i)) return
    const at = seen(o)
    if (homes.has(at) || !parts.kernels.some(k => k.node === at)) return
    const home = fixed(o)
    homes.set(at, home)
    atHome.push({ input: home, result: home, copied: true })
  })
  for (const b of homes.values()) b.from = Infinity
  const wrote = new Map<Buffer, number>()
  run(graph, given, { homes: { ...homes, get: (n: LocalNode) => { const b = homes.get(n); if (b !== undefined && !wrote.has(b)) wrote.set(b, now); return b } } as ReadonlyMap<LocalNode, Buffer> })
  for (const { input, result, copied } of atHome) {
    const from = wrote.get(result) ?? now
    lent.push({ bytes: result.bytes, taken: copied ? [{ from, to: now }] : [{ from: 0, to: Math.max(input.to, 0) }, { from, to: now }] })
  }
  return { temporaries: buffers.filter(b => !b.fixed), lent }
}
