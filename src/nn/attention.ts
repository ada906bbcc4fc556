/** Multi-head attention over named dims (Vaswani et al. 2017), and what sees what in it. */
import { type Dim, type DimLike } from '../core/dim.ts'
import { dimIn } from '../graph/infer/checks.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { userSite } from '../core/site.ts'
import { broadcastTo } from '../graph/make.ts'
import { iota, loose, tensor, where } from '../graph/tensor.ts'
import type { AnyTensor, Minus, Tensor, Unsettled } from '../graph/types.ts'
import { softmax } from './functional.ts'
import { isolated } from './isolated.ts'

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
}
export type AttentionWeights = HeadWeights<'embed', 'heads', 'headDim'>

export interface AttentionOptions<M extends string = string> {
  /** What sees what: bools over dims of the scores, the queries' and the keys'. Everything unless said. */
  readonly visible?: Tensor<M>
  /** What is not visible changes no bit of a result or a gradient, though it be infinite or NaN; who sees nothing gets 0. Costs two more passes over the scores. */
  readonly isolate?: boolean
}

/**
 * softmax(query · key / √n) · value, n the size of `headDim`, over `kvSeq`: of each query the mean of the values whose keys fit it.
 * Dims that query, key and value share go elementwise (batch, heads); the softmax of halves is f32.
 * @throws DimError when query or key lacks `headDim`, or key or value `kvSeq`
 */
export function attention<Q extends string, K extends string, V extends string, H extends (Q & K) | Unsettled<Q | K>, T extends (K & V) | Unsettled<K | V>, M extends string = never>(
  query: Tensor<Q>, key: Tensor<K>, value: Tensor<V>, over: { readonly headDim: DimLike<H>; readonly kvSeq: DimLike<T> }, { visible, isolate = false }: AttentionOptions<M> = {},
): Tensor<Minus<Minus<Q | K, H> | V, T>> {
  const headDim: Dim = dimIn(query.shape, over.headDim, 'attention', userSite())
  const kvSeq: string = dimIn(key.shape, over.kvSeq, 'attention', userSite()).name
  const [q, k, v] = [loose(loose(query).mul(1 / Math.sqrt(headDim.size))), loose(key), loose(value)]
  if (visible !== undefined && isolate) return tensor(isolated(q, k, v, loose(visible), { headDim: headDim.name, kvSeq }).node)
  const scores = q.dot(k, headDim.name).cast(sumsIn(query.dtype))
  const masked: Tensor<string> = visible === undefined ? scores : where(loose(visible), scores, -1e9)
  return tensor(softmax(masked, kvSeq).cast(query.dtype).dot(v, kvSeq).node)
}

export interface SelfAttentionOptions<M extends string> {
  /** Whether a position sees only itself and those before it; it does unless said. */
  readonly causal?: boolean
  /** Positions that all of their sequence see, those before them too (bools): a prefix, as of a question whose answer is learned (Raffel et al. 2020, prefix LM). */
  readonly prefix?: Tensor<M>
  /** Which document a position belongs to (i32). Documents do not see each other, and none changes a bit of another's results. */
  readonly segments?: Tensor<M>
}

/** The same along one dim more. */
const along = (x: AnyTensor, dim: Dim): Tensor<string> => tensor(broadcastTo(x.node, [...x.shape, dim]))

/** What sees what in a sequence, over `seq` and `kvSeq`; undefined where everything sees everything. */
function visibleIn(seq: Dim, kvSeq: Dim, { causal = true, prefix, segments }: SelfAttentionOptions<string>): Tensor<string> | undefined {
  const before = (): Tensor<string> => along(iota(seq), kvSeq).greaterEqual(loose(iota(kvSeq)))
  const atKeys = (x: AnyTensor): Tensor<string> => loose(x).rename(seq.name, kvSeq.name as never)
  const ordered = !causal ? undefined : prefix === undefined ? before() : along(atKeys(prefix), seq).or(before())
  if (segments === undefined) return ordered
  const same = along(segments, kvSeq).equal(along(atKeys(segments), seq))
  return ordered === undefined ? same : same.and(ordered)
}

/** Attention of a sequence to itself. x: any dims with `seq` and `embed`. @throws DimError as `attention` */
export function selfAttention<D extends string, S extends D, T extends string, E extends D, H extends string, K extends string>(
  x: Tensor<D>, w: NoInfer<HeadWeights<E, H, K>>, d: HeadDims<S, T, E, H, K>, options: SelfAttentionOptions<NoInfer<Minus<D, E>>> = {},
): Tensor<D> {
  const visible = visibleIn(d.seq, d.kvSeq, options as unknown as SelfAttentionOptions<string>)
  return attend(x, loose(x).rename(d.seq.name, d.kvSeq.name as never), w, d, { ...(visible === undefined ? {} : { visible }), isolate: options.segments !== undefined })
}

/**
 * Attention of x to another sequence, `memory`, whose positions lie along `kvSeq`. What `keep` (bools) leaves out is not seen, as padding is,
 * whatever it holds. x: any dims with `seq` and `embed`. @throws DimError as `attention`
 */
export function crossAttention<D extends string, S extends D, M extends string, T extends M, E extends D & M, H extends string, K extends string>(
  x: Tensor<D>, memory: Tensor<M>, w: NoInfer<HeadWeights<E, H, K>>, d: HeadDims<S, T, E, H, K>, { keep }: { readonly keep?: Tensor<NoInfer<Minus<M, E>>> } = {},
): Tensor<D> {
  return attend(x, memory, w, d, keep === undefined ? {} : { visible: along(keep, d.seq), isolate: true })
}

function attend<D extends string>(x: Tensor<D>, from: AnyTensor, w: { readonly [N in 'query' | 'key' | 'value' | 'out']: AnyTensor }, d: { readonly [N in 'kvSeq' | 'embed' | 'heads' | 'headDim']: Dim }, options: AttentionOptions): Tensor<D> {
  const [here, there] = [loose(x), loose(from)]
  const [embed, heads, headDim] = [d.embed.name, d.heads.name, d.headDim.name]
  const found = attention(here.dot(loose(w.query), embed), there.dot(loose(w.key), embed), there.dot(loose(w.value), embed), { headDim, kvSeq: d.kvSeq.name }, options)
  return tensor(loose(found).dot(loose(w.out), heads, headDim).node)
}

/** Each position attends to itself and those before it. x: batch seq embed. */
export const causalAttention = (x: Tensor<'batch' | 'seq' | 'embed'>, w: AttentionWeights, d: AttentionDims): Tensor<'batch' | 'seq' | 'embed'> => selfAttention(x, w, d)
