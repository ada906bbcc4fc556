/** Talking-heads attention (Shazeer et al. 2020): heads exchange what they found, before the softmax and after it. */
import { type Dim, type DimLike } from '../core/dim.ts'
import { userSite } from '../core/site.ts'
import { dimIn } from '../graph/infer/checks.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { isTensor, loose, tensor, where } from '../graph/tensor.ts'
import type { AnyTensor, Tensor } from '../graph/types.ts'
import { softmax } from './functional.ts'
import { positive } from './scores.ts'
import { visibleIn, type Visibility } from './visible.ts'

/** Weights by which heads are mixed. Three kinds of heads may be of three numbers: those of queries and keys, of the softmax, of values. */
export interface TalkingHeads<K extends string = string, H extends string = string, V extends string = string> {
  /** Of the scores: `keyHeads` `heads`. */
  readonly scores: Tensor<K | H>
  /** Of the shares: `heads` `valueHeads`. */
  readonly shares: Tensor<H | V>
}
export interface TalkingOptions<M extends string = string> {
  readonly scale?: number
  /** As `attention` has it. Where a position sees nothing its shares are even. */
  readonly visible?: Tensor<M> | Visibility
}

/**
 * value · (shares · softmax(scores · (query · key / √n))), the softmax over `kvSeq`: the equations of section 5 of the paper. Query and key have `keyHeads`, value has
 * `valueHeads`, which the result has too. With both weights the identity it is `attention`. The softmax, and what is mixed before it, is f32 of halves.
 * @throws DimError when a dim is missing
 */
export function talkingHeadsAttention(
  query: AnyTensor, key: AnyTensor, value: AnyTensor, weights: { readonly scores: AnyTensor; readonly shares: AnyTensor },
  over: { readonly headDim: DimLike<string>; readonly kvSeq: DimLike<string>; readonly keyHeads: DimLike<string>; readonly heads: DimLike<string> }, { scale, visible }: TalkingOptions = {},
): Tensor<string> {
  const at = userSite()
  const headDim: Dim = dimIn(query.shape, over.headDim, 'talkingHeadsAttention', at)
  const [kvSeq, keyHeads, heads] = [dimIn(key.shape, over.kvSeq, 'talkingHeadsAttention', at).name, dimIn(query.shape, over.keyHeads, 'talkingHeadsAttention', at).name, dimIn(weights.scores.shape, over.heads, 'talkingHeadsAttention', at).name]
  dimIn(weights.scores.shape, keyHeads, 'talkingHeadsAttention: the weights of scores', at)
  dimIn(weights.shares.shape, heads, 'talkingHeadsAttention: the weights of shares', at)
  if (scale !== undefined) positive('scale', scale)
  const wide = sumsIn(query.dtype)
  const scores = loose(query).mul(scale ?? 1 / Math.sqrt(headDim.size)).dot(loose(key), headDim.name).cast(wide)
  const mixed = loose(loose(scores).dot(loose(weights.scores).cast(wide), keyHeads))
  const seen = visible === undefined || isTensor(visible) ? visible : visibleIn(visible as Visibility)
  const masked: Tensor<string> = seen === undefined ? mixed : where(loose(seen), mixed, -1e9)
  const shares = loose(loose(softmax<string, string>(masked, kvSeq)).dot(loose(weights.shares).cast(wide), heads)).cast(query.dtype)
  return tensor(loose(shares.dot(loose(value), kvSeq)).node)
}
