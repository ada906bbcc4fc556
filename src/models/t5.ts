/** T5 and Flan-T5 (Raffel et al. 2020; version 1.1 after Shazeer 2020): an encoder and a decoder whose attention knows positions by biases that all layers share. With experts a Switch Transformer (Fedus et al. 2021). */
import { dims, type Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { input } from '../graph/input.ts'
import type { Outcome } from '../graph/outcome.ts'
import { fold, type Key } from '../graph/random.ts'
import { scan } from '../graph/scan.ts'
import { broadcast, iota, loose } from '../graph/tensor.ts'
import type { AnyTensor, Scalar, Tensor, Tree } from '../graph/types.ts'
import { attention, type AttentionOptions } from '../nn/attention.ts'
import { cacheInputs, reading, readingSources, storing, type CacheSize, type Fed, type KeyValues } from '../nn/cache.ts'
import { rmsNorm } from '../nn/functional.ts'
import { linear } from '../nn/linear.ts'
import { rowsOf, weightIn, type Quantize } from '../nn/quantize.ts'
import { bucketsOf, relativeBuckets } from '../nn/relative.ts'
import { keeping, seeing, type Visibility } from '../nn/visible.ts'
import { classOutcome, ignored } from './class-outcome.ts'
import { activations } from './activation.ts'
import { dropped } from './encoder-blocks.ts'
import { headsLinear } from './heads.ts'
import type { Encoder, Extended } from './language.ts'
import { balance } from './experts.ts'
import { inFull, type Model, type Precision } from './model.ts'
import { blocksOf } from './next-token.ts'
import { switched, usageOfBoth, walkLayers, type OwnFeed } from './t5-layers.ts'
import { t5Parameters, t5Quantized, type SwitchConfig, type T5Config, type T5Dims, type T5LayerFeed, type T5LayerHeads, type T5Params, type T5Weights } from './t5-params.ts'

export type { SwitchConfig, T5Config, T5Params } from './t5-params.ts'

/** `target` is what was written so far, one token behind `labels`, beginning with the padding token; labels of −100 do not count. */
export type T5Batch = { readonly source: Tensor<'batch' | 'source'>; readonly target: Tensor<'batch' | 'target'>; readonly labels: Tensor<'batch' | 'target'> }
export type T5 = Omit<Model<T5Params, T5Batch, keyof T5Dims>, 'logits'> & {
  readonly dims: T5Dims
  readonly tokensPerBatch: number
  /** batch source embed. */
  readonly encode: (params: T5Weights, source: T5Batch['source'], key?: Key) => Tensor<'batch' | 'source' | 'embed'>
  /** batch target vocab. */
  readonly logits: (params: T5Weights, batch: Omit<T5Batch, 'labels'>, key?: Key) => Tensor<'batch' | 'target' | 'vocab'>
  readonly encoder: Encoder
  readonly cache: (size: CacheSize, dtype: DType) => KeyValues
  readonly extend: (params: T5Weights, cache: KeyValues, fed: Fed, size: CacheSize) => Extended
  readonly head: (params: T5Weights, states: AnyTensor) => Tensor<string>
  readonly quantized: (params: T5Params, how: Quantize) => T5Weights
}

/** The stream between layers, over any dims of texts and their tokens. */
type Stream = Tensor<string>
type KeysValues = { readonly keys: Tensor<string>; readonly values: Tensor<string> }
/** How the decoder's layers attend: to whole sequences, or through a cache, which they carry along. */
interface Memory<C extends Tree> {
  readonly carried: C
  readonly bias: Tensor<string>
  /** Where keys and values of the text itself, and of its source, lie; and what is seen of them. */
  readonly self: { readonly kvSeq: Dim; readonly visible: Visibility; readonly through: (layer: Scalar, carried: C, own: KeysValues) => KeysValues & { readonly carried: C } }
  readonly cross: { readonly kvSeq: Dim; readonly visible: Visibility; readonly of: (layer: Scalar, carried: C, w: T5LayerHeads) => KeysValues }
}

/** Experts are not among them: each is a layer of its own. */
const feedLinear = (side: string, gated: boolean, every: number | undefined): { readonly [path: string]: readonly string[] } =>
  Object.fromEntries((every === undefined ? [`${side}.feed`] : Array.from({ length: every - 1 }, (_, i) => `${side}.feeds.${i}`)).flatMap((feed): [string, readonly string[]][] => [[`${feed}.up`, ['embed']], ...(gated ? [[`${feed}.gate`, ['embed']] as [string, readonly string[]]] : []), [`${feed}.down`, ['hidden']]]))

/** With the losses that keep experts evenly used. */
function balanced(c: SwitchConfig, outcome: Outcome, [encoder, decoder]: readonly [Tree, Tree], key: Key | undefined): Outcome {
  const { loss, metrics } = balance({ ...c, chosen: 1, balanceOver: 'batch' }, usageOfBoth(encoder, decoder))
  return { ...outcome, loss: c.balance === 0 && c.zLoss === 0 ? outcome.loss : outcome.loss.add(loss.cast(outcome.loss.dtype)), ...(key === undefined ? { metrics: { ...outcome.metrics, ...metrics } } : {}) }
}

/** A model for batches of `batch` pairs of sequences. */
export function t5(config: T5Config, batch: number, { params: dtype, compute }: Precision = inFull): T5 {
  const { vocab, source, target, embed, heads, headDim, hidden, buckets, farthest, padding, epsilon, dropout: rate, experts: c } = config
  const d = dims({ batch, vocab, source, target, layers: config.encoderLayers, embed, heads, headDim, hidden, buckets, kvSource: source, kvTarget: target, ...(c === undefined ? {} : { experts: c.count, routes: c.count, expertHidden: hidden }) }) as T5Dims
  const [encoderLayers, decoderLayers]: readonly [Dim<'layers'>, Dim<'layers'>] = [d.layers, { name: 'layers', size: config.decoderLayers }]
  const drop = (key: Key | undefined, x: Stream, use: number): Stream => dropped(x, key, use, rate)
  const less = (key: Key | undefined, use: number) => ({ dropout: key === undefined || rate === 0 ? undefined : { key: fold(key, use), rate } })
  const ofLayer = (key: Key | undefined, use: number, index: Scalar): Key | undefined => (key === undefined ? undefined : fold(fold(key, use), index))
  const norm = (x: Stream, gain: Tensor<'embed'>): Stream => rmsNorm(x, d.embed.name as string, gain as Tensor<string>, epsilon)
  const embedded = (p: T5Weights, tokens: AnyTensor): Stream => loose(weightIn<string, string>(rowsOf(p.tokens, d.vocab, loose(tokens)), d.embed, dtype)).cast(compute)
  const fed = (x: Stream, w: T5LayerFeed, key: Key | undefined): Stream => {
    const y = norm(x, w.norm) as Tensor<'embed'>
    const [act, up] = [activations[config.activation], linear(y, w.up, d.embed)]
    const found = w.gate === undefined ? act(up) : act(linear(y, w.gate, d.embed)).mul(up)
    return loose(linear(loose(drop(key, loose(found), 3)) as Tensor<'hidden'>, w.down, d.hidden))
  }
  /** What a layer adds behind its attention, and what its experts were used for. */
  const added = (y: Stream, own: OwnFeed, tokens: string, k: Key | undefined, writing = false): { readonly value: Stream; readonly usage: Tree } => {
    if ('net' in own) return { value: fed(y, own.net, k), usage: {} }
    if (c === undefined) throw new Error('a layer has experts that are not configured')
    return switched(norm(y, own.routed.norm), own.routed, y.shape.find(({ name }) => name === tokens) as Dim, { config: c, d, activation: config.activation, key: k, drop: x => drop(k, x, 3), writing })
  }
  const keysOf = (from: Stream, w: T5LayerHeads): KeysValues => ({ keys: loose(linear(from as Tensor<'embed'>, w.key, d.embed)), values: loose(linear(from as Tensor<'embed'>, w.value, d.embed)) })
  const attended = (x: Stream, w: T5LayerHeads, { keys, values }: KeysValues, kvSeq: Dim, options: AttentionOptions): Stream => {
    const query = loose(linear(x as Tensor<'embed'>, w.query, d.embed))
    const found = attention(query, keys, values, { headDim: d.headDim.name as string, kvSeq: kvSeq.name }, { ...options, scale: 1 })
    return loose(linear(loose(found) as Tensor<'heads' | 'headDim'>, w.out, d.heads, d.headDim))
  }
  const biasOf = (bias: Tensor<'buckets' | 'heads'>, ids: AnyTensor): Tensor<string> => loose(bias).cast(compute).take(d.buckets.name as string, loose(ids))

  /** Of tokens over any dims, `source` among them: as long as they are. */
  const encode = (p: T5Weights, tokens: AnyTensor, key?: Key): { readonly memory: Stream; readonly usage: Tree } => {
    const size = tokens.shape.find(({ name }) => name === d.source.name)?.size ?? source
    const [seq, kvSeq] = [{ ...d.source, size }, { ...d.kvSource, size }]
    const atKeys = (x: Stream): Stream => x.rename(seq.name as string, kvSeq.name)
    const visible = keeping(seq, kvSeq, atKeys(loose(tokens).notEqual(padding)))
    const bias = biasOf(p.encoder.bias, relativeBuckets(seq, kvSeq, { count: buckets, farthest, bothWays: true }))
    const { state: last, usage } = walkLayers({ layers: encoderLayers, every: c?.encoderEvery, attention: { self: p.encoder.self as Tree }, feeds: p.encoder }, drop(key, embedded(p, tokens), 0) as Tree, (carried, walked, feed, index) => {
      const { self } = walked as unknown as { readonly self: T5LayerHeads }
      const [x, k] = [carried as unknown as Stream, ofLayer(key, 1, index)]
      const here = norm(x, self.norm)
      const y = x.add(drop(k, attended(here, self, keysOf(atKeys(here), self), kvSeq, { visible, bias, ...blocksOf({ seq: size }), ...less(k, 4) }), 0))
      const { value, usage: used } = added(y, feed, seq.name, k)
      return { state: y.add(drop(k, value, 1)) as Tree, usage: used }
    })
    return { memory: drop(key, norm(last as unknown as Stream, p.encoder.norm), 4), usage }
  }
  const decode = <C extends Tree>(p: T5Weights, tokens: AnyTensor, key: Key | undefined, { carried, bias, self, cross }: Memory<C>): { readonly states: Stream; readonly carried: C; readonly usage: Tree } => {
    const begun = { x: drop(key, embedded(p, tokens), 2), carried: carried as Tree }
    const { state, usage } = walkLayers({ layers: decoderLayers, every: c?.decoderEvery, attention: { self: p.decoder.self as Tree, cross: p.decoder.cross as Tree }, feeds: p.decoder }, begun, (now, walked, feed, index) => {
      const { x, carried: before } = now as unknown as { readonly x: Stream; readonly carried: C }
      const w = walked as unknown as { readonly self: T5LayerHeads; readonly cross: T5LayerHeads }
      const k = ofLayer(key, 3, index)
      const here = norm(x, w.self.norm)
      const { carried: then, ...own } = self.through(index, before, keysOf(here, w.self))
      const y = x.add(drop(k, attended(here, w.self, own, self.kvSeq, { visible: self.visible, bias, ...less(k, 4), ...(self.kvSeq === d.kvTarget ? blocksOf({ seq: target }) : {}) }), 0))
      const z = y.add(drop(k, attended(norm(y, w.cross.norm), w.cross, cross.of(index, then, w.cross), cross.kvSeq, { visible: cross.visible, ...less(k, 5), ...(cross.kvSeq === d.source ? blocksOf({ seq: source }) : {}) }), 1))
      // Through a cache tokens come one by one, along another dim.
      const whole = z.shape.some(({ name }) => name === d.target.name)
      const { value, usage: used } = added(z, feed, whole ? d.target.name : 'seq', k, !whole)
      return { state: { x: z.add(drop(k, value, 2)), carried: then as Tree }, usage: used }
    })
    const { x: last, carried: after } = state as unknown as { readonly x: Stream; readonly carried: C }
    return { states: drop(key, norm(last, p.decoder.norm), 5), carried: after, usage }
  }
  const head = (p: T5Weights, states: Stream): Stream => (p.out === undefined ? states.mul(1 / Math.sqrt(embed)) : states).dot(loose(weightIn(p.out ?? p.tokens, d.embed, compute)), d.embed.name as string)
  const written = (p: T5Weights, given: Omit<T5Batch, 'labels'>, key?: Key): { readonly logits: Stream; readonly usage: readonly [Tree, Tree] } => {
    const [{ memory, usage: ofEncoder }, keep] = [encode(p, given.source, key), given.source.notEqual(padding)]
    const { states, usage } = decode(p, given.target, key, {
      carried: {}, bias: biasOf(p.decoder.bias, relativeBuckets(d.target, d.kvTarget, { count: buckets, farthest, bothWays: false })),
      self: { kvSeq: d.kvTarget, visible: seeing(d.target, d.kvTarget), through: (_, carried, { keys, values }) => ({ keys: keys.rename(d.target.name as string, d.kvTarget.name), values: values.rename(d.target.name as string, d.kvTarget.name), carried }) },
      cross: { kvSeq: d.source, visible: keeping(d.target, d.source, keep), of: (_, __, w) => keysOf(memory, w) },
    })
    return { logits: head(p, states), usage: [ofEncoder, usage] }
  }
  const extend = (p: T5Weights, cache: KeyValues, given: Fed, size: CacheSize): Extended => {
    const [own, sources] = [reading(size, given, d.kvTarget.name), readingSources(size, given, d.kvSource.name)]
    const ahead = loose(broadcast(loose(given.positions), [own.held] as never)).neg().add(loose(iota(own.held)))
    const { states, carried } = decode<KeyValues>(p, given.tokens, undefined, {
      carried: cache, bias: biasOf(p.decoder.bias, bucketsOf(ahead, { count: buckets, farthest, bothWays: false })),
      self: { kvSeq: own.held, visible: own.visible(undefined), through: (layer, before, { keys, values }) => { const { cache: carried, ...found } = own.through(layer, before, keys, values); return { ...found, carried } } },
      cross: { kvSeq: sources.visible.kvSeq, visible: sources.visible, of: (layer, held) => sources.look(layer, held, compute) },
    })
    return { states, cache: carried } as unknown as Extended
  }
  const encoder: Encoder = {
    start: padding, padding, source, target, layers: config.decoderLayers,
    read: (params, cache, { tokens, entries }, size) => {
      const p = params as unknown as T5Weights
      const [{ memory }, store] = [encode(p, tokens), storing(size, entries)]
      const [after] = scan(decoderLayers, cache as Tree, { cross: p.decoder.cross as Tree, index: iota(decoderLayers) }, (before, walked) => {
        const { cross, index } = walked as unknown as { readonly cross: T5LayerHeads; readonly index: Scalar }
        const { keys, values } = keysOf(memory, cross)
        return [store(index, before as KeyValues, keys, values) as Tree, {}] as const
      })
      return after as KeyValues
    },
  }
  const ids = <S extends 'source' | 'target'>(name: string, seq: Dim<S>): Tensor<'batch' | S> => input<readonly Dim<'batch' | S>[]>(name, [d.batch, seq] as never, 'i32')
  return {
    dims: d, params: t5Parameters(d, encoderLayers, decoderLayers, config, dtype), itemsPerBatch: batch, ignored, tokensPerBatch: batch * (source + target),
    encode: (p, tokens, key) => encode(p, tokens, key).memory as Tensor<'batch' | 'source' | 'embed'>, logits: (p, given, key) => written(p, given, key).logits as Tensor<'batch' | 'target' | 'vocab'>,
    encoder, cache: (size, kept) => cacheInputs(size, [d.heads, d.headDim], kept), extend, head: (p, states) => head(p, loose(states)), quantized: (p, how) => t5Quantized(p, d, how),
    linear: {
      ...headsLinear('encoder.self'), ...headsLinear('decoder.self'), ...headsLinear('decoder.cross'),
      ...feedLinear('encoder', config.gated, c?.encoderEvery), ...feedLinear('decoder', config.gated, c?.decoderEvery),
    },
    batch: { source: ids('source', d.source), target: ids('target', d.target), labels: ids('labels', d.target) },
    loss: (p, { labels, ...given }, key) => {
      const { logits, usage } = written(p, given, key)
      const outcome = classOutcome(logits as Tensor<'batch' | 'target' | 'vocab'>, d.vocab, labels, key)
      return c === undefined ? outcome : balanced(c, outcome, usage, key)
    },
  }
}
