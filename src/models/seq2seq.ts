/** A sequence-to-sequence Transformer (Vaswani et al. 2017), pre-norm, with learned positions and one table for both embeddings and the head. */
import { z } from 'zod'
import { dims, type Dim } from '../core/dim.ts'
import { input } from '../graph/input.ts'
import type { Outcome } from '../graph/outcome.ts'
import { initialisers, param } from '../graph/param.ts'
import { dropout, fold, type Key } from '../graph/random.ts'
import { scan } from '../graph/scan.ts'
import { iota, tensor } from '../graph/tensor.ts'
import type { Scalar, Tensor } from '../graph/types.ts'
import { gelu } from '../nn/activations.ts'
import { crossAttention, selfAttention } from '../nn/attention.ts'
import { crossEntropy, rmsNorm, weightedMean } from '../nn/functional.ts'
import { configurable, type Configurable } from './configurable.ts'
import { inFull, type Model, type Precision } from './model.ts'

type Count = 'vocab' | 'source' | 'target' | 'encoderLayers' | 'decoderLayers' | 'embed' | 'heads' | 'headDim' | 'hidden'
/** `source` and `target` are the longest sequences of tokens read and written; `padding` is the token that fills up a source, and is not seen. */
export type Seq2seqConfig = { readonly [F in Count | 'padding' | 'dropout']: number }
type Seq2seqInput = { readonly [F in Count]: number } & { readonly padding?: number | undefined; readonly dropout?: number | undefined }
const count = z.int().min(1).max(2 ** 31 - 1)
export const seq2seqSchema: z.ZodType<Seq2seqConfig, Seq2seqInput> = z.strictObject({
  vocab: count, source: count, target: count, encoderLayers: count, decoderLayers: count, embed: count, heads: count, headDim: count, hidden: count,
  padding: z.int().min(0).default(0), dropout: z.number().min(0).max(0.9).default(0),
})

type Dims = { readonly [N in Count | 'batch' | 'kvSource' | 'kvTarget']: Dim<N> }
type Heads<L extends string> = { readonly [N in 'query' | 'key' | 'value' | 'out']: Tensor<L | 'embed' | 'heads' | 'headDim'> } & { readonly norm: Tensor<L | 'embed'> }
type FeedForward<L extends string> = { readonly norm: Tensor<L | 'embed'>; readonly up: Tensor<L | 'embed' | 'hidden'>; readonly down: Tensor<L | 'embed' | 'hidden'> }
export type Seq2seqParams = {
  readonly tokens: Tensor<'vocab' | 'embed'>
  readonly positions: { readonly source: Tensor<'source' | 'embed'>; readonly target: Tensor<'target' | 'embed'> }
  readonly encoder: { readonly self: Heads<'encoderLayers'>; readonly feed: FeedForward<'encoderLayers'>; readonly norm: Tensor<'embed'> }
  readonly decoder: { readonly self: Heads<'decoderLayers'>; readonly cross: Heads<'decoderLayers'>; readonly feed: FeedForward<'decoderLayers'>; readonly norm: Tensor<'embed'> }
}
/** `target` is what was written so far, one token behind `labels`; labels of −100 do not count. */
export type Seq2seqBatch = { readonly source: Tensor<'batch' | 'source'>; readonly target: Tensor<'batch' | 'target'>; readonly labels: Tensor<'batch' | 'target'> }
export type Seq2seq = Model<Seq2seqParams, Seq2seqBatch, keyof Dims> & {
  readonly dims: Dims
  /** batch source embed. */
  readonly encode: (params: Seq2seqParams, source: Seq2seqBatch['source'], key?: Key) => Tensor<'batch' | 'source' | 'embed'>
  /** batch target vocab. */
  readonly logits: (params: Seq2seqParams, batch: Omit<Seq2seqBatch, 'labels'>, key?: Key) => Tensor<'batch' | 'target' | 'vocab'>
}

/** A model for batches of `batch` pairs of sequences. */
export function seq2seq(config: Seq2seqConfig, batch: number, { params: dtype, compute }: Precision = inFull): Seq2seq {
  const { padding, dropout: rate, ...sizes } = config
  const d: Dims = dims({ batch, ...sizes, kvSource: config.source, kvTarget: config.target })
  const weight = { dtype, init: initialisers.normal(0.02), decays: true }
  const gain = { dtype, init: 1 }
  const stacked = <L extends string, D extends string>(name: string, l: Dim<L>, rest: readonly Dim<D>[], how: typeof weight | typeof gain): Tensor<L | D> =>
    tensor(param<readonly Dim[]>(name, [l, ...rest], how).node)
  const heads = <L extends string>(name: string, l: Dim<L>): Heads<L> => {
    const project = (what: string): Tensor<L | 'embed' | 'heads' | 'headDim'> => stacked(`${name}.${what}`, l, [d.embed, d.heads, d.headDim], weight)
    return { norm: stacked(`${name}.norm`, l, [d.embed], gain), query: project('query'), key: project('key'), value: project('value'), out: project('out') }
  }
  const feed = <L extends string>(name: string, l: Dim<L>): FeedForward<L> => ({
    norm: stacked(`${name}.norm`, l, [d.embed], gain), up: stacked(`${name}.up`, l, [d.embed, d.hidden], weight), down: stacked(`${name}.down`, l, [d.hidden, d.embed], weight),
  })
  const params: Seq2seqParams = {
    tokens: param('tokens', [d.vocab, d.embed], weight),
    positions: { source: param('positions.source', [d.source, d.embed], weight), target: param('positions.target', [d.target, d.embed], weight) },
    encoder: { self: heads('encoder.self', d.encoderLayers), feed: feed('encoder.feed', d.encoderLayers), norm: param('encoder.norm', [d.embed], gain) },
    decoder: { self: heads('decoder.self', d.decoderLayers), cross: heads('decoder.cross', d.decoderLayers), feed: feed('decoder.feed', d.decoderLayers), norm: param('decoder.norm', [d.embed], gain) },
  }
  const inCompute = (w: Heads<never>) => ({ query: w.query.cast(compute), key: w.key.cast(compute), value: w.value.cast(compute), out: w.out.cast(compute) })
  const drop = <D extends string>(key: Key | undefined, x: Tensor<D>, use: number): Tensor<D> => (key === undefined || rate === 0 ? x : dropout(fold(key, use), x, rate))
  const ofLayer = (key: Key | undefined, use: number, index: Scalar): Key | undefined => (key === undefined ? undefined : fold(fold(key, use), index))
  const fed = <S extends 'source' | 'target'>(x: Tensor<'batch' | S | 'embed'>, w: FeedForward<never>): Tensor<'batch' | S | 'embed'> =>
    tensor(gelu(rmsNorm(x, d.embed, w.norm).dot(w.up.cast(compute), d.embed)).dot(w.down.cast(compute), d.hidden).node)
  const between = <S extends string, T extends string>(seq: Dim<S>, kvSeq: Dim<T>) => ({ seq, kvSeq, embed: d.embed, heads: d.heads, headDim: d.headDim })
  const encode: Seq2seq['encode'] = (p, source, key) => {
    const first = drop(key, p.tokens.take(d.vocab, source).add(p.positions.source).cast(compute), 0)
    const segments = source.notEqual(padding).cast('i32')
    const [last] = scan(d.encoderLayers, first, { self: p.encoder.self, feed: p.encoder.feed, index: iota(d.encoderLayers) }, (x, w) => {
      const k = ofLayer(key, 1, w.index)
      const y = x.add(drop(k, selfAttention(rmsNorm(x, d.embed, w.self.norm), inCompute(w.self), between(d.source, d.kvSource), { causal: false, segments }), 0))
      return [y.add(drop(k, fed<'source'>(y, w.feed), 1)), {}] as const
    })
    return rmsNorm(last, d.embed, p.encoder.norm)
  }
  const logits = (p: Seq2seqParams, { source, target }: Omit<Seq2seqBatch, 'labels'>, key?: Key): Tensor<'batch' | 'target' | 'vocab'> => {
    const [memory, keep] = [encode(p, source, key), source.notEqual(padding)]
    const first = drop(key, p.tokens.take(d.vocab, target).add(p.positions.target).cast(compute), 2)
    const [last] = scan(d.decoderLayers, first, { self: p.decoder.self, cross: p.decoder.cross, feed: p.decoder.feed, index: iota(d.decoderLayers) }, (x, w) => {
      const k = ofLayer(key, 3, w.index)
      const y = x.add(drop(k, selfAttention(rmsNorm(x, d.embed, w.self.norm), inCompute(w.self), between(d.target, d.kvTarget)), 0))
      const z = y.add(drop(k, crossAttention(rmsNorm(y, d.embed, w.cross.norm), memory, inCompute(w.cross), between(d.target, d.source), { keep }), 1))
      return [z.add(drop(k, fed<'target'>(z, w.feed), 2)), {}] as const
    })
    return rmsNorm(last, d.embed, p.decoder.norm).dot(p.tokens.cast(compute), d.embed)
  }
  return {
    dims: d, params, itemsPerBatch: batch, ignored: -100, tokensPerBatch: batch * (config.source + config.target), encode, logits,
    batch: { source: input('source', [d.batch, d.source], 'i32'), target: input('target', [d.batch, d.target], 'i32'), labels: input('labels', [d.batch, d.target], 'i32') },
    loss: (p, { labels, ...given }, key): Outcome => {
      const [found, counts] = [logits(p, given, key), labels.notEqual(-100)]
      const { value: loss, weight } = weightedMean(crossEntropy(found, d.vocab, labels, { ignore: -100 }), counts)
      return { loss, weight, metrics: { accuracy: weightedMean(found.argmax(d.vocab).equal(labels).cast('f32'), counts) } }
    },
  }
}

/** The model as a recipe names it. */
export const seq2seqModel: Configurable<Seq2seqConfig, Seq2seqInput, Seq2seq> =
  configurable({ name: 'seq2seq', schema: seq2seqSchema, build: (config, { batch, precision }): Seq2seq => seq2seq(config, batch, precision) })
