/** Attention as a layer: projections that are linear layers, of whatever their weights are made, around attention. */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { loose } from '../graph/tensor.ts'
import type { AnyTensor, Tensor } from '../graph/types.ts'
import { attend, type AttentionOptions, type ProjectionWeights } from '../nn/attention.ts'
import type { LinearWeight } from '../nn/linear.ts'
import { blocksOf } from './next-token.ts'

type Projection = 'embed' | 'heads' | 'headDim'
type Weight = LinearWeight<Projection>
export type HeadsWeights = {
  readonly query: Weight
  readonly key: Weight
  readonly value: Weight
  readonly out: Weight
  readonly queryBias?: Tensor<'heads' | 'headDim'>
  readonly keyBias?: Tensor<'heads' | 'headDim'>
  readonly valueBias?: Tensor<'heads' | 'headDim'>
}
export type HeadsDims = { readonly [N in Projection]: Dim<N> } & { readonly kvSeq: Dim }

/**
 * Heads of x over `from`, whose positions lie along `kvSeq`, projected back: what is added to the result comes after it, where it may lie otherwise.
 * x: `embed` and any other dims. @throws DimError as `attention`
 */
export function heads<D extends string>(x: Tensor<D>, from: AnyTensor, w: HeadsWeights, d: HeadsDims, compute: DType, options: AttentionOptions): Tensor<D> {
  const biases = Object.fromEntries((['queryBias', 'keyBias', 'valueBias'] as const).flatMap(name => { const bias = w[name]; return bias === undefined ? [] : [[name, loose(bias).cast(compute)] as const] }))
  // The bias of what comes out is the caller's to add.
  const { query, key, value, out } = w
  return attend(x, from, { query, key, value, out, ...biases } as unknown as ProjectionWeights, d, { ...blocksOf({ seq: d.kvSeq.size }), ...options })
}

/** What is linear in it, for a model's `linear`. */
export const headsLinear = (path: string): { readonly [path: string]: readonly string[] } => ({
  [`${path}.query`]: ['embed'], [`${path}.key`]: ['embed'], [`${path}.value`]: ['embed'], [`${path}.out`]: ['heads', 'headDim'],
})
