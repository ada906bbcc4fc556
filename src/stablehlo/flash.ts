/** Attention as one call of a kernel of the platform's, forward and back. What it is found by is left out. The query is scaled before, so the call scales nothing. */
import { names, sizeOf, type Dim } from '../core/dim.ts'
import { dtypeOf, shapeOf } from '../graph/node.ts'
import type { Attending, Attention } from '../partition/attention.ts'
import type { LocalNode } from '../partition/local.ts'
import { cudnn, ourKernel } from './flash-calls.ts'
import type { Attended, FusedKernel, Given } from './flash-kernel.ts'
import type { Scope } from './scope.ts'
import { i64s, sizesOf, type Ssa, type Writer } from './writer.ts'

const sameNames = (a: readonly string[], b: readonly string[]): boolean => [...a].sort().join() === [...b].sort().join()

/** What calls of a body have given. */
interface Call { made?: Given; gradients?: readonly Ssa[] }
export interface Flashes {
  readonly kernel: FusedKernel
  readonly found: Attending['found']
  readonly calls: Map<Attention, Call>
  readonly written: (n: LocalNode) => Ssa | undefined
}

const kernels = { cuDNN: cudnn, 'our own': ourKernel } as const
/** Programs whose products are all our own kernels' attend by those that serve. */
export const attentionKernel = ({ choices: { fusedAttention }, kernels: built, origins }: Scope): FusedKernel | undefined =>
  (fusedAttention === undefined || (fusedAttention === 'our own' && !built) || origins !== undefined ? undefined : kernels[fusedAttention])

/** The contraction by a call; undefined where something that the call reads has not been written yet. */
export function emitFlash(n: LocalNode<'dot'>, w: Writer, { kernel, found: all, calls, written }: Flashes): Ssa | undefined {
  const found = all.get(n)
  if (found === undefined) return undefined
  const { of, role } = found
  const call = calls.get(of) ?? {}
  calls.set(of, call)
  const { batch, heads, seq, groups, kvSeq, headDim } = of.dims
  /** As the kernel takes it, of the dims that come between batch and size. */
  const laid = (node: LocalNode | undefined, inner: readonly Dim[], sizes: readonly number[]): Ssa | undefined => {
    const value = node === undefined ? undefined : written(node)
    if (node === undefined || value === undefined) return undefined
    const order = names([...batch, ...inner, headDim])
    return w.reshape(w.transpose(value, order.map(d => names(shapeOf(node)).indexOf(d))), [sizeOf(batch), ...sizes, headDim.size])
  }
  const rows = (node: LocalNode | undefined): Ssa | undefined => laid(node, [seq, heads, ...groups], [seq.size, heads.size, sizeOf(groups)])
  const columns = (node: LocalNode | undefined): Ssa | undefined => laid(node, [kvSeq, heads], [kvSeq.size, heads.size])
  const [q, k, v, mask] = [rows(of.query), columns(of.key), columns(of.value), of.causal || of.mask === undefined ? undefined : maskOf(of.mask, of, w, written)]
  if (q === undefined || k === undefined || v === undefined || (mask === undefined && of.mask !== undefined && !of.causal)) return undefined
  const attended: Attended = { q, k, v, mask, causal: of.causal }
  const forward = (): Given => call.made ??= kernel.forward(w, attended, of.cotangent !== undefined)
  /** What a call gives, as the node has it. */
  const given = (made: Ssa, length: Dim, more: readonly Dim[]): Ssa => {
    const dims = [...batch, ...kernel.gives === 'heads first' ? [heads, length] : [length, heads], ...more, headDim]
    const whole = w.reshape(made, sizesOf(dims))
    const ordered = w.transpose(whole, names(shapeOf(n)).map(d => names(dims).indexOf(d)))
    return ordered.dtype === dtypeOf(n) ? ordered : w.op('convert', [ordered], { sizes: ordered.sizes, dtype: dtypeOf(n) })
  }
  if (role === 'result' && of.again !== true) return given(forward().result, seq, groups)
  const d = rows(of.cotangent)
  if (d === undefined) return undefined
  call.gradients ??= kernel.backward(w, attended, d, { forward, wanted: of.again === true })
  const [dq, dk, dv, result] = call.gradients
  const made = { query: dq, key: dk, value: dv, result }[role]
  return made === undefined ? undefined : role === 'query' || role === 'result' ? given(made, seq, groups) : given(made, kvSeq, [])
}

/** [batch or 1, places, places of keys] of what is seen. */
function maskOf(mask: LocalNode, { dims: { batch, seq, kvSeq } }: Attention, w: Writer, written: Flashes['written']): Ssa | undefined {
  const value = written(mask)
  if (value === undefined) return undefined
  const own = names(shapeOf(mask))
  const outer = batch.some(d => own.includes(d.name)) ? batch : []
  const to = [...outer, seq, kvSeq]
  const spread = sameNames(own, names(to)) ? w.transpose(value, names(to).map(d => own.indexOf(d))) : w.op('broadcast_in_dim', [value], { sizes: sizesOf(to), dtype: 'bool' }, `broadcast_dimensions = ${i64s(own.map(d => names(to).indexOf(d)))}`)
  return w.reshape(spread, [sizeOf(outer), seq.size, kvSeq.size])
}
