/** T5 and Flan-T5 (Raffel et al. 2020; version 1.1 after Shazeer 2020): an encoder and a decoder whose attention knows positions by biases that all layers share. With experts a Switch Transformer (Fedus et al. 2021). */
import { dims, type Dim } from '../core/dim.ts'
import { input } from '../graph/input.ts'
import { fold, type Key } from '../graph/random.ts'
import { loose } from '../graph/tensor.ts'
import type { Outcome } from '../graph/outcome.ts'
import type { Scalar, Tensor, Tree } from '../graph/types.ts'
import { rmsNorm } from '../nn/functional.ts'
import { linear } from '../nn/linear.ts'
import { relativeBuckets } from '../nn/relative.ts'
import { keeping, seeing } from '../nn/visible.ts'
import { classOutcome, ignored } from './class-outcome.ts'
import { activations } from './activation.ts'
import { dropped } from './encoder-blocks.ts'
import { heads, headsLinear } from './heads.ts'
import { balance } from './experts.ts'
import { inFull, type Model, type Precision } from './model.ts'
import { switched, usageOfBoth, walkLayers, type OwnFeed } from './t5-layers.ts'
import { t5Parameters, type L, type LayerFeed, type SwitchConfig, type T5Bias as Bias, type T5Config, type T5Dims as Dims, type T5Params } from './t5-params.ts'

export type { SwitchConfig, T5Config, T5Dims, T5Params } from './t5-params.ts'
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

/** Experts are not among them: each is a layer of its own. */
const feedLinear = (side: string, gated: boolean, every: number | undefined): { readonly [path: string]: readonly string[] } =>
  Object.fromEntries((every === undefined ? [`${side}.feed`] : Array.from({ length: every - 1 }, (_, i) => `${side}.feeds.${i}`)).flatMap(feed => [[`${feed}.up`, ['embed']], ...(gated ? [[`${feed}.gate`, ['embed']]] : []), [`${feed}.down`, ['hidden']]]))

/** With the losses that keep experts evenly used. */
function balanced(c: SwitchConfig, outcome: Outcome, [encoder, decoder]: readonly [Tree, Tree], key: Key | undefined): Outcome {
  const { loss, metrics } = balance({ ...c, chosen: 1, balanceOver: 'batch' }, usageOfBoth(encoder, decoder))
  return { ...outcome, loss: c.balance === 0 && c.zLoss === 0 ? outcome.loss : outcome.loss.add(loss.cast(outcome.loss.dtype)), ...(key === undefined ? { metrics: { ...outcome.metrics, ...metrics } } : {}) }
}
type LayerHeads = { readonly [N in 'query' | 'key' | 'value' | 'out']: Tensor<'embed' | 'heads' | 'headDim'> } & { readonly norm: Tensor<'embed'> }

/** A model for batches of `batch` pairs of sequences. */
export function t5(config: T5Config, batch: number, { params: dtype, compute }: Precision = inFull): T5 {
  const { vocab, source, target, embed, heads: headCount, headDim, hidden, buckets, farthest, padding, epsilon, dropout: rate, experts: c } = config
  // Those of experts are there where there are some.
  const d = dims({ batch, vocab, source, target, layers: config.encoderLayers, embed, heads: headCount, headDim, hidden, buckets, kvSource: source, kvTarget: target, ...(c === undefined ? {} : { experts: c.count, routes: c.count, expertHidden: hidden }) }) as Dims
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
  /** What a layer adds behind its attention, and what its experts were used for. */
  const added = <S extends 'source' | 'target'>(y: Tensor<'batch' | S | 'embed'>, own: OwnFeed, seq: Dim<S>, k: Key | undefined): { readonly value: Tensor<'batch' | S | 'embed'>; readonly usage: Tree } => {
    if ('net' in own) return { value: fed<S>(y, own.net, k), usage: {} }
    if (c === undefined) throw new Error('a layer has experts that are not configured')
    return switched(norm<S>(y, own.routed.norm), own.routed, seq, { config: c, d, activation: config.activation, key: k, drop: x => drop(k, x, 3) })
  }
  const on = (kvSeq: Dim) => ({ embed: d.embed, heads: d.heads, headDim: d.headDim, kvSeq })
  const biasOf = <S extends string, T extends string>(bias: Bias, seq: Dim<S>, kvSeq: Dim<T>, bothWays: boolean): Tensor<S | T | 'heads'> =>
    bias.cast(compute).take(d.buckets, relativeBuckets(seq, kvSeq, { count: buckets, farthest, bothWays })) as Tensor<S | T | 'heads'>
  const encoded = (p: T5Params, tokens: T5Batch['source'], key?: Key): { readonly memory: Tensor<'batch' | 'source' | 'embed'>; readonly usage: Tree } => {
    const first = drop(key, p.tokens.take(d.vocab, tokens).cast(compute), 0)
    const keep = tokens.notEqual(padding).rename(d.source, d.kvSource)
    const bias = biasOf(p.encoder.bias, d.source, d.kvSource, true)
    const { x: last, usage } = walkLayers({ layers: encoderLayers, every: c?.encoderEvery, attention: { self: p.encoder.self }, feeds: p.encoder }, first, (x, heads_, feed, index) => {
      const w = heads_ as unknown as { readonly self: LayerHeads }
      const k = ofLayer(key, 1, index)
      const here = norm<'source'>(x, w.self.norm)
      const y = x.add(drop(k, heads(here, here.rename(d.source, d.kvSource), w.self, on(d.kvSource), compute, { visible: keeping(d.source, d.kvSource, keep), bias: loose(bias), scale: 1, ...less(k, 4) }), 0))
      const { value, usage: used } = added<'source'>(y, feed, d.source, k)
      return { x: y.add(drop(k, value, 1)), usage: used }
    })
    return { memory: drop(key, norm<'source'>(last, p.encoder.norm), 4), usage }
  }
  const written = (p: T5Params, given: Omit<T5Batch, 'labels'>, key?: Key): { readonly logits: Tensor<'batch' | 'target' | 'vocab'>; readonly usage: readonly [Tree, Tree] } => {
    const [{ memory, usage: ofEncoder }, keep] = [encoded(p, given.source, key), given.source.notEqual(padding)]
    const first = drop(key, p.tokens.take(d.vocab, given.target).cast(compute), 2)
    const bias = biasOf(p.decoder.bias, d.target, d.kvTarget, false)
    const { x: last, usage } = walkLayers({ layers: decoderLayers, every: c?.decoderEvery, attention: { self: p.decoder.self, cross: p.decoder.cross }, feeds: p.decoder }, first, (x, heads_, feed, index) => {
      const w = heads_ as unknown as { readonly self: LayerHeads; readonly cross: LayerHeads }
      const k = ofLayer(key, 3, index)
      const here = norm<'target'>(x, w.self.norm)
      const y = x.add(drop(k, heads(here, here.rename(d.target, d.kvTarget), w.self, on(d.kvTarget), compute, { visible: seeing(d.target, d.kvTarget), bias: loose(bias), scale: 1, ...less(k, 4) }), 0))
      const z = y.add(drop(k, heads(norm<'target'>(y, w.cross.norm), memory, w.cross, on(d.source), compute, { visible: keeping(d.target, d.source, keep), scale: 1, ...less(k, 5) }), 1))
      const { value, usage: used } = added<'target'>(z, feed, d.target, k)
      return { x: z.add(drop(k, value, 2)), usage: used }
    })
    const found = drop(key, norm<'target'>(last, p.decoder.norm), 5)
    const logits = p.out === undefined ? found.mul(1 / Math.sqrt(embed)).dot(p.tokens.cast(compute), d.embed) : found.dot(p.out.cast(compute), d.embed)
    return { logits, usage: [ofEncoder, usage] }
  }
  const ids = <S extends 'source' | 'target'>(name: string, seq: Dim<S>): Tensor<'batch' | S> => input<readonly Dim<'batch' | S>[]>(name, [d.batch, seq] as never, 'i32')
  return {
    dims: d, params: t5Parameters(d, encoderLayers, decoderLayers, config, dtype), itemsPerBatch: batch, ignored, tokensPerBatch: batch * (source + target),
    encode: (p, tokens, key) => encoded(p, tokens, key).memory, logits: (p, given, key?: Key) => written(p, given, key).logits,
    linear: {
      ...headsLinear('encoder.self'), ...headsLinear('decoder.self'), ...headsLinear('decoder.cross'),
      ...feedLinear('encoder', config.gated, c?.encoderEvery), ...feedLinear('decoder', config.gated, c?.decoderEvery),
    },
    batch: { source: ids('source', d.source), target: ids('target', d.target), labels: ids('labels', d.target) },
    loss: (p, { labels, ...given }, key) => {
      const { logits, usage } = written(p, given, key)
      const outcome = classOutcome(logits, d.vocab, labels, key)
      return c === undefined ? outcome : balanced(c, outcome, usage, key)
    },
  }
}
