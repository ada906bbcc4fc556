/**
 * Which values of a program's body have memory of their own: what XLA fuses has none. The rules are those of its fusion for CPUs: what is cheap is computed again by each
 * that reads it, what is costly by one alone; products, collectives and loops read and write memory; a sum takes in what only it reads.
 */
import { names, sizeOf, type Dim } from '../core/dim.ts'
import { dtypes, isFloat } from '../core/dtype.ts'
import { attentionKernels, choices, type Written } from '../core/platform.ts'
import { dtypeOf, interner, reachable, shapeOf, type Make, type TensorType } from '../graph/node.ts'
import { tapsOf, wideConv, type WideConv } from '../graph/wide-windows.ts'
import { convDims } from '../graph/windows.ts'
import { attentionIn, readsOf, type AttentionPart } from '../partition/attention.ts'
import { localInfer, visitLocal, type LocalAttrs, type LocalNode, type LocalTable } from '../partition/local.ts'

export const bytesOf = ({ shape, dtype }: TensorType): number => sizeOf(shape) * dtypes[dtype].bytes

/** What an op is to a compiler that fuses: the same memory under another shape, something each reader may compute, or a kernel of its own. */
type Form = 'view' | 'fused' | 'kernel'

const costly: ReadonlySet<string> = new Set(['exp', 'expm1', 'log', 'log1p', 'tanh', 'sqrt', 'rsqrt', 'cbrt', 'sin', 'cos', 'tan', 'logistic', 'erf', 'erfc', 'erfInv', 'pow', 'atan2'])
/** Whether it is computed once for all who read it. */
export const isCostly = (n: LocalNode): boolean =>
  (n.op === 'unary' || n.op === 'binary' ? costly.has(n.attrs.fn) || (n.op === 'binary' && ['div', 'rem'].includes(n.attrs.fn) && isFloat(dtypeOf(n))) : n.op === 'threefry')

const inOrder = (shape: readonly Dim[], order: readonly string[]): boolean => names(shape).filter(d => order.includes(d)).join() === order.join()
/** Whether the same numbers lie in the same order under both: dims of one place may stand anywhere, or not at all, and move nothing. */
const liesAlike = (a: readonly Dim[], b: readonly Dim[]): boolean => {
  const longer = (shape: readonly Dim[]): string => names(shape.filter(d => d.size > 1)).join()
  return longer(a) === longer(b)
}
const one = <T>(x: T | undefined): T => {
  if (x === undefined) throw new Error('an operand is missing')
  return x
}
const fused = (): Form => 'fused'
const kernel = (): Form => 'kernel'
const view = (): Form => 'view'

const forms: LocalTable<Form> = {
  input: fused, constant: fused, iota: fused, unary: fused, binary: fused, compare: fused, select: fused, convert: fused, threefry: fused, axisIndex: fused,
  broadcast: n => (liesAlike(shapeOf(one(n.inputs[0])), n.attrs.shape) ? 'view' : 'fused'),
  rename: view, stored: view, splitDim: view, project: view, barrier: kernel,
  mergeDims: n => {
    const before = shapeOf(one(n.inputs[0]))
    const order = names(shapeOf(n)).flatMap(d => (d === n.attrs.into.name ? n.attrs.from : [d]))
    return inOrder(before, order) ? 'view' : 'fused'
  },
  resample: fused, roll: fused, reverse: fused, concat: fused, dynamicSlice: fused, take: fused,
  dot: kernel, conv: kernel, reduce: n => (n.attrs.over.length === 0 ? 'view' : 'kernel'), scatter: kernel, scatterAdd: kernel, dynamicUpdate: kernel, sort: kernel, topK: kernel, cumulative: kernel,
  scan: kernel, cond: kernel, while: kernel, allReduce: kernel, allGather: kernel, reduceScatter: kernel, allToAll: kernel, permute: kernel,
}
export const formOf = (n: LocalNode): Form => visitLocal(forms, n)

/** Whether computing it again reads more than reading it does. */
const readsMore = (n: LocalNode): boolean => n.inputs.filter(x => !['broadcast', 'constant', 'iota'].includes(x.op) && shapeOf(x).length >= shapeOf(n).length).length > 1

/** Whether it spreads its operand out, with what it is filled with between: the gradient of every other element. */
const spreads = (n: LocalNode): boolean => n.op === 'resample' && n.attrs.dilation > 1

/** Whether such a value is computed on the way to this one. */
function spreadBefore(n: LocalNode, known: Map<LocalNode, boolean>): boolean {
  const found = known.get(n) ?? (formOf(n) !== 'kernel' && n.op !== 'project' && (spreads(n) || n.inputs.some(x => spreadBefore(x, known))))
  known.set(n, found)
  return found
}

/** Elementwise ops that a sum takes in. */
const summed = (n: LocalNode): boolean => n.op === 'unary' || n.op === 'convert' || n.op === 'broadcast' || (n.op === 'binary' && isFloat(dtypeOf(n)))

/** The operand with its dims in this order: itself where it lies so. */
const turned = (make: Make<LocalAttrs>, x: LocalNode, ...orders: readonly (readonly Dim[])[]): LocalNode =>
  (orders.some(o => liesAlike(o, shapeOf(x))) ? x : make('broadcast', [x], { shape: orders[0] ?? [] }, x.site))

/** A product's operands as it reads them: shared dims first, then what is contracted and what is not, each together. */
function dotOperands(n: LocalNode<'dot'>, make: Make<LocalAttrs>): LocalNode[] {
  const [l, r] = [one(n.inputs[0]), one(n.inputs[1])]
  const [a, b] = [shapeOf(l), shapeOf(r)]
  const over = (sizeOf(a) >= sizeOf(b) ? a : b).filter(d => n.attrs.over.includes(d.name))
  const shared = shapeOf(n).filter(d => names(a).includes(d.name) && names(b).includes(d.name))
  const own = (shape: readonly Dim[]): Dim[] => shape.filter(d => !names(over).includes(d.name) && !names(shared).includes(d.name))
  return [turned(make, l, [...shared, ...own(a), ...over], [...shared, ...over, ...own(a)]), turned(make, r, [...shared, ...over, ...own(b)], [...shared, ...own(b), ...over])]
}

/** A convolution's: places first and then channels; the window first, then what goes in and what comes out. */
function convOperands(n: LocalNode<'conv'>, make: Make<LocalAttrs>, inParts: boolean): LocalNode[] {
  const [x, w] = [one(n.inputs[0]), one(n.inputs[1])]
  const { groups, over, features } = convDims(n.attrs, shapeOf(x), shapeOf(w))
  const wide = !inParts || groups.length > 0 || dtypeOf(n) !== 'f32' ? undefined : wideConv(n.attrs, shapeOf(x), shapeOf(w))
  if (wide !== undefined) return wideOperands(n, wide, make)
  const last = names([...groups, ...over])
  const windows = n.attrs.windows.flatMap(v => shapeOf(w).filter(d => d.name === v.w))
  return [turned(make, x, [...shapeOf(x).filter(d => !last.includes(d.name)), ...groups, ...over]), turned(make, w, [...windows, ...over, ...groups, ...features])]
}
/** Of one that is a single product: what lies under all its taps side by side, each written down before, and what that is multiplied with. */
function wideOperands(n: LocalNode<'conv'>, { windows }: WideConv, make: Make<LocalAttrs>): LocalNode[] {
  const [x, w] = [one(n.inputs[0]), one(n.inputs[1])]
  const { batch, features } = convDims(n.attrs, shapeOf(x), shapeOf(w))
  const summed = shapeOf(x).filter(d => !names(batch).includes(d.name))
  const inWeights = summed.map(d => windows.find(({ window }) => window.x === d.name)?.window.w ?? d.name)
  const under = tapsOf(windows).map(tap => {
    const cut = windows.reduce((v, { window, width }, i) => make('resample', [v], { dim: window.x, to: { name: window.x, size: width }, start: (tap[i] ?? 0) * window.stride - window.low, step: window.wDilation, dilation: 1, fill: 0 }), x)
    return make('broadcast', [cut], { shape: [...summed, ...batch].map(d => shapeOf(cut).find(c => c.name === d.name) ?? d) })
  })
  const channels = one(batch[0])
  return [make('concat', under, { dim: { name: channels.name, size: channels.size * under.length } }), turned(make, w, [...shapeOf(w).filter(d => inWeights.includes(d.name)).sort((a, b) => inWeights.indexOf(a.name) - inWeights.indexOf(b.name)), ...features])]
}
const operandsOf = (n: LocalNode, make: Make<LocalAttrs>, { convolutions }: Written): readonly LocalNode[] =>
  (n.op === 'dot' ? dotOperands(n, make) : n.op === 'conv' ? convOperands(n, make, convolutions === 'in parts') : n.inputs)

/** A use of a value, by a kernel or as a result: whether it has to lie in memory for it, or only where nothing else reads it may it be computed on the way. */
interface Use { readonly by: LocalNode | undefined; readonly needs: boolean; readonly sums: boolean }

export interface Kernel {
  /** What it computes; a loop or a choice has several results. */
  readonly node: LocalNode
  /** Values in memory that it reads. */
  readonly reads: readonly LocalNode[]
  /** The convolution that it is a part of, whose time holds its own. */
  readonly within?: LocalNode | undefined
  /** The part of attention that it is, where one kernel attends. */
  readonly attention?: AttentionPart | undefined
}

export interface Kernels {
  /** In the order in which they are written. */
  readonly kernels: readonly Kernel[]
  /** The values in memory that results are, or are computed from on the way. */
  readonly kept: ReadonlySet<LocalNode>
}

/** Follows what only changes how a value is seen; results of loops are followed by `project`. */
export const seen = (n: LocalNode): LocalNode => (n.op !== 'project' && formOf(n) === 'view' ? seen(one(n.inputs[0])) : n)

/** The kernels of a body. `results` are to lie in memory, `stacked` go into a larger array; inputs in `sliced` are read from one. `written`: for which platform. */
export function kernelsOf(results: readonly LocalNode[], stacked: readonly LocalNode[] = [], sliced: ReadonlySet<LocalNode> = new Set(), written: Written = choices.cpu): Kernels {
  const roots = [...results, ...stacked]
  const bounds = written.fusedAttention === undefined ? undefined : attentionKernels[written.fusedAttention]
  const { order, found: attending } = bounds === undefined ? { order: reachable(roots), found: new Map<LocalNode, AttentionPart>() } : attentionIn(reachable(roots), roots, () => true, bounds)
  const inputsOf = (n: LocalNode): readonly LocalNode[] => { const part = attending.get(n); return part === undefined ? n.inputs : readsOf(part) }
  const uses = new Map<LocalNode, Map<LocalNode | undefined, Use>>()
  const users = new Map<LocalNode, Set<LocalNode>>()
  const use = (n: LocalNode, u: Use): void => {
    const list = uses.get(n) ?? new Map<LocalNode | undefined, Use>()
    const old = list.get(u.by)
    list.set(u.by, old === undefined ? u : { by: u.by, needs: old.needs || u.needs, sums: old.sums && u.sums })
    uses.set(n, list)
  }
  for (const n of order) for (const i of inputsOf(n)) users.set(i, (users.get(i) ?? new Set()).add(n))
  for (const r of results) use(r, { by: undefined, needs: true, sums: false })
  for (const s of stacked) use(s, { by: undefined, needs: false, sums: false })

  const kernels: LocalNode[] = []
  const reads = new Map<LocalNode | undefined, Set<LocalNode>>()
  const read = (by: LocalNode | undefined, n: LocalNode): void => { reads.set(by, (reads.get(by) ?? new Set<LocalNode>()).add(n)) }
  // Operands that are read in another order than they lie in, by what they are made of; one that several read so is turned over once. Only nodes of one program have numbers of their own.
  const make = interner<LocalAttrs>(localInfer, () => undefined, new Map())
  const copies = new Map<LocalNode, Set<LocalNode>>()
  const program = new Set(order)
  const parts = new Map<LocalNode, LocalNode>()
  /** What is made here before such an operand, and that itself, the last first. */
  const madeFor = (operands: readonly LocalNode[]): readonly LocalNode[] => reachable(operands, x => !program.has(x)).filter(x => !program.has(x)).reverse()
  const spread = new Map<LocalNode, boolean>()
  const visit = (n: LocalNode): void => {
    const mine = [...uses.get(n)?.values() ?? []]
    if (n.op === 'project' || formOf(n) === 'kernel' || (n.op === 'input' && !sliced.has(n))) {
      for (const u of mine) read(u.by, n)
      if (n.op === 'project') use(one(n.inputs[0]), { by: n, needs: true, sums: false })
      else if (n.op !== 'input') {
        kernels.push(n)
        for (const x of attending.has(n) ? inputsOf(n) : operandsOf(n, make, written)) {
          use(x, { by: n, needs: true, sums: n.op === 'reduce' })
          const from = madeFor([x]).flatMap(made => made.inputs.filter(i => program.has(i)))[0]
          if (n.op === 'conv' && x.op === 'concat') for (const part of madeFor([x])) parts.set(part, n)
          if (from !== undefined) copies.set(from, (copies.get(from) ?? new Set<LocalNode>()).add(x))
        }
      }
      return
    }
    if (formOf(n) === 'view') {
      for (const u of mine) use(one(n.inputs[0]), u)
      return
    }
    const alone = (users.get(n)?.size ?? 0) === 1 && summed(n)
    const inMemory = mine.filter(u => u.needs && !(u.sums && alone))
    const stored = inMemory.length > 0 || (mine.length > 1 && isCostly(n))
    if (stored) kernels.push(n)
    // What is cheap is computed again by those that need not read it.
    const reading = !stored ? [] : isCostly(n) || (inMemory.length > 0 && readsMore(n)) ? mine : inMemory
    for (const u of reading) read(u.by, n)
    const again = mine.filter(u => !reading.includes(u))
    if (n.op === 'input') for (const u of again) read(u.by, n)
    for (const x of n.inputs) {
      // What is spread out twice, along two dims of images, would be computed at too many places: between them it lies in memory.
      const kept = (spreads(n) && spreadBefore(x, spread)) || (n.op === 'concat' && !program.has(n))
      if (stored) use(x, { by: n, needs: kept, sums: false })
      for (const u of again) use(x, { ...u, needs: u.sums || kept, sums: u.sums && !kept })
    }
  }
  for (const n of [...order].reverse()) {
    for (const made of madeFor([...copies.get(n) ?? []])) visit(made)
    visit(n)
  }
  return { kernels: kernels.reverse().map((node): Kernel => ({ node, reads: [...reads.get(node) ?? []], within: parts.get(node), attention: attending.get(node) })), kept: reads.get(undefined) ?? new Set() }
}
