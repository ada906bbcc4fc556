/** Multi-head attention over named dims (Vaswani et al. 2017). */
import type { Dim } from '../core/dim.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { broadcast, iota, where } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'
import { softmax } from './functional.ts'

export interface AttentionDims {
  readonly seq: Dim<'seq'>
  /** As long as `seq`, under another name: where keys and values come from. */
  readonly kvSeq: Dim<'kvSeq'>
  readonly embed: Dim<'embed'>
  readonly heads: Dim<'heads'>
  readonly headDim: Dim<'headDim'>
}
export interface AttentionWeights {
  readonly query: Tensor<'embed' | 'heads' | 'headDim'>
  readonly key: Tensor<'embed' | 'heads' | 'headDim'>
  readonly value: Tensor<'embed' | 'heads' | 'headDim'>
  readonly out: Tensor<'heads' | 'headDim' | 'embed'>
}

/** Each position attends to itself and those before it. x: batch seq embed. */
export function causalAttention(x: Tensor<'batch' | 'seq' | 'embed'>, w: AttentionWeights, d: AttentionDims): Tensor<'batch' | 'seq' | 'embed'> {
  const past = x.rename(d.seq, d.kvSeq)
  const query = x.dot(w.query, d.embed).mul(1 / Math.sqrt(d.headDim.size))
  const scores = query.dot(past.dot(w.key, d.embed), d.headDim) // batch heads seq kvSeq
  const visible = broadcast(iota(d.seq), [d.seq, d.kvSeq]).greaterEqual(iota(d.kvSeq))
  const masked = where(visible, scores.cast(sumsIn(x.dtype)), -1e9)
  return softmax(masked, d.kvSeq).cast(x.dtype).dot(past.dot(w.value, d.embed), d.kvSeq).dot(w.out, d.heads, d.headDim)
}
