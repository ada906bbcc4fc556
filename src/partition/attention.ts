/** Attention in a device's program, forward and back, that one call of a kernel computes without ever holding the scores (Dao et al. 2022): found by what `attention` of meshwork/nn and the gradient of its softmax write. */
import { names, type Dim } from '../core/dim.ts'
import { isHalf } from '../core/dtype.ts'
import type { AttentionBounds } from '../core/platform.ts'
import { dtypeOf, operand, reachable, shapeOf } from '../graph/node.ts'
import type { LocalNode } from './local.ts'

type Kind = LocalNode['op']
const is = <K extends Kind>(n: LocalNode | undefined, op: K): n is Extract<LocalNode, { readonly op: K }> => n?.op === op
const inputOf = (n: LocalNode | undefined, i = 0): LocalNode | undefined => n?.inputs[i]
/** Without what spreads and reorders it. */
const bare = (n: LocalNode | undefined): LocalNode | undefined => (is(n, 'broadcast') ? bare(inputOf(n)) : n)
/** Without conversions: halves are widened for a product, and narrowed after one. */
const raw = (n: LocalNode | undefined): LocalNode | undefined => (is(n, 'convert') ? raw(inputOf(n)) : n)
/** The same numbers as they were before they were reordered, or widened from halves. */
const source = (n: LocalNode): LocalNode => {
  const from = inputOf(n)
  if (from === undefined) return n
  return is(n, 'broadcast') && shapeOf(n).length === shapeOf(from).length ? source(from) : is(n, 'convert') && dtypeOf(n) === 'f32' && isHalf(dtypeOf(from)) ? source(from) : n
}
const isConstant = (n: LocalNode | undefined, value: number): boolean => { const found = bare(n); return is(found, 'constant') && Number(found.attrs.value) === value }
const binary = (n: LocalNode | undefined, fn: string): n is Extract<LocalNode, { readonly op: 'binary' }> => is(n, 'binary') && n.attrs.fn === fn
const reduced = (n: LocalNode | undefined, kind: string, over: string): LocalNode | undefined => { const found = bare(n); return is(found, 'reduce') && found.attrs.kind === kind && found.attrs.over.join() === over ? inputOf(found) : undefined }
const sameNames = (a: readonly string[], b: readonly string[]): boolean => [...a].sort().join() === [...b].sort().join()

/** What the shares of a softmax are made of, and what is made with them. */
export interface Attention {
  readonly shares: LocalNode
  readonly query: LocalNode
  readonly key: LocalNode
  readonly causal: boolean
  readonly mask: LocalNode | undefined
  readonly dims: { readonly batch: readonly Dim[]; readonly heads: Dim; readonly seq: Dim; readonly groups: readonly Dim[]; readonly kvSeq: Dim; readonly headDim: Dim }
  value?: LocalNode
  /** The cotangent of the result, where a gradient is made here; it makes the result again where it does not hang on that. */
  cotangent?: LocalNode
  again?: boolean
}
/** A contraction that a call gives: the result, or the cotangent of an operand. */
export interface AttentionPart { readonly of: Attention; readonly role: 'result' | 'query' | 'key' | 'value' }

/** Whether a query sees the keys up to its own place, and no others. */
const isCausal = (mask: LocalNode | undefined, seq: Dim, kvSeq: Dim): boolean => {
  const found = bare(mask)
  const [row, column] = [bare(inputOf(found)), bare(inputOf(found, 1))]
  return is(found, 'compare') && found.attrs.direction === 'GE' && is(row, 'iota') && row.attrs.dim.name === seq.name && is(column, 'iota') && column.attrs.dim.name === kvSeq.name && seq.size === kvSeq.size
}

function attentionOf(shares: LocalNode, kernel: AttentionBounds): Attention | undefined {
  const exponents = inputOf(shares)
  const below = inputOf(exponents)
  const masked = inputOf(below)
  const over = bare(inputOf(shares, 1))
  if (!binary(shares, 'div') || !is(over, 'reduce')) return undefined
  const [kv = '', ...more] = over.attrs.over
  if (more.length > 0 || reduced(inputOf(shares, 1), 'sum', kv) !== exponents || !is(exponents, 'unary') || exponents.attrs.fn !== 'exp' || !binary(below, 'sub') || reduced(inputOf(below, 1), 'max', kv) !== masked) return undefined
  const mask = is(masked, 'select') && isConstant(inputOf(masked, 2), -1e9) ? inputOf(masked) : undefined
  const product = raw(mask === undefined ? masked : inputOf(masked, 1))
  if (!is(product, 'dot') || product.attrs.over.length !== 1) return undefined
  const [query, key] = [source(operand(product, 0)), source(operand(product, 1))]
  if (!kernel.dtypes.includes(dtypeOf(query)) || dtypeOf(query) !== dtypeOf(key)) return undefined
  const [a, b] = [shapeOf(query), shapeOf(key)]
  const headDim = a.find(d => d.name === product.attrs.over[0])
  const shared = a.filter(d => d !== headDim && names(b).includes(d.name))
  const own = (shape: readonly Dim[]): Dim[] => shape.filter(d => d.name !== headDim?.name && !names(shared).includes(d.name))
  const [rows, [kvSeq, ...otherColumns], heads, seen] = [own(a), own(b), shared.at(-1), bare(mask)]
  // Who sees what is said of places; of several dims without such a word any may be the one.
  const seq = rows.find(d => seen !== undefined && reachable([seen]).some(n => names(shapeOf(n)).includes(d.name))) ?? rows[0]
  const groups = rows.filter(d => d !== seq)
  if (headDim === undefined || seq === undefined || kvSeq?.name !== kv || heads === undefined || otherColumns.length > 0 || (groups.length > 0 && !kernel.groups)) return undefined
  const fits = headDim.size <= kernel.most && headDim.size % kernel.multipleOf === 0 && seq.size % kernel.lengths === 0 && kvSeq.size % kernel.lengths === 0
  const causal = isCausal(mask, seq, kvSeq)
  const batch = shared.slice(0, -1)
  const sees = seen === undefined || causal || (kernel.masks && names(shapeOf(seen)).every(name => names([...batch, seq, kvSeq]).includes(name)))
  return fits && sees ? { shares, query, key, causal, mask: seen, dims: { batch, heads, seq, groups, kvSeq, headDim } } : undefined
}

/** What the cotangent of the scores is of: the shares, and the product of values with the cotangent of the result. */
function cotangentOf(scores: LocalNode | undefined): { readonly shares: LocalNode; readonly product: LocalNode<'dot'>; readonly mask: LocalNode | undefined } | undefined {
  const n = raw(scores)
  const mask = is(n, 'select') && isConstant(inputOf(n, 2), 0) ? inputOf(n) : undefined
  const scaled = mask === undefined ? n : inputOf(n, 1)
  const [shares, rest] = [inputOf(scaled), inputOf(scaled, 1)]
  const product = inputOf(rest)
  if (!binary(scaled, 'mul') || shares === undefined || !binary(rest, 'sub') || !is(product, 'dot')) return undefined
  const sum = bare(inputOf(rest, 1))
  const both = is(sum, 'reduce') && sum.attrs.kind === 'sum' ? inputOf(sum) : undefined
  return binary(both, 'mul') && both.inputs.includes(product) && both.inputs.includes(shares) ? { shares, product, mask: bare(mask) } : undefined
}

/** By the contractions of a body, those that calls give. */
function partsOf(order: readonly LocalNode[], kernel: AttentionBounds): Map<LocalNode, AttentionPart> {
  const found = new Map<LocalNode, AttentionPart>()
  const known = new Map<LocalNode, Attention | undefined>()
  const attention = (shares: LocalNode): Attention | undefined => {
    if (!known.has(shares)) known.set(shares, attentionOf(shares, kernel))
    return known.get(shares)
  }
  const dots = order.filter(n => n.op === 'dot')
  const alike = (x: LocalNode, of: Attention, like: readonly Dim[]): boolean => sameNames(names(shapeOf(x)), names([...of.dims.batch, of.dims.heads, ...like, of.dims.headDim]))
  const rowsOf = ({ dims: { seq, groups } }: Attention): Dim[] => [seq, ...groups]
  for (const n of dots) {
    const [left, right] = [raw(operand(n, 0)), source(operand(n, 1))]
    const of = left === undefined ? undefined : attention(left)
    if (of === undefined || n.attrs.over.join() !== of.dims.kvSeq.name || dtypeOf(right) !== dtypeOf(of.query) || !alike(right, of, [of.dims.kvSeq]) || (of.value !== undefined && of.value !== right)) continue
    of.value = right
    found.set(n, { of, role: 'result' })
  }
  for (const n of dots) {
    for (const [scores, other] of [[operand(n, 0), operand(n, 1)], [operand(n, 1), operand(n, 0)]] as const) {
      const way = cotangentOf(scores)
      const of = way === undefined ? undefined : attention(way.shares)
      if (way === undefined || of === undefined || way.mask !== of.mask || way.product.attrs.over.join() !== of.dims.headDim.name) continue
      const factors = way.product.inputs.map(source)
      const value = factors.find(v => dtypeOf(v) === dtypeOf(of.query) && alike(v, of, [of.dims.kvSeq]))
      const cotangent = factors.find(v => alike(v, of, rowsOf(of)))
      const role = source(other) === of.key && n.attrs.over.join() === of.dims.kvSeq.name ? 'query' : source(other) === of.query && sameNames(n.attrs.over, names(rowsOf(of))) ? 'key' : undefined
      if (role === undefined || value === undefined || cotangent === undefined || (of.value ?? value) !== value || (of.cotangent ?? cotangent) !== cotangent) continue
      of.value = value
      of.cotangent = cotangent
      found.set(n, { of, role })
    }
  }
  for (const n of dots) {
    const [left, right] = [raw(operand(n, 0)), raw(operand(n, 1))]
    for (const [shares, other] of [[left, operand(n, 1)], [right, operand(n, 0)]] as const) {
      const of = shares === undefined ? undefined : known.get(shares)
      if (of?.cotangent !== undefined && !found.has(n) && source(other) === of.cotangent && sameNames(n.attrs.over, names(rowsOf(of)))) found.set(n, { of, role: 'value' })
    }
  }
  for (const [n, { of, role }] of found) if (role === 'result' && of.cotangent !== undefined && kernel.again) of.again = !reachable([of.cotangent]).includes(n)
  return found
}

/** What a call reads. */
export const readsOf = ({ of, role }: AttentionPart): LocalNode[] => [of.query, of.key, of.value, of.causal ? undefined : of.mask, role === 'result' && of.again !== true ? undefined : of.cotangent].filter(n => n !== undefined)

/** What is left of a body where calls attend. */
export interface Attending {
  readonly found: ReadonlyMap<LocalNode, AttentionPart>
  /** The nodes that are still needed, each behind what it reads. */
  readonly order: readonly LocalNode[]
}
/** The contractions that calls give. Attention whose shares something else needs is none that a call gives. */
export function attentionIn(order: readonly LocalNode[], roots: readonly LocalNode[], within: (n: LocalNode) => boolean, kernel: AttentionBounds): Attending {
  const found = partsOf(order, kernel)
  for (;;) {
    if (found.size === 0) return { found, order }
    const left = reachable(roots, within, n => { const part = found.get(n); return part === undefined ? n.inputs : readsOf(part) })
    const there = new Set(left)
    const kept = [...found].filter(([, { of }]) => there.has(of.shares)).map(([n]) => n)
    if (kept.length === 0) return { found, order: left }
    for (const n of kept) found.delete(n)
  }
}
