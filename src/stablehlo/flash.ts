/**
 * Attention of halves, forward and back, as one call each that never holds the scores (Dao et al. 2022): cuDNN's, which XLA calls by name. Found by what `attention` of meshwork/nn and the gradient of
 * its softmax write; what they write is left out where nothing else uses it. The query is scaled before, so the call scales nothing.
 */
import { names, sizeOf, type Dim } from '../core/dim.ts'
import { isHalf } from '../core/dtype.ts'
import type { Choices } from '../core/platform.ts'
import { dtypeOf, operand, shapeOf } from '../graph/node.ts'
import type { LocalNode } from '../partition/local.ts'
import { backwardCall, forwardCall } from './flash-calls.ts'
import type { Ssa, Writer } from './writer.ts'

type Kind = LocalNode['op']
const is = <K extends Kind>(n: LocalNode | undefined, op: K): n is Extract<LocalNode, { readonly op: K }> => n?.op === op
const inputOf = (n: LocalNode | undefined, i = 0): LocalNode | undefined => n?.inputs[i]
/** Without the reorderings, and without the conversions: halves are widened for a product, and narrowed after one. */
const bare = (n: LocalNode | undefined): LocalNode | undefined => (is(n, 'broadcast') ? bare(inputOf(n)) : n)
const raw = (n: LocalNode | undefined): LocalNode | undefined => (is(n, 'convert') ? raw(inputOf(n)) : n)
const half = (n: LocalNode | undefined): LocalNode | undefined => (n !== undefined && isHalf(dtypeOf(n)) ? n : is(n, 'convert') ? half(inputOf(n)) : undefined)
const isConstant = (n: LocalNode | undefined, value: number): boolean => { const found = bare(n); return is(found, 'constant') && Number(found.attrs.value) === value }
const binary = (n: LocalNode | undefined, fn: string): n is Extract<LocalNode, { readonly op: 'binary' }> => is(n, 'binary') && n.attrs.fn === fn
const reduced = (n: LocalNode | undefined, kind: string, over: string): LocalNode | undefined => { const found = bare(n); return is(found, 'reduce') && found.attrs.kind === kind && found.attrs.over.join() === over ? inputOf(found) : undefined }

/** What the shares of a softmax are made of, and what is made with them. */
export interface Flash {
  readonly query: LocalNode
  readonly key: LocalNode
  readonly causal: boolean
  readonly mask: LocalNode | undefined
  readonly dims: { readonly batch: readonly Dim[]; readonly heads: Dim; readonly seq: Dim; readonly kvSeq: Dim; readonly headDim: Dim }
  value?: LocalNode
  /** The cotangent of the result, where a gradient is made here. */
  cotangent?: LocalNode
  made?: { readonly result: Ssa; readonly statistics: Ssa | undefined }
  gradients?: readonly Ssa[]
}
type Role = 'result' | 'query' | 'key' | 'value'
type Found = ReadonlyMap<LocalNode, { readonly of: Flash; readonly role: Role }>
export interface Flashes { readonly found: Found; readonly written: (n: LocalNode) => Ssa | undefined }

/** Whether a query sees the keys up to its own place, and no others. */
const isCausal = (mask: LocalNode | undefined, seq: Dim, kvSeq: Dim): boolean => {
  const found = bare(mask)
  const [row, column] = [bare(inputOf(found)), bare(inputOf(found, 1))]
  return is(found, 'compare') && found.attrs.direction === 'GE' && is(row, 'iota') && row.attrs.dim.name === seq.name && is(column, 'iota') && column.attrs.dim.name === kvSeq.name && seq.size === kvSeq.size
}

/** As the call bounds it. */
const lengths = 64

function flashOf(shares: LocalNode, { fusedAttention: bounds }: Choices): Flash | undefined {
  const exponents = inputOf(shares)
  const below = inputOf(exponents)
  const masked = inputOf(below)
  const over = bare(inputOf(shares, 1))
  if (bounds === undefined || !binary(shares, 'div') || !is(over, 'reduce')) return undefined
  const [kv = '', ...more] = over.attrs.over
  if (more.length > 0 || reduced(inputOf(shares, 1), 'sum', kv) !== exponents || !is(exponents, 'unary') || exponents.attrs.fn !== 'exp' || !binary(below, 'sub') || reduced(inputOf(below, 1), 'max', kv) !== masked) return undefined
  const mask = is(masked, 'select') && isConstant(inputOf(masked, 2), -1e9) ? inputOf(masked) : undefined
  const product = raw(mask === undefined ? masked : inputOf(masked, 1))
  if (!is(product, 'dot') || product.attrs.over.length !== 1) return undefined
  const [query, key] = [half(operand(product, 0)), half(operand(product, 1))]
  if (query === undefined || key === undefined || dtypeOf(query) !== dtypeOf(key)) return undefined
  const [a, b] = [shapeOf(query), shapeOf(key)]
  const headDim = a.find(d => d.name === product.attrs.over[0])
  const shared = a.filter(d => d !== headDim && names(b).includes(d.name))
  const own = (shape: readonly Dim[]): Dim[] => shape.filter(d => d.name !== headDim?.name && !names(shared).includes(d.name))
  const [[seq, ...otherRows], [kvSeq, ...otherColumns], heads] = [own(a), own(b), shared.at(-1)]
  if (headDim === undefined || seq === undefined || kvSeq?.name !== kv || heads === undefined || otherRows.length + otherColumns.length > 0) return undefined
  const fits = headDim.size <= bounds.most && headDim.size % bounds.multipleOf === 0 && seq.size % lengths === 0 && kvSeq.size % lengths === 0
  const causal = isCausal(mask, seq, kvSeq)
  return fits && (mask === undefined || causal) ? { query, key, causal, mask, dims: { batch: shared.slice(0, -1), heads, seq, kvSeq, headDim } } : undefined
}

/** What the cotangent of the scores is of: the shares, and the product of values with the cotangent of the result. */
function cotangentOf(n: LocalNode | undefined): { readonly shares: LocalNode; readonly product: LocalNode<'dot'>; readonly mask: LocalNode | undefined } | undefined {
  const mask = is(n, 'select') && isConstant(inputOf(n, 2), 0) ? inputOf(n) : undefined
  const scaled = mask === undefined ? n : inputOf(n, 1)
  const [shares, rest] = [inputOf(scaled), inputOf(scaled, 1)]
  const product = inputOf(rest)
  if (!binary(scaled, 'mul') || shares === undefined || !binary(rest, 'sub') || !is(product, 'dot')) return undefined
  const sum = bare(inputOf(rest, 1))
  const both = is(sum, 'reduce') && sum.attrs.kind === 'sum' ? inputOf(sum) : undefined
  return binary(both, 'mul') && both.inputs.includes(product) && both.inputs.includes(shares) ? { shares, product, mask } : undefined
}

/** By the contractions of a body, those that calls give. */
export function flashesIn(order: readonly LocalNode[], choices: Choices): Found {
  const found = new Map<LocalNode, { readonly of: Flash; readonly role: Role }>()
  if (choices.fusedAttention === undefined) return found
  const known = new Map<LocalNode, Flash | undefined>()
  const flash = (shares: LocalNode): Flash | undefined => {
    if (!known.has(shares)) known.set(shares, flashOf(shares, choices))
    return known.get(shares)
  }
  const dots = order.filter(n => n.op === 'dot')
  const alike = (x: LocalNode, of: Flash, like: readonly Dim[]): boolean => [...names(shapeOf(x))].sort().join() === names([...of.dims.batch, of.dims.heads, ...like, of.dims.headDim]).sort().join()
  for (const n of dots) {
    const [left, right] = [raw(operand(n, 0)), half(operand(n, 1))]
    const of = left === undefined ? undefined : flash(left)
    if (of === undefined || right === undefined || n.attrs.over.join() !== of.dims.kvSeq.name || dtypeOf(right) !== dtypeOf(of.query) || !alike(right, of, [of.dims.kvSeq]) || (of.value !== undefined && of.value !== right)) continue
    of.value = right
    found.set(n, { of, role: 'result' })
  }
  for (const n of dots) {
    for (const [scores, other] of [[operand(n, 0), operand(n, 1)], [operand(n, 1), operand(n, 0)]] as const) {
      const way = cotangentOf(scores)
      const of = way === undefined ? undefined : flash(way.shares)
      if (way === undefined || of === undefined || way.mask !== of.mask || way.product.attrs.over.join() !== of.dims.headDim.name) continue
      const value = way.product.inputs.map(half).find(v => v !== undefined && alike(v, of, [of.dims.kvSeq]))
      const cotangent = way.product.inputs.find(v => alike(v, of, [of.dims.seq]))
      const role = half(other) === of.key && n.attrs.over.join() === of.dims.kvSeq.name ? 'query' : half(other) === of.query && n.attrs.over.join() === of.dims.seq.name ? 'key' : undefined
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
      if (of?.cotangent !== undefined && !found.has(n) && other === of.cotangent && n.attrs.over.join() === of.dims.seq.name) found.set(n, { of, role: 'value' })
    }
  }
  return found
}

/** The contraction by a call; undefined where something that the call reads has not been written yet. */
export function emitFlash(n: LocalNode<'dot'>, w: Writer, { found: all, written }: Flashes): Ssa | undefined {
  const found = all.get(n)
  if (found === undefined) return undefined
  const { of, role } = found
  const { batch, heads, seq, kvSeq, headDim } = of.dims
  /** [batch, length, heads, headDim] of halves. */
  const laid = (node: LocalNode, length: Dim): Ssa | undefined => {
    const value = written(node)
    if (value === undefined) return undefined
    const order = names([...batch, length, heads, headDim])
    const ordered = w.reshape(w.transpose(value, order.map(d => names(shapeOf(node)).indexOf(d))), [sizeOf(batch), length.size, heads.size, headDim.size])
    const dtype = dtypeOf(of.query)
    return ordered.dtype === dtype ? ordered : w.op('convert', [ordered], { sizes: ordered.sizes, dtype })
  }
  const [q, k, v] = [laid(of.query, seq), laid(of.key, kvSeq), of.value === undefined ? undefined : laid(of.value, kvSeq)]
  if (q === undefined || k === undefined || v === undefined) return undefined
  const gradient = of.cotangent !== undefined
  of.made ??= forwardCall(w, q, k, v, { causal: of.causal, statistics: gradient })
  /** A call's [batch, heads, length, headDim] as the node has it. */
  const given = (made: Ssa, length: Dim): Ssa => {
    const dims = [...batch, heads, length, headDim]
    const whole = w.reshape(made, dims.map(d => d.size))
    const ordered = w.transpose(whole, names(shapeOf(n)).map(d => names(dims).indexOf(d)))
    return ordered.dtype === dtypeOf(n) ? ordered : w.op('convert', [ordered], { sizes: ordered.sizes, dtype: dtypeOf(n) })
  }
  if (role === 'result') return given(of.made.result, seq)
  const d = of.cotangent === undefined ? undefined : laid(of.cotangent, seq)
  if (d === undefined || of.made.statistics === undefined) return undefined
  of.gradients ??= backwardCall(w, [q, k, v], of.made.statistics, w.transpose(of.made.result, [0, 2, 1, 3]), d, of.causal)
  const [dq, dk, dv] = of.gradients
  const made = { query: dq, key: dk, value: dv }[role]
  return made === undefined ? undefined : given(made, role === 'query' ? seq : kvSeq)
}
