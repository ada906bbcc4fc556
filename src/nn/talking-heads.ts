/** Talking-heads attention (Shazeer et al. 2020): heads exchange what they found, before the softmax and after it. */
import { type Dim, type DimLike } from '../core/dim.ts'
import { userSite } from '../core/site.ts'
import { dimIn } from '../graph/infer/checks.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { isTensor, loose, tensor, where } from '../graph/tensor.ts'
import type { Minus, Tensor, Unsettled } from '../graph/types.ts'
import { softmax } from './functional.ts'
import { positive } from './scores.ts'
import { visibleIn, type Visibility } from './visible.ts'

export interface TalkingOptions<M extends string = string> {
  readonly scale?: number
  /** As `attention` has it. Where a position sees nothing its shares are even. */
  readonly visible?: Tensor<M> | Visibility
}

/** Weights by which heads are mixed. Heads may be of three numbers: those of queries and keys, those of the softmax, those of values. */
export interface HeadMixes<A extends string, B extends string> {
  /** Of the scores, over heads of the first and of the second kind. */
  readonly scores: Tensor<A>
  /** Of the shares, over heads of the second and of the third kind. */
  readonly shares: Tensor<B>
}
type Mixed<Q extends string, A extends string, B extends string, R extends string, P extends string, H extends string> = Minus<Minus<Minus<Q, R> | A, P> | B, H>

/**
 * value · (shares · softmax(scores · (query · key / √n))), the softmax over `kvSeq`: the equations of section 5 of the paper. Query and key have `keyHeads`, the softmax has
 * `heads`, and the heads of value are those of the result. With both weights the identity it is `attention`. The softmax, and what is mixed before it, is f32 of halves.
 * @throws DimError when a dim is missing
 */
export function talkingHeadsAttention<
  Q extends string, K extends string, V extends string, A extends string, B extends string,
  R extends (Q & K) | Unsettled<Q | K>, T extends (K & V) | Unsettled<K | V>, P extends (Q & A) | Unsettled<Q | A>, H extends (A & B) | Unsettled<A | B>, M extends string = never,
>(
  query: Tensor<Q>, key: Tensor<K>, value: Tensor<V>, weights: HeadMixes<A, B>,
  over: { readonly headDim: DimLike<R>; readonly kvSeq: DimLike<T>; readonly keyHeads: DimLike<P>; readonly heads: DimLike<H> }, { scale, visible }: TalkingOptions<M> = {},
): Tensor<Minus<Mixed<Q | K, A, B, R, P, H> | V, T>> {
  const [at, what] = [userSite(), 'talkingHeadsAttention']
  const headDim: Dim = dimIn(query.shape, over.headDim, what, at)
  const kvSeq: string = dimIn(key.shape, over.kvSeq, what, at).name
  const [keyHeads, heads]: readonly [string, string] = [dimIn(query.shape, over.keyHeads, what, at).name, dimIn(weights.scores.shape, over.heads, `${what}: the weights of scores`, at).name]
  dimIn(weights.scores.shape, keyHeads, `${what}: the weights of scores`, at)
  dimIn(weights.shares.shape, heads, `${what}: the weights of shares`, at)
  if (scale !== undefined) positive('scale', scale)
  const wide = sumsIn(query.dtype)
  const scores = loose(loose(query).mul(scale ?? 1 / Math.sqrt(headDim.size))).dot(loose(key), headDim.name).cast(wide)
  const mixed = loose(loose(scores).dot(loose(weights.scores).cast(wide), keyHeads))
  const seen = visible === undefined || isTensor(visible) ? visible : visibleIn(visible as Visibility)
  const masked: Tensor<string> = seen === undefined ? mixed : where(loose(seen), mixed, -1e9)
  const shares = loose(loose(softmax<string, string>(masked, kvSeq)).dot(loose(weights.shares).cast(wide), heads)).cast(query.dtype)
  return tensor(shares.dot(loose(value), kvSeq).node)
}
