/** T5 and Flan-T5 (Raffel et al. 2020; version 1.1 after Shazeer 2020): an encoder and a decoder whose attention knows positions by biases that all layers share. */
import { dims, type Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { input } from '../graph/input.ts'
import { initialisers, param } from '../graph/param.ts'
import { fold, type Key } from '../graph/random.ts'
import { scan } from '../graph/scan.ts'
import { iota, loose } from '../graph/tensor.ts'
import type { Scalar, Tensor } from '../graph/types.ts'
import { rmsNorm } from '../nn/functional.ts'
import { linear } from '../nn/linear.ts'
import { relativeBuckets } from '../nn/relative.ts'
import { keeping, seeing } from '../nn/visible.ts'
import { classOutcome, ignored } from './class-outcome.ts'
import { activations, type Activation } from './activation.ts'
import { dropped } from './encoder-blocks.ts'
import { heads, headsLinear } from './heads.ts'
import { inFull, type Model, type Precision } from './model.ts'

type Count = 'vocab' | 'source' | 'target' | 'encoderLayers' | 'decoderLayers' | 'embed' | 'heads' | 'headDim' | 'hidden' | 'buckets'
export type T5Config = { readonly [F in Count]: number } & {
  /** Distances from this on share a bucket. */
  readonly farthest: number
  /** Whether the feed-forward net's activation is a gate (version 1.1). */
  readonly gated: boolean
  readonly activation: Activation
  /** Whether the logits' weights are the tokens' embeddings, and logits are scaled by 1 / √embed. */
  readonly tied: boolean
  readonly epsilon: number
  /** The token that fills up a source, and is not seen. */
  readonly padding: number
  readonly dropout: number
}

type Dims = { readonly [N in Exclude<Count, 'encoderLayers' | 'decoderLayers'> | 'layers' | 'batch' | 'kvSource' | 'kvTarget']: Dim<N> }
/** Of an encoder and of a decoder: the same name in other sizes. */
type L = 'layers'
type Heads = { readonly [N in 'query' | 'key' | 'value' | 'out']: Tensor<L | 'embed' | 'heads' | 'headDim'> } & { readonly norm: Tensor<L | 'embed'> }
/** `gate` where it is gated, whose activation gates `up`. */
type FeedForward = { readonly norm: Tensor<L | 'embed'>; readonly up: Tensor<L | 'embed' | 'hidden'>; readonly gate?: Tensor<L | 'embed' | 'hidden'>; readonly down: Tensor<L | 'embed' | 'hidden'> }
type LayerFeed = { readonly norm: Tensor<'embed'>; readonly up: Tensor<'embed' | 'hidden'>; readonly gate?: Tensor<'embed' | 'hidden'>; readonly down: Tensor<'embed' | 'hidden'> }
type Bias = Tensor<'buckets' | 'heads'>
export type T5Params = {
  readonly tokens: Tensor<'vocab' | 'embed'>
  readonly encoder: { readonly self: Heads; readonly feed: FeedForward; readonly bias: Bias; readonly norm: Tensor<'embed'> }
  readonly decoder: { readonly self: Heads; readonly cross: Heads; readonly feed: FeedForward; readonly bias: Bias; readonly norm: Tensor<'embed'> }
  /** Where logits are not tied. */
  readonly out?: Tensor<'vocab' | 'embed'>
}
/** `target` is what was written so far, one token behind `labels`, beginning with the padding token; labels of −100 do not count. */
export type T5Batch = { readonly source: Tensor<'batch' | 'source'>; readonly target: Tensor<'batch' | 'target'>; readonly labels: Tensor<'batch' | 'target'> }
export type T5 = Model<T5Params, T5Batch, keyof Dims> & {
  readonly dims: Dims
  readonly tokensPerBatch: number
  /** batch source embed. */
  readonly encode: (params: T5Params, source: T5Batch['source'], key?: Key) => Tensor<'batch' | 'source' | 'embed'>
  /** batch target vocab. */
  readonly logits: (params: T5Params, batch: Omit<T5Batch, 'labels'>, key?: Key) => Tensor<'batch' | 'target' | 'vocab'>
}

function parameters({ vocab, embed, heads, headDim, hidden, buckets }: Dims, encoderLayers: Dim<L>, decoderLayers: Dim<L>, { gated, tied }: T5Config, dtype: DType): T5Params {
  const weight = (variance: number) => ({ dtype, init: initialisers.normal(Math.sqrt(variance)), decays: true })
  const gain = { dtype, init: 1 }
  const of = (l: Dim<L>) => {
    const norm = (name: string): Tensor<L | 'embed'> => param(`${name}.norm`, [l, embed], gain)
    const made = <A extends 'embed' | 'hidden' | 'heads' | 'headDim'>(name: string, rest: readonly Dim<A>[], variance: number): Tensor<L | A> => param<readonly Dim<L | A>[]>(name, [l, ...rest] as never, weight(variance))
    const project = (name: string, variance: number) => made(name, [heads, headDim, embed], variance)
    return {
      // Queries begin small instead of being divided by √headDim.
      heads: (name: string): Heads => ({
        norm: norm(name), query: project(`${name}.query`, 1 / (embed.size * headDim.size)), key: project(`${name}.key`, 1 / embed.size), value: project(`${name}.value`, 1 / embed.size),
        out: made(`${name}.out`, [embed, heads, headDim], 1 / (heads.size * headDim.size)),
      }),
      feed: (name: string): FeedForward => ({
        norm: norm(name), up: made(`${name}.up`, [hidden, embed], 1 / embed.size), ...(gated ? { gate: made(`${name}.gate`, [hidden, embed], 1 / embed.size) } : {}), down: made(`${name}.down`, [embed, hidden], 1 / hidden.size),
      }),
    }
  }
  const bias = (name: string): Bias => param(name, [buckets, heads], { ...weight(1 / embed.size), decays: false })
  const [e, d] = [of(encoderLayers), of(decoderLayers)]
  return {
    tokens: param('tokens', [vocab, embed], weight(1)),
    encoder: { self: e.heads('encoder.self'), feed: e.feed('encoder.feed'), bias: bias('encoder.bias'), norm: param('encoder.norm', [embed], gain) },
    decoder: { self: d.heads('decoder.self'), cross: d.heads('decoder.cross'), feed: d.feed('decoder.feed'), bias: bias('decoder.bias'), norm: param('decoder.norm', [embed], gain) },
    ...(tied ? {} : { out: param('out', [vocab, embed], weight(1 / embed.size)) }),
  }
}

const feedLinear = (side: string, gated: boolean): { readonly [path: string]: readonly string[] } =>
  ({ [`${side}.feed.up`]: ['embed'], ...(gated ? { [`${side}.feed.gate`]: ['embed'] } : {}), [`${side}.feed.down`]: ['hidden'] })

/** A model for batches of `batch` pairs of sequences. */
export function t5(config: T5Config, batch: number, { params: dtype, compute }: Precision = inFull): T5 {
  const { vocab, source, target, embed, heads: headCount, headDim, hidden, buckets, farthest, padding, epsilon, dropout: rate } = config
  const d: Dims = dims({ batch, vocab, source, target, layers: config.encoderLayers, embed, heads: headCount, headDim, hidden, buckets, kvSource: source, kvTarget: target })
  const [encoderLayers, decoderLayers]: readonly [Dim<L>, Dim<L>] = [d.layers, { name: 'layers', size: config.decoderLayers }]
  const drop = <D extends string>(key: Key | undefined, x: Tensor<D>, use: number): Tensor<D> => dropped(x, key, use, rate)
  const less = (key: Key | undefined, use: number) => ({ dropout: key === undefined || rate === 0 ? undefined : { key: fold(key, use), rate } })
  const ofLayer = (key: Key | undefined, use: number, index: Scalar): Key | undefined => (key === undefined ? undefined : fold(fold(key, use), index))
  const norm = <S extends string>(x: Tensor<'batch' | S | 'embed'>, gain: Tensor<'embed'>): Tensor<'batch' | S | 'embed'> => rmsNorm<'batch' | S | 'embed', 'embed'>(x, d.embed, gain, epsilon)
  const fed = <S extends 'source' | 'target'>(x: Tensor<'batch' | S | 'embed'>, w: LayerFeed, key: Key | undefined): Tensor<'batch' | S | 'embed'> => {
    const y = norm(x, w.norm) as Tensor<'batch' | 'embed'>
    const [act, up] = [activations[config.activation], linear(y, w.up, d.embed)]
    const found = w.gate === undefined ? act(up) : act(linear(y, w.gate, d.embed)).mul(up)
    return linear(drop(key, found, 3), w.down, d.hidden) as Tensor<'batch' | S | 'embed'>
  }
  const on = (kvSeq: Dim) => ({ embed: d.embed, heads: d.heads, headDim: d.headDim, kvSeq })
  const biasOf = <S extends string, T extends string>(bias: Bias, seq: Dim<S>, kvSeq: Dim<T>, bothWays: boolean): Tensor<S | T | 'heads'> =>
    bias.cast(compute).take(d.buckets, relativeBuckets(seq, kvSeq, { count: buckets, farthest, bothWays })) as Tensor<S | T | 'heads'>
  const encode = (p: T5Params, tokens: T5Batch['source'], key?: Key): Tensor<'batch' | 'source' | 'embed'> => {
    const first = drop(key, p.tokens.take(d.vocab, tokens).cast(compute), 0)
    const keep = tokens.notEqual(padding).rename(d.source, d.kvSource)
    const bias = biasOf(p.encoder.bias, d.source, d.kvSource, true)
    const [last] = scan(encoderLayers, first, { self: p.encoder.self, feed: p.encoder.feed, index: iota(encoderLayers) }, (x, w) => {
      const k = ofLayer(key, 1, w.index)
      const here = norm<'source'>(x, w.self.norm)
      const y = x.add(drop(k, heads(here, here.rename(d.source, d.kvSource), w.self, on(d.kvSource), compute, { visible: keeping(d.source, d.kvSource, keep), bias: loose(bias), scale: 1, ...less(k, 4) }), 0))
      return [y.add(drop(k, fed<'source'>(y, w.feed, k), 1)), {}] as const
    })
    return drop(key, norm<'source'>(last, p.encoder.norm), 4)
  }
  const logits = (p: T5Params, given: Omit<T5Batch, 'labels'>, key?: Key): Tensor<'batch' | 'target' | 'vocab'> => {
    const [memory, keep] = [encode(p, given.source, key), given.source.notEqual(padding)]
    const first = drop(key, p.tokens.take(d.vocab, given.target).cast(compute), 2)
    const bias = biasOf(p.decoder.bias, d.target, d.kvTarget, false)
    const [last] = scan(decoderLayers, first, { self: p.decoder.self, cross: p.decoder.cross, feed: p.decoder.feed, index: iota(decoderLayers) }, (x, w) => {
      const k = ofLayer(key, 3, w.index)
      const here = norm<'target'>(x, w.self.norm)
      const y = x.add(drop(k, heads(here, here.rename(d.target, d.kvTarget), w.self, on(d.kvTarget), compute, { visible: seeing(d.target, d.kvTarget), bias: loose(bias), scale: 1, ...less(k, 4) }), 0))
      const z = y.add(drop(k, heads(norm<'target'>(y, w.cross.norm), memory, w.cross, on(d.source), compute, { visible: keeping(d.target, d.source, keep), scale: 1, ...less(k, 5) }), 1))
      return [z.add(drop(k, fed<'target'>(z, w.feed, k), 2)), {}] as const
    })
    const found = drop(key, norm<'target'>(last, p.decoder.norm), 5)
    return p.out === undefined ? found.mul(1 / Math.sqrt(embed)).dot(p.tokens.cast(compute), d.embed) : found.dot(p.out.cast(compute), d.embed)
  }
  const ids = <S extends 'source' | 'target'>(name: string, seq: Dim<S>): Tensor<'batch' | S> => input<readonly Dim<'batch' | S>[]>(name, [d.batch, seq] as never, 'i32')
  return {
    dims: d, params: parameters(d, encoderLayers, decoderLayers, config, dtype), itemsPerBatch: batch, ignored, tokensPerBatch: batch * (source + target), encode, logits,
    linear: {
      ...headsLinear('encoder.self'), ...headsLinear('decoder.self'), ...headsLinear('decoder.cross'),
      ...feedLinear('encoder', config.gated), ...feedLinear('decoder', config.gated),
    },
    batch: { source: ids('source', d.source), target: ids('target', d.target), labels: ids('labels', d.target) },
    loss: (p, { labels, ...given }, key) => classOutcome(logits(p, given, key), d.vocab, labels, key),
  }
}
