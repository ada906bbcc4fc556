/** What a device's program does, kernel by kernel, as a machine is asked the price of it: products by their sides, the rest by bytes and operations, collectives, turns of loops. */
import { names, sizeOf, type Dim } from '../core/dim.ts'
import { dtypes } from '../core/dtype.ts'
import type { Site } from '../core/errors.ts'
import { choices, type Written } from '../core/platform.ts'
import { bodiesOf, dtypeOf, operand, reachable, shapeOf, typeOf } from '../graph/node.ts'
import { convDims } from '../graph/windows.ts'
import { collectiveKind, type CollectiveKind } from '../partition/collectives.ts'
import type { AttentionPart } from '../partition/attention.ts'
import type { LocalBody, LocalNode } from '../partition/local.ts'
import type { Machine } from '../machine/machine.ts'
import { bytesOf, formOf, isCostly, kernelsOf, type Kernel } from './kernels.ts'
import type { Product, Turned } from './price.ts'
import { inRows, isTurned } from './rows.ts'
import { runsOf } from './turns.ts'
import { branchIn, waitingIn } from './waiting.ts'

/** Elementwise operations by their names and dtypes: how many of each. */
export type Operations = readonly (readonly [op: string, dtype: LocalNode['results'][number]['dtype'], count: number])[]

interface Doing { readonly times: number; readonly at: Site | undefined; readonly node: LocalNode }
/** What a kernel does. */
export type Task =
  | { readonly kind: 'product'; readonly product: Product }
  /** `scalar`: it computes one number at a time. */
  | { readonly kind: 'memory'; readonly bytes: number; readonly operations: Operations; readonly turned?: Turned; readonly scalar?: boolean }
  /** `waited`: whether computation waits for it, so that it cannot go on beside. */
  | { readonly kind: 'collective'; readonly collective: CollectiveKind; readonly axes: readonly string[]; readonly bytes: number; readonly waited: boolean }
  | { readonly kind: 'turn' }
/** One kernel, and how often it runs in a step. */
export type Work = Doing & Task

const size = (dims: readonly Dim[]): number => dims.reduce((n, d) => n * d.size, 1)

/** The sides of a contraction. */
export function productOf(n: LocalNode<'dot' | 'conv'>): Product {
  const [a, b] = [shapeOf(operand(n, 0)), shapeOf(operand(n, 1))]
  const dtype = dtypeOf(operand(n, 0))
  if (n.op === 'conv') {
    const { batch: examples, groups, over, features } = convDims(n.attrs, a, b)
    const windows = b.filter(d => n.attrs.windows.some(w => w.w === d.name))
    const batch = size(groups)
    const convolved = size(windows) > 1 ? Math.min(size(over), size(features), size(examples)) : undefined
    return { m: sizeOf(shapeOf(n)) / batch / size(features), n: size(features), k: size(over) * size(windows), batch, dtype, convolved }
  }
  const over: readonly string[] = n.attrs.over
  const [inA, inB] = [names(a), names(b)]
  const of = (dims: readonly Dim[], keep: (d: string) => boolean): number => size(dims.filter(d => keep(d.name)))
  const k = size([...new Map([...a, ...b].filter(d => over.includes(d.name)).map(d => [d.name, d])).values()])
  return { m: of(a, d => !over.includes(d) && !inB.includes(d)), n: of(b, d => !over.includes(d) && !inA.includes(d)), k, batch: of(a, d => !over.includes(d) && inB.includes(d)), dtype }
}

/** Products that a call of attention makes for each of what it gives: scores and result; scores again, the shares' cotangent and that of queries; one each for keys and values, and for the result where it is made again by the way. */
const attended: { readonly [R in AttentionPart['role']]: number } = { result: 2, query: 3, key: 1, value: 1 }
/** Of queries by keys, of which those that no query sees for being later are left out. */
function attendedBy({ of: { dims: { batch, heads, seq, groups, kvSeq, headDim }, causal, again }, role }: AttentionPart, n: LocalNode): Product {
  const products = role === 'result' && again === true ? 1 : attended[role]
  return { m: seq.size * size(groups), n: causal ? (kvSeq.size + 1) / 2 : kvSeq.size, k: headDim.size, batch: products * size(batch) * heads.size, dtype: dtypeOf(operand(n, 0)), attended: headDim.size }
}

/** Ops that read no more of an operand than they give. */
const parts: ReadonlySet<string> = new Set(['take', 'dynamicSlice', 'resample'])
const counted: ReadonlySet<string> = new Set(['unary', 'binary', 'compare', 'select', 'convert', 'threefry'])
const nameOf = (n: LocalNode): string => (n.op === 'unary' || n.op === 'binary' ? n.attrs.fn : n.op)

interface Fused { readonly read: ReadonlyMap<LocalNode, number>; readonly operations: Operations; readonly scalar: boolean }
const bytesIn = ({ read }: Pick<Fused, 'read'>): number => [...read.values()].reduce((a, b) => a + b, 0)

/** Ops that read their operand at another place than the one they are at. */
const elsewhere: ReadonlySet<string> = new Set(['resample', 'roll', 'reverse', 'concat', 'dynamicSlice', 'take'])
/** XLA fuses nothing into a kernel that would be written out there more often (`kAllowedCodeDuplication` of its fusion). */
const mostPlaces = 15

const lastDim = (n: LocalNode): string | undefined => names(shapeOf(n).filter(d => d.size > 1)).at(-1)

/** Whether it puts together along this dim what lies apart in a larger array, as tensors do that were gathered with others. */
function isPutTogether(n: LocalNode, along: string | undefined): boolean {
  if (n.op !== 'mergeDims' || n.attrs.into.name !== along) return false
  const { from } = n.attrs
  if (shapeOf(operand(n, 0)).filter(d => from.includes(d.name) && d.size > 1).length < 2) return false
  const cut = (x: LocalNode): boolean => (x.op === 'resample' ? sizeOf(shapeOf(x)) < sizeOf(shapeOf(operand(x, 0))) : (x.op === 'splitDim' || x.op === 'rename') && cut(operand(x, 0)))
  return cut(operand(n, 0))
}

/**
 * What a kernel reads, by the value, and what it computes on the way: its own node and those that are fused into it. What is read at several places, as a pool reads all elements of a window, is computed for each of them. Where numbers
 * that lie one after another in the result are put together of parts that lie apart, the kernel computes one at a time.
 */
function fusedInto({ node, reads }: Kernel): Fused {
  const inMemory = new Set(reads)
  /** Bytes, by the place where it is read. */
  const read = new Map<LocalNode, Map<number, number>>()
  const operations = new Map<string, [string, LocalNode['results'][number]['dtype'], number]>()
  const along = lastDim(node)
  let [scalar, places] = [false, 0]
  const done = new Map<LocalNode, Set<number>>()
  /** Where an op reads what it is given, by where it is itself. */
  const from = new Map<LocalNode, Map<number, number>>()
  const moved = (n: LocalNode, place: number): number => {
    const known = from.get(n) ?? new Map<number, number>()
    const found = known.get(place) ?? ++places
    from.set(n, known.set(place, found))
    return found
  }
  const { op } = node
  const turns = op === 'reduce' ? sizeOf(shapeOf(operand(node, 0))) : sizeOf(shapeOf(node))
  const innermost = op === 'reduce' ? lastDim(operand(node, 0)) : along
  /** XLA computes what is cheap for each number of the result, but for what is the same along the innermost loop. */
  const computed = (n: LocalNode, most: number, times: number): number => (isCostly(n) || !names(shapeOf(n)).includes(innermost ?? '') ? Math.min(most, sizeOf(shapeOf(n))) : times)
  /** Reads `most` numbers of it at the most, and computes it so many `times`. */
  const visit = (n: LocalNode, most: number, times: number, place: number): void => {
    if (inMemory.has(n) && n !== node) {
      const bytes = Math.min(sizeOf(shapeOf(n)), most) * dtypes[dtypeOf(n)].bytes
      const known = read.get(n) ?? new Map<number, number>()
      read.set(n, known.set(place, Math.max(known.get(place) ?? 0, bytes)))
      return
    }
    const before = done.get(n) ?? new Set<number>()
    if (before.has(place) || before.size >= mostPlaces || (n.op === 'project' && n !== node)) return
    done.set(n, before.add(place))
    scalar ||= isPutTogether(n, along)
    if (counted.has(n.op)) {
      const key = `${nameOf(n)} ${dtypeOf(n)}`
      operations.set(key, [nameOf(n), dtypeOf(n), (operations.get(key)?.[2] ?? 0) + computed(n, most, times)])
    }
    const next = elsewhere.has(n.op) ? moved(n, place) : place
    n.inputs.forEach((x, i) => {
      const share = Math.min(1, n.op === 'concat' || (n.op === 'resample' && i === 0) ? sizeOf(shapeOf(x)) / sizeOf(shapeOf(n)) : 1)
      visit(x, parts.has(n.op) && i === 0 ? Math.min(most, sizeOf(shapeOf(n))) : most, times * share, next)
    })
  }
  visit(node, Infinity, turns, 0)
  const whole = (n: LocalNode): number => sizeOf(shapeOf(n)) * dtypes[dtypeOf(n)].bytes
  return { read: new Map([...read].map(([n, places]) => [n, Math.min(whole(n), [...places.values()].reduce((a, b) => a + b, 0))])), operations: [...operations.values()], scalar }
}

const asScalar = ({ scalar }: Pick<Fused, 'scalar'>): { readonly scalar?: true } => (scalar ? { scalar } : {})

const resultBytes = (n: LocalNode): number => n.results.reduce((sum, t) => sum + bytesOf(t), 0)
/** What a kernel writes: some change a few elements of what they are given. */
function written(n: LocalNode): number {
  if (n.op === 'dynamicUpdate') return bytesOf(typeOf(operand(n, 1)))
  if (n.op === 'scatter') return bytesOf(typeOf(operand(n, 2)))
  if (n.op === 'scatterAdd') return bytesOf(typeOf(n)) + bytesOf(typeOf(operand(n, 1)))
  return resultBytes(n)
}
/** And reads beside what is fused into it: not the target that it changes. */
const target = (n: LocalNode): LocalNode | undefined => (n.op === 'dynamicUpdate' || n.op === 'scatter' ? n.inputs[0] : undefined)

/** Operations of those that are no map of elements, by their operand. */
function own(n: LocalNode): Operations {
  const [x] = n.inputs
  if (x === undefined) return []
  const [elements, dtype] = [sizeOf(shapeOf(x)), dtypeOf(x)]
  if (n.op === 'reduce') return [['reduce', dtype, elements]]
  if (n.op === 'cumulative') return [['cumulative', dtype, elements]]
  if (n.op === 'sort' || n.op === 'topK') return [['sort', dtype, elements * Math.log2(Math.max(2, shapeOf(x).find(d => d.name === n.attrs.dim)?.size ?? 2))]]
  if (n.op === 'scatter' || n.op === 'scatterAdd') return [['scatter', dtype, sizeOf(shapeOf(n.inputs.at(-1) ?? x))]]
  return []
}

/** Whether another dim lies last than before, so that what is read one after another is not written so. */
function isTurnedOver(n: LocalNode): boolean {
  const [x] = n.inputs
  if (n.op !== 'broadcast' || x === undefined) return false
  const last = (shape: readonly Dim[]): string | undefined => names(shape.filter(d => d.size > 1)).at(-1)
  return sizeOf(shapeOf(x)) === sizeOf(shapeOf(n)) && last(shapeOf(x)) !== last(shapeOf(n))
}

/**
 * Bytes of arrays that are turned over around a collective. Runtimes of processors put parts one behind the other: what goes together along a dim that is not the first is laid so that it is, before or after. An all-to-all has
 * both, each where its dim is not the first.
 */
const along: { readonly [op: string]: (n: LocalNode) => readonly (readonly [dim: string, of: LocalNode])[] } = {
  allGather: n => (n.op === 'allGather' ? [[n.attrs.dim, n]] : []),
  reduceScatter: n => (n.op === 'reduceScatter' ? [[n.attrs.dim, operand(n, 0)]] : []),
  allToAll: n => (n.op === 'allToAll' ? [[n.attrs.to, operand(n, 0)], [n.attrs.from, n]] : []),
}
export const turnedFor = (n: LocalNode): readonly number[] => (along[n.op]?.(n) ?? []).flatMap(([dim, x]) => (names(shapeOf(x).filter(d => d.size > 1))[0] === dim || shapeOf(x).length < 2 ? [] : [bytesOf(typeOf(x))]))

/** What decides which branch of a choice counts: operations, and bytes as ten each. */
const weight = (n: LocalNode): number => {
  if (n.op === 'dot' || n.op === 'conv') { const { m, n: columns, k, batch } = productOf(n); return 2 * m * columns * k * batch }
  return formOf(n) === 'kernel' && bodiesOf(n).length === 0 ? 10 * resultBytes(n) : 0
}

/** What a loop's turns give to the next ones: late in it, and waited for. */
const carriedBy = (body: LocalBody, carries: number): ReturnType<typeof branchIn> => [body.inputs.slice(0, carries), body.outputs.slice(0, carries)]

/** All that a program does in one run, by what is fused. What depends on what it is given is assumed as `turnsOf` does; what some devices alone do counts for all, who wait for it. `attends`: whether our own kernel attends. */
export function workOf(program: LocalBody, fusion: Machine['fusion'] = 'elements', attends = false): Work[] {
  const runs = runsOf(program, weight, 'waited')
  const work: Work[] = []
  const { convolutions, stacks } = choices[fusion === 'rows' ? 'other' : 'cpu']
  const written: Written = { convolutions, stacks, ...(attends ? { fusedAttention: 'our own' } : {}) }
  const entered = new Set<LocalBody>()
  const body = (b: LocalBody, results: readonly LocalNode[], stacked: readonly LocalNode[] = [], sliced: ReadonlySet<LocalNode> = new Set(), [late, needed]: ReturnType<typeof branchIn> = [[], []], loop?: LocalNode): void => {
    const times = runs.get(b) ?? 0
    if (entered.has(b) || times === 0) return
    entered.add(b)
    if (loop !== undefined) work.push({ kind: 'turn', times, at: loop.site, node: loop })
    const waiting = waitingIn(b, late, needed)
    const { kernels, kept } = kernelsOf(results, stacked, sliced, written)
    const inProgram: ReadonlySet<LocalNode> = new Set(fusion === 'rows' ? reachable(b.outputs) : [])
    const groups = fusion === 'rows' ? inRows(kernels.filter(k => !isTurned(k, inProgram))) : kernels.filter(k => k.within === undefined).map(k => [k])
    for (const group of groups) {
      const [kernel] = group
      if (kernel === undefined) continue
      if (group.length > 1) {
        work.push(asOne(group, { times, at: kernel.node.site, node: kernel.node }, outsideOf(group, kernels, kept)))
        continue
      }
      const { node: n } = kernel
      if (n.op === 'scan') {
        const { body: inside, carries, xs } = n.attrs
        body(inside, inside.outputs.slice(0, carries), inside.outputs.slice(carries), new Set(inside.inputs.slice(carries, carries + xs)), carriedBy(inside, carries), n)
      } else if (n.op === 'while') {
        body(n.attrs.body, n.attrs.body.outputs, [], new Set(), carriedBy(n.attrs.body, n.attrs.carries), n)
        body(n.attrs.condition, n.attrs.condition.outputs)
      } else if (bodiesOf(n).length > 0) for (const inside of bodiesOf(n)) body(inside, inside.outputs, [], new Set(), branchIn(n, inside, waiting), n)
      else work.push(...workIn(kernel, { times, at: n.site, node: n }, waiting.hidden, fusion))
    }
    // What a turn adds to stacks is computed into them.
    for (const s of stacked.filter(x => !kernels.some(k => k.node === x))) {
      const fused = fusedInto({ node: s, reads: readBy(s, kernels, b) })
      work.push({ times, at: s.site, node: s, kind: 'memory', bytes: bytesIn(fused) + bytesOf(typeOf(s)), operations: fused.operations, ...asScalar(fused) })
    }
  }
  body(program, program.outputs)
  return work
}

/** Of kernels that are one, the values that others read or the body gives. */
function outsideOf(group: readonly Kernel[], kernels: readonly Kernel[], kept: ReadonlySet<LocalNode>): readonly LocalNode[] {
  const inside = new Set(group)
  const read = new Set([...kept, ...kernels.flatMap(k => (inside.has(k) ? [] : k.reads))])
  return group.flatMap(({ node }) => (read.has(node) ? [node] : []))
}
/** Kernels as one: each value from outside is read once, and written is what others need. */
function asOne(group: readonly Kernel[], doing: Doing, results: readonly LocalNode[]): Work {
  const inside = new Set(group.map(k => k.node))
  const parts = group.map(fusedInto)
  const read = new Map<LocalNode, number>()
  for (const part of parts) for (const [n, bytes] of part.read) if (!inside.has(n)) read.set(n, Math.max(read.get(n) ?? 0, bytes))
  return { ...doing, kind: 'memory', bytes: bytesIn({ read }) + results.reduce((sum, n) => sum + bytesOf(typeOf(n)), 0), operations: [...parts.flatMap(p => p.operations), ...group.flatMap(k => own(k.node))], ...asScalar({ scalar: parts.some(p => p.scalar) }) }
}

/** Values in memory that a fused one is computed of. */
function readBy(n: LocalNode, kernels: readonly Kernel[], b: LocalBody): LocalNode[] {
  const stored = new Set<LocalNode>([...kernels.map(k => k.node), ...b.inputs])
  const found = new Set<LocalNode>()
  const open = [...n.inputs]
  for (let x = open.pop(); x !== undefined; x = open.pop()) {
    if (found.has(x)) continue
    if (stored.has(x) || x.op === 'project') found.add(x)
    else open.push(...x.inputs)
  }
  return stored.has(n) ? [n] : [...found]
}

function workIn(kernel: Kernel, doing: Doing, hidden: ReadonlySet<LocalNode>, fusion: Machine['fusion']): Work[] {
  const { node: n } = kernel
  if (n.op === 'barrier') return []
  // What a turn reads of a larger array is copied for those that read memory alone, such as a layer's weights for a product; libraries for accelerators read it as it lies.
  if (n.op === 'input') return fusion === 'rows' ? [] : [{ ...doing, kind: 'memory', bytes: 2 * bytesOf(typeOf(n)), operations: [] }]
  if (kernel.attention !== undefined) return [{ ...doing, kind: 'product', product: attendedBy(kernel.attention, n) }]
  if (n.op === 'dot' || n.op === 'conv') return [{ ...doing, kind: 'product', product: productOf(n) }]
  const collective = collectiveKind(n)
  if (collective !== undefined && 'axes' in n.attrs) {
    const bytes = bytesOf(typeOf(operand(n, 0)))
    return [{ ...doing, kind: 'collective', collective, axes: n.attrs.axes, bytes, waited: !hidden.has(n) }, ...(fusion === 'rows' ? [] : turnedFor(n)).map((copied): Work => ({ ...doing, kind: 'memory', bytes: 2 * copied, operations: [], turned: 'parts' }))]
  }
  const changed = target(n)
  const fused = fusedInto(changed === undefined ? kernel : { node: n, reads: kernel.reads })
  const bytes = bytesIn(fused)
  const kept = changed === undefined ? 0 : Math.min(bytes, bytesOf(typeOf(changed)))
  return [{ ...doing, kind: 'memory', bytes: bytes - kept + written(n), operations: [...fused.operations, ...own(n)], ...(isTurnedOver(n) ? { turned: true } : {}), ...asScalar(fused) }]
}
