/** Attention as a layer: projections that are linear layers, of whatever their weights are made, around attention. */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { loose, tensor } from '../graph/tensor.ts'
import type { AnyTensor, Tensor } from '../graph/types.ts'
import { attention, type AttentionOptions } from '../nn/attention.ts'
import { linear, type LinearWeight } from '../nn/linear.ts'

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
  const projected = (y: AnyTensor, weight: Weight, bias: AnyTensor | undefined): Tensor<string> => {
    const found = loose(linear<string, string, string>(loose(y), weight as LinearWeight<string>, 'embed'))
    return bias === undefined ? found : found.add(loose(bias).cast(compute))
  }
  const [query, key, value] = [projected(x, w.query, w.queryBias), projected(from, w.key, w.keyBias), projected(from, w.value, w.valueBias)]
  const found = attention<string, string, string, string, string, string, string>(query, key, value, { headDim: 'headDim', kvSeq: d.kvSeq.name }, options)
  return tensor(linear<string, string, string>(loose(found), w.out as LinearWeight<string>, 'heads', 'headDim').node)
}

/** What is linear in it, for a model's `linear`. */
export const headsLinear = (path: string): { readonly [path: string]: readonly string[] } => ({
  [`${path}.query`]: ['embed'], [`${path}.key`]: ['embed'], [`${path}.value`]: ['embed'], [`${path}.out`]: ['heads', 'headDim'],
})
