/** Multi-head attention over named dims (Vaswani et al. 2017). */
import { type Dim, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { dimIn } from '../graph/infer/checks.ts'
import { userSite } from '../core/site.ts'
import { dropout, type Key } from '../graph/random.ts'
import { isTensor, loose, tensor, where } from '../graph/tensor.ts'
import type { AnyTensor, Minus, Tensor, Unsettled } from '../graph/types.ts'
import { softmax } from './functional.ts'
import { blockwise, type Blockwise } from './blockwise.ts'
import { isolated } from './isolated.ts'
import { linear, type LinearWeight } from './linear.ts'
import { biased, cappedScores, positive } from './scores.ts'
import { keeping, seeing, visibleIn, type Seeing, type Visibility } from './visible.ts'

/** The dims of attention: names are free, as an encoder's and a decoder's differ. */
export interface HeadDims<S extends string, T extends string, E extends string, H extends string, K extends string> {
  readonly seq: Dim<S>
  /** Where keys and values come from. In attention to itself as long as `seq`, under another name. */
  readonly kvSeq: Dim<T>
  readonly embed: Dim<E>
  readonly heads: Dim<H>
  readonly headDim: Dim<K>
}
export type AttentionDims = HeadDims<'seq', 'kvSeq', 'embed', 'heads', 'headDim'>
export interface HeadWeights<E extends string, H extends string, K extends string> {
  readonly query: Tensor<E | H | K>
  readonly key: Tensor<E | H | K>
  readonly value: Tensor<E | H | K>
  readonly out: Tensor<H | K | E>
  /** Added to what the weight of the same name gives. */
  readonly queryBias?: Tensor<H | K>
  readonly keyBias?: Tensor<H | K>
  readonly valueBias?: Tensor<H | K>
  readonly outBias?: Tensor<E>
}
export type AttentionWeights = HeadWeights<'embed', 'heads', 'headDim'>

/** How scores are made. */
export interface ScoreOptions<B extends string = string> {
  /** How many queries, and keys, are computed with at a time, so that the scores of all with all are never held: blockwise. All at once unless said, and where shares are dropped. It has a gradient, and that has none. */
  readonly block?: number
  /** What products of queries and keys are multiplied by: 1 / √n unless said, n the size of `headDim`. */
  readonly scale?: number
  /** cap · tanh(score / cap) in place of a score: none is beyond ±cap (Gemma 2). */
  readonly softCap?: number
  /** Added to the scores, over some of their dims: of distances, as ALiBi and T5 have it. It has a gradient. */
  readonly bias?: Tensor<B>
  /** Share of what queries take of values that is zeroed, the rest scaled up, as BERT and T5 are trained (Vaswani et al. 2017). Then the scores are held whole, and numbers must be finite. */
  readonly dropout?: { readonly key: Key; readonly rate: number } | undefined
}
export interface AttentionOptions<M extends string = string, B extends string = string> extends ScoreOptions<B> {
  /** What sees what: bools over dims of the scores, the queries' and the keys', or what `seeing` says of the places in a sequence. Everything unless said. */
  readonly visible?: Tensor<M> | Visibility
  /** What is not visible changes no bit of a result or a gradient, though it be infinite or NaN; who sees nothing gets 0. Costs two more passes over the scores. As `visible` has it unless said. */
  readonly isolate?: boolean
}

/**
 * softmax(query · key / √n) · value, n the size of `headDim`, over `kvSeq`: of each query the mean of the values whose keys fit it.
 * Dims that query, key and value share go elementwise (batch, heads). Where several heads of queries share keys and values (Shazeer 2019, Ainslie et al.
 * 2023) the query has a dim more than these: `kvHeads` and `group`. The softmax of halves is f32.
 * @throws DimError when query or key lacks `headDim`, or key or value `kvSeq`, or an option is none
 */
export function attention<Q extends string, K extends string, V extends string, H extends (Q & K) | Unsettled<Q | K>, T extends (K & V) | Unsettled<K | V>, M extends string = never, B extends string = never>(
  query: Tensor<Q>, key: Tensor<K>, value: Tensor<V>, over: { readonly headDim: DimLike<H>; readonly kvSeq: DimLike<T> }, { visible, isolate, scale, softCap, bias, block, dropout: dropped }: AttentionOptions<M, B> = {},
): Tensor<Minus<Minus<Q | K, H> | V, T>> {
  const headDim: Dim = dimIn(query.shape, over.headDim, 'attention', userSite())
  const kvSeq: string = dimIn(key.shape, over.kvSeq, 'attention', userSite()).name
  if (scale !== undefined) positive('scale', scale)
  const [q, k, v] = [loose(loose(query).mul(scale ?? 1 / Math.sqrt(headDim.size))), loose(key), loose(value)]
  const added = bias === undefined ? undefined : loose(bias)
  if (block !== undefined && dropped === undefined) return tensor(inBlocks(q, k, v, { headDim, kvSeq: dimIn(key.shape, over.kvSeq, 'attention', userSite()), block, visible, softCap, bias: added, isolate: isolate ?? (visible !== undefined && !isTensor(visible) && (visible as Visibility).isolate) }).node)
  const seen = visible === undefined || isTensor(visible) ? visible : visibleIn(visible as Visibility)
  const apart = isolate ?? (visible !== undefined && !isTensor(visible) && (visible as Visibility).isolate)
  if (seen !== undefined && apart && dropped === undefined) return tensor(isolated(q, k, v, loose(seen), { headDim: headDim.name, kvSeq, softCap, bias: added }).node)
  const scores = biased(cappedScores(q, k, headDim.name, softCap), added)
  const masked: Tensor<string> = seen === undefined ? scores : where(loose(seen), scores, -1e9)
  const shares = softmax(masked, kvSeq).cast(query.dtype)
  const taken = dropped === undefined ? shares : dropout(dropped.key, seen !== undefined && apart ? where(loose(seen), shares, 0) : shares, dropped.rate)
  return tensor(taken.dot(v, kvSeq).node)
}

/** Which dim the queries lie along is what `visible` says, or `seq`. @throws DimError where a block is none */
function inBlocks(q: Tensor<string>, k: Tensor<string>, v: Tensor<string>, how: Omit<Blockwise, 'seq'>): Tensor<string> {
  if (!(Number.isInteger(how.block) && how.block > 0)) throw new DimError({ code: 'option', what: `attention: block is ${shown(how.block)}`, fix: 'give a whole number of positions, 1 or more', at: userSite() })
  const seq = dimIn(q.shape, how.visible === undefined || isTensor(how.visible) ? 'seq' : (how.visible as Visibility).seq, 'attention in blocks', userSite())
  return blockwise(q, k, v, { ...how, seq })
}

export interface SelfAttentionOptions<M extends string, B extends string = string> extends Seeing<M>, ScoreOptions<B> {}

/** Attention of a sequence to itself. x: any dims with `seq` and `embed`. @throws DimError as `attention` */
export function selfAttention<D extends string, S extends D, T extends string, E extends D, H extends string, K extends string, B extends string = never>(
  x: Tensor<D>, w: NoInfer<HeadWeights<E, H, K>>, d: HeadDims<S, T, E, H, K>, options: SelfAttentionOptions<NoInfer<Minus<D, E>>, B> = {},
): Tensor<D> {
  const { causal, window, prefix, segments, ...scoring } = options as unknown as SelfAttentionOptions<string>
  const seen = { ...(causal === undefined ? {} : { causal }), ...(window === undefined ? {} : { window }), ...(prefix === undefined ? {} : { prefix }), ...(segments === undefined ? {} : { segments }) }
  return attend(x, loose(x).rename(d.seq.name, d.kvSeq.name as never), w as unknown as ProjectionWeights, d, { visible: seeing(d.seq, d.kvSeq, seen), ...scoring })
}

/**
 * Attention of x to another sequence, `memory`, whose positions lie along `kvSeq`. What `keep` (bools) leaves out is not seen, as padding is,
 * whatever it holds. x: any dims with `seq` and `embed`. @throws DimError as `attention`
 */
export function crossAttention<D extends string, S extends D, M extends string, T extends M, E extends D & M, H extends string, K extends string, B extends string = never>(
  x: Tensor<D>, memory: Tensor<M>, w: NoInfer<HeadWeights<E, H, K>>, d: HeadDims<S, T, E, H, K>, { keep, ...scoring }: { readonly keep?: Tensor<NoInfer<Minus<M, E>>> } & ScoreOptions<B> = {},
): Tensor<D> {
  return attend(x, memory, w as unknown as ProjectionWeights, d, { visible: keep === undefined ? seeing(d.seq, d.kvSeq, { causal: false }) : keeping(d.seq, d.kvSeq, keep), ...scoring as unknown as ScoreOptions })
}

/** Linear layers of any kind, and biases in the dtype that is computed with. */
export type ProjectionWeights = { readonly [N in 'query' | 'key' | 'value' | 'out']: LinearWeight<string> } & { readonly [N in 'queryBias' | 'keyBias' | 'valueBias' | 'outBias']?: AnyTensor }
/** What keys and values become before they are attended to: as a cache has it, with those of earlier tokens among them. */
export type Through = (keys: Tensor<string>, values: Tensor<string>) => { readonly keys: Tensor<string>; readonly values: Tensor<string> }
/** Attention of x over `from`, whose positions lie along `kvSeq`, between projections that are linear layers of any kind. */
export function attend<D extends string>(
  x: Tensor<D>, from: AnyTensor, w: ProjectionWeights, d: { readonly [N in 'kvSeq' | 'embed' | 'heads' | 'headDim']: Dim }, options: AttentionOptions, through: Through = (keys, values) => ({ keys, values }),
): Tensor<D> {
  const [here, there] = [loose(x), loose(from)]
  const [embed, heads, headDim] = [d.embed.name, d.heads.name, d.headDim.name]
  const projected = (x: Tensor<string>, weight: LinearWeight<string>, bias: AnyTensor | undefined, ...over: string[]): Tensor<string> => {
    const y: Tensor<string> = linear(x, weight, ...over)
    return bias === undefined ? y : y.add(loose(bias))
  }
  const { keys, values } = through(projected(there, w.key, w.keyBias, embed), projected(there, w.value, w.valueBias, embed))
  const found = attention(projected(here, w.query, w.queryBias, embed), keys, values, { headDim, kvSeq: d.kvSeq.name }, options)
  return tensor(projected(loose(found), w.out, w.outBias, heads, headDim).node)
}

/** Each position attends to itself and those before it. x: batch seq embed. */
export const causalAttention = (x: Tensor<'batch' | 'seq' | 'embed'>, w: AttentionWeights, d: AttentionDims): Tensor<'batch' | 'seq' | 'embed'> => selfAttention(x, w, d)
