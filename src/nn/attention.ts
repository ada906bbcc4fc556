/** Multi-head attention over named dims (Vaswani et al. 2017). */
import { hiddenName, names, type Dim, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { dimIn } from '../graph/infer/checks.ts'
import { userSite } from '../core/site.ts'
import { dropout, type Key } from '../graph/random.ts'
import { isTensor, loose, tensor, where } from '../graph/tensor.ts'
import type { AnyTensor, Minus, Tensor, Unsettled } from '../graph/types.ts'
import { softmax } from './functional.ts'
import { blockwise, type Blockwise } from './blockwise.ts'
import { checkContext, inContext, inWhole, type Context } from './context.ts'
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
  /** How a sequence that is split attends to itself, where a layout splits it: its keys lie along it too, or along a dim that is renamed to it. Then there is no `bias` and no `dropout`, and what is visible is said by `seeing`. */
  readonly context?: Context | undefined
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
  query: Tensor<Q>, key: Tensor<K>, value: Tensor<V>, over: { readonly headDim: DimLike<H>; readonly kvSeq: DimLike<T> }, options: AttentionOptions<M, B> = {},
): Tensor<Minus<Minus<Q | K, H> | V, T>> {
  const { visible, isolate, scale, softCap, bias, block, dropout: dropped, context } = options
  const headDim: Dim = dimIn(query.shape, over.headDim, 'attention', userSite)
  const kvSeq: string = dimIn(key.shape, over.kvSeq, 'attention', userSite).name
  if (scale !== undefined) positive('scale', scale)
  const [q, k, v] = [loose(loose(query).mul(scale ?? 1 / Math.sqrt(headDim.size))), loose(key), loose(value)]
  if (context !== undefined) return tensor(alongSplit(q, k, v, { headDim, kvSeq, context, options: options as unknown as AttentionOptions }).node)
  const added = bias === undefined ? undefined : loose(bias)
  if (block !== undefined && dropped === undefined) return tensor(inBlocks(q, k, v, { headDim, kvSeq: dimIn(key.shape, over.kvSeq, 'attention', userSite), block, visible, softCap, bias: added, isolate: isolate ?? (visible !== undefined && !isTensor(visible) && (visible as Visibility).isolate) }).node)
  const seen = visible === undefined || isTensor(visible) ? visible : visibleIn(visible as Visibility)
  const apart = isolate ?? (visible !== undefined && !isTensor(visible) && (visible as Visibility).isolate)
  if (seen !== undefined && apart && dropped === undefined) return tensor(isolated(q, k, v, loose(seen), { headDim: headDim.name, kvSeq, softCap, bias: added }).node)
  const scores = biased(cappedScores(q, k, headDim.name, softCap), added)
  const masked: Tensor<string> = seen === undefined ? scores : where(loose(seen), scores, -1e9)
  const shares = softmax(masked, kvSeq).cast(query.dtype)
  const taken = dropped === undefined ? shares : dropout(dropped.key, seen !== undefined && apart ? where(loose(seen), shares, 0) : shares, dropped.rate)
  return tensor(taken.dot(v, kvSeq).node)
}

/** Attention in context: what no form computes is refused. */
function alongSplit(q: Tensor<string>, k: Tensor<string>, v: Tensor<string>, { headDim, kvSeq, context, options }: { readonly headDim: Dim; readonly kvSeq: string; readonly context: Context; readonly options: AttentionOptions }): Tensor<string> {
  const { visible, isolate, softCap, bias, block, dropout: dropped } = options
  const wrong = (what: string, fix: string): DimError => new DimError({ code: 'option', what: `attention: context ${context.form}: ${what}`, fix, at: userSite() })
  if (bias !== undefined) throw wrong('a bias is given', 'leave out the bias, or the context')
  if (dropped !== undefined) throw wrong('shares are to be dropped', 'leave out the dropout, or the context')
  if (isTensor(visible)) throw wrong('what is visible is given as bools', 'say it by places, with seeing(seq, kvSeq, …); or leave out the context')
  const named = visible as Visibility | undefined
  const seq = dimIn(q.shape, named?.seq ?? 'seq', 'attention in context', userSite)
  checkContext(context, seq)
  checkBlock(block)
  const renamed = (x: AnyTensor): Tensor<string> => (kvSeq !== seq.name && names(x.shape).includes(kvSeq) ? loose(x).rename(kvSeq, seq.name) : loose(x))
  const [key, value] = [renamed(k), renamed(v)]
  const known = new Set(names(q.shape))
  for (const [side, x] of [['key', key], ['value', value]] as const) {
    const length = dimIn(x.shape, seq.name, `attention in context: ${side}`, userSite).size
    if (length !== seq.size) throw wrong(`the ${side}s lie along ${length} places, the queries along ${seq.size}`, 'attend to the sequence itself, or leave out the context')
    if (x.shape.some(d => !known.has(d.name)) || !names(x.shape).includes(headDim.name)) throw wrong(`the ${side} has dims ${names(x.shape).join(' ')}, the query ${names(q.shape).join(' ')}`, `give both ${headDim.name}, and the ${side} no dim that the query has not`)
  }
  if (context.form === 'zigzag' && (named?.causal !== true || named.keys.prefix !== undefined)) throw wrong(named?.keys.prefix === undefined ? 'attention is not causal' : 'a prefix is seen from before it', 'give form ring: zigzag balances what a causal mask leaves')
  const keys = Object.fromEntries(Object.entries(named?.keys ?? {}).map(([name, x]) => [name, renamed(x as AnyTensor)])) as Visibility['keys']
  const seen = named === undefined ? undefined : { ...named, keys }
  const how = { headDim, seq, context, visible: seen, block, softCap, isolate: isolate ?? named?.isolate ?? false }
  if (context.form !== 'ulysses') return inContext(q, key, value, how)
  return inWhole(q, key, value, how, (q, k, v, { kvSeq, visible }) => {
    const whole = { visible: visible ?? seeing(dimIn(q.shape, hiddenName(seq.name, 'queries'), 'attention'), kvSeq, { causal: false }), isolate: how.isolate, scale: 1, ...(softCap === undefined ? {} : { softCap }), ...(block === undefined ? {} : { block }) }
    return loose(attention<string, string, string, string, string>(q, k, v, { headDim: headDim.name, kvSeq: kvSeq.name }, whole))
  })
}
function checkBlock(block: number | undefined): void {
  if (block !== undefined && !(Number.isInteger(block) && block > 0)) throw new DimError({ code: 'option', what: `attention: block is ${shown(block)}`, fix: 'give a whole number of positions, 1 or more', at: userSite() })
}

/** Which dim the queries lie along is what `visible` says, or `seq`. @throws DimError where a block is none */
function inBlocks(q: Tensor<string>, k: Tensor<string>, v: Tensor<string>, how: Omit<Blockwise, 'seq'>): Tensor<string> {
  checkBlock(how.block)
  const seq = dimIn(q.shape, how.visible === undefined || isTensor(how.visible) ? 'seq' : (how.visible as Visibility).seq, 'attention in blocks', userSite)
  return blockwise(q, k, v, { ...how, seq })
}

export interface SelfAttentionOptions<M extends string, B extends string = string> extends Seeing<M>, ScoreOptions<B> {}

/** Attention of a sequence to itself. x: any dims with `seq` and `embed`. @throws DimError as `attention` */
export function selfAttention<D extends string, S extends D, T extends string, E extends D, H extends string, K extends string, B extends string = never>(
  x: Tensor<D>, w: NoInfer<HeadWeights<E, H, K>>, d: HeadDims<S, T, E, H, K>, options: SelfAttentionOptions<NoInfer<Minus<D, E>>, B> = {},
): Tensor<D> {
  const { causal, window, prefix, segments, ...scoring } = options as unknown as SelfAttentionOptions<string>
  const seen = { ...(causal === undefined ? {} : { causal }), ...(window === undefined ? {} : { window }), ...(prefix === undefined ? {} : { prefix }), ...(segments === undefined ? {} : { segments }) }
  // Keys of a sequence that is split lie as it does.
  if (scoring.context !== undefined) return attend(x, x, w as unknown as ProjectionWeights, { ...d, kvSeq: d.seq }, { visible: seeing(d.seq, d.seq, seen), ...scoring })
  return attend(x, loose(x).rename(d.seq.name, d.kvSeq.name as never), w as unknown as ProjectionWeights, d, { visible: seeing(d.seq, d.kvSeq, seen), ...scoring })
}

/**
 * Attention of x to another sequence, `memory`, whose positions lie along `kvSeq`. What `keep` (bools) leaves out is not seen, as padding is,
 * whatever it holds. x: any dims with `seq` and `embed`. @throws DimError as `attention`
 */
export function crossAttention<D extends string, S extends D, M extends string, T extends M, E extends D & M, H extends string, K extends string, B extends string = never>(
  x: Tensor<D>, memory: Tensor<M>, w: NoInfer<HeadWeights<E, H, K>>, d: HeadDims<S, T, E, H, K>, { keep, ...scoring }: { readonly keep?: Tensor<NoInfer<Minus<M, E>>> } & ScoreOptions<B> = {},
): Tensor<D> {
  if ((scoring as { readonly context?: Context }).context !== undefined) throw new DimError({ code: 'option', what: 'crossAttention: context is given, and keys are of another sequence', fix: 'leave it out: a sequence attends so to itself', at: userSite() })
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
