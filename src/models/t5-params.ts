/** The dims and parameters of a T5: of an encoder and of a decoder, whose layers lie along dims of one name and of two sizes. */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { initialisers, param } from '../graph/param.ts'
import type { Tensor } from '../graph/types.ts'
import { quantize, type Quantize, type Weight } from '../nn/quantize.ts'
import type { Activation } from './activation.ts'

export type T5Count = 'vocab' | 'source' | 'target' | 'encoderLayers' | 'decoderLayers' | 'embed' | 'heads' | 'headDim' | 'hidden' | 'buckets'
export type T5Config = { readonly [F in T5Count]: number } & {
  /** Distances from this on share a bucket. */
  readonly farthest: number
  /** Whether the feed-forward net's activation is a gate (version 1.1). */
  readonly gated: boolean
  readonly activation: Activation
  /** Whether the logits' weights are the tokens' embeddings, and logits are scaled by 1 / √embed. */
  readonly tied: boolean
  readonly epsilon: number
  /** The token that fills up a source, and is not seen; what is written begins with it. */
  readonly padding: number
  readonly dropout: number
}

export type T5Dims = { readonly [N in Exclude<T5Count, 'encoderLayers' | 'decoderLayers'> | 'layers' | 'batch' | 'kvSource' | 'kvTarget']: Dim<N> }
/** Of an encoder and of a decoder: the same name in other sizes. */
type L = 'layers'
type Projections = 'query' | 'key' | 'value' | 'out'
type Heads = { readonly [N in Projections]: Tensor<L | 'embed' | 'heads' | 'headDim'> } & { readonly norm: Tensor<L | 'embed'> }
/** `gate` where it is gated, whose activation gates `up`. */
type FeedForward = { readonly norm: Tensor<L | 'embed'>; readonly up: Tensor<L | 'embed' | 'hidden'>; readonly gate?: Tensor<L | 'embed' | 'hidden'>; readonly down: Tensor<L | 'embed' | 'hidden'> }
type Bias = Tensor<'buckets' | 'heads'>
export type T5Params = {
  readonly tokens: Tensor<'vocab' | 'embed'>
  readonly encoder: { readonly self: Heads; readonly feed: FeedForward; readonly bias: Bias; readonly norm: Tensor<'embed'> }
  readonly decoder: { readonly self: Heads; readonly cross: Heads; readonly feed: FeedForward; readonly bias: Bias; readonly norm: Tensor<'embed'> }
  /** Where logits are not tied. */
  readonly out?: Tensor<'vocab' | 'embed'>
}

type Contracted<T> = { readonly [K in keyof T]: K extends 'norm' ? T[K] : T[K] extends Tensor<infer D> | undefined ? Weight<D> : T[K] }
/** The parameters, what is contracted whole or in few bits: enough to infer with. */
export type T5Weights = Omit<T5Params, 'tokens' | 'out' | 'encoder' | 'decoder'> & {
  readonly tokens: Weight<'vocab' | 'embed'>
  readonly encoder: Omit<T5Params['encoder'], 'self' | 'feed'> & { readonly self: Contracted<Heads>; readonly feed: Contracted<FeedForward> }
  readonly decoder: Omit<T5Params['decoder'], 'self' | 'cross' | 'feed'> & { readonly self: Contracted<Heads>; readonly cross: Contracted<Heads>; readonly feed: Contracted<FeedForward> }
  readonly out?: Weight<'vocab' | 'embed'>
}
/** Those of one layer. */
export type T5LayerHeads = { readonly [N in Projections]: Weight<'embed' | 'heads' | 'headDim'> } & { readonly norm: Tensor<'embed'> }
export type T5LayerFeed = { readonly [N in 'up' | 'down']: Weight<'embed' | 'hidden'> } & { readonly gate?: Weight<'embed' | 'hidden'>; readonly norm: Tensor<'embed'> }

export function t5Parameters({ vocab, embed, heads, headDim, hidden, buckets }: T5Dims, encoderLayers: Dim<L>, decoderLayers: Dim<L>, { gated, tied }: T5Config, dtype: DType): T5Params {
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

/** What is contracted, in few bits: along the dim that is. */
export function t5Quantized({ tokens, encoder, decoder, out }: T5Params, d: T5Dims, how: Quantize): T5Weights {
  const heads = ({ norm, query, key, value, out: back }: Heads): Contracted<Heads> =>
    ({ norm, query: quantize(query, d.embed, how), key: quantize(key, d.embed, how), value: quantize(value, d.embed, how), out: quantize(back, d.headDim, how) })
  const feed = ({ norm, up, gate, down }: FeedForward): Contracted<FeedForward> =>
    ({ norm, up: quantize(up, d.embed, how), ...(gate === undefined ? {} : { gate: quantize(gate, d.embed, how) }), down: quantize(down, d.hidden, how) })
  return {
    tokens: quantize(tokens, d.embed, how),
    encoder: { ...encoder, self: heads(encoder.self), feed: feed(encoder.feed) }, decoder: { ...decoder, self: heads(decoder.self), cross: heads(decoder.cross), feed: feed(decoder.feed) },
    ...(out === undefined ? {} : { out: quantize(out, d.embed, how) }),
  }
}
