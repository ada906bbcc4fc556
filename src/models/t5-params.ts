/** The dims and parameters of a T5: of an encoder and of a decoder, whose layers lie along dims of one name and of two sizes. With experts in some layers it is a Switch Transformer (Fedus et al. 2021). */
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
  /** Experts in place of the feed-forward net in every so many-th layer: one for each token, as wide as `hidden`. */
  readonly experts?: SwitchConfig | undefined
}
export interface SwitchConfig {
  readonly count: number
  /** How many tokens of a sequence an expert takes: those that come behind them get nothing of it. When text is written, token by token, nothing is dropped. */
  readonly slots: number
  /** Of how many layers the second one has experts; 1 for all. It divides how many layers there are. */
  readonly encoderEvery: number
  readonly decoderEvery: number
  /** How much what the router sees is shaken in training: by factors from 1 − this to 1 + this. */
  readonly jitter: number
  /** What the loss that keeps experts evenly used, and that of the router's logits, are multiplied by. */
  readonly balance: number
  readonly zLoss: number
}
/** Which of a period's layers has experts. */
export const routedAt = (every: number): number => (every === 1 ? 0 : 1)

/** Those of experts are there where there are some. */
export type T5Dims = { readonly [N in Exclude<T5Count, 'encoderLayers' | 'decoderLayers'> | 'layers' | 'batch' | 'kvSource' | 'kvTarget' | 'experts' | 'routes' | 'expertHidden']: Dim<N> }
/** Of an encoder and of a decoder: the same name in other sizes. */
type L = 'layers'
type Projections = 'query' | 'key' | 'value' | 'out'
type Heads = { readonly [N in Projections]: Tensor<L | 'embed' | 'heads' | 'headDim'> } & { readonly norm: Tensor<L | 'embed'> }
/** `gate` where it is gated, whose activation gates `up`. */
type FeedForward = { readonly norm: Tensor<L | 'embed'>; readonly up: Tensor<L | 'embed' | 'hidden'>; readonly gate?: Tensor<L | 'embed' | 'hidden'>; readonly down: Tensor<L | 'embed' | 'hidden'> }
type Own = 'experts' | 'expertHidden' | 'embed'
/** Experts of the layers that have some. */
type Router<E> = { readonly norm: Tensor<L | 'embed'>; readonly router: Tensor<L | 'routes' | 'embed'>; readonly experts: { readonly up: E; readonly down: E } }
/** What each token goes through by itself: `feed` in all layers; where every so many-th has experts `routed`, and of the others of a period `feeds`, in their order. */
type FeedsOf<F, E> = { readonly feed?: F; readonly feeds?: readonly F[]; readonly routed?: Router<E> }
type Feeds = FeedsOf<FeedForward, Tensor<L | Own>>
export type T5Feeds = FeedsOf<Contracted<FeedForward>, Weight<L | Own>>
type Bias = Tensor<'buckets' | 'heads'>
type Side = Feeds & { readonly self: Heads; readonly bias: Bias; readonly norm: Tensor<'embed'> }
export type T5Params = {
  readonly tokens: Tensor<'vocab' | 'embed'>
  readonly encoder: Side
  readonly decoder: Side & { readonly cross: Heads }
  /** Where logits are not tied. */
  readonly out?: Tensor<'vocab' | 'embed'>
}

type Contracted<T> = { readonly [K in keyof T]: K extends 'norm' ? T[K] : T[K] extends Tensor<infer D> | undefined ? Weight<D> : T[K] }
/** The parameters, what is contracted whole or in few bits: enough to infer with. */
export type T5Weights = Omit<T5Params, 'tokens' | 'out' | 'encoder' | 'decoder'> & {
  readonly tokens: Weight<'vocab' | 'embed'>
  readonly encoder: Omit<T5Params['encoder'], 'self' | keyof Feeds> & { readonly self: Contracted<Heads> } & T5Feeds
  readonly decoder: Omit<T5Params['decoder'], 'self' | 'cross' | keyof Feeds> & { readonly self: Contracted<Heads>; readonly cross: Contracted<Heads> } & T5Feeds
  readonly out?: Weight<'vocab' | 'embed'>
}
/** Those of one layer. */
export type T5LayerHeads = { readonly [N in Projections]: Weight<'embed' | 'heads' | 'headDim'> } & { readonly norm: Tensor<'embed'> }
export type T5LayerFeed = { readonly [N in 'up' | 'down']: Weight<'embed' | 'hidden'> } & { readonly gate?: Weight<'embed' | 'hidden'>; readonly norm: Tensor<'embed'> }
export type T5LayerRouter = { readonly norm: Tensor<'embed'>; readonly router: Tensor<'routes' | 'embed'>; readonly experts: { readonly [N in 'up' | 'down']: Weight<Own> } }

export function t5Parameters({ vocab, embed, heads, headDim, hidden, buckets, experts, routes, expertHidden }: T5Dims, encoderLayers: Dim<L>, decoderLayers: Dim<L>, { gated, tied, experts: c }: T5Config, dtype: DType): T5Params {
  const weight = (variance: number) => ({ dtype, init: initialisers.normal(Math.sqrt(variance)), decays: true })
  const gain = { dtype, init: 1 }
  const of = (whole: Dim<L>, every: number | undefined) => {
    const periods: Dim<L> = { name: 'layers', size: whole.size / (every ?? 1) }
    const norm = (name: string, l: Dim<L> = whole): Tensor<L | 'embed'> => param(`${name}.norm`, [l, embed], gain)
    const made = <A extends string>(name: string, rest: readonly Dim<A>[], variance: number, l: Dim<L> = whole): Tensor<L | A> => param<readonly Dim<L | A>[]>(name, [l, ...rest] as never, weight(variance))
    const project = (name: string, variance: number) => made(name, [heads, headDim, embed], variance)
    return {
      // Queries begin small instead of being divided by √headDim.
      heads: (name: string): Heads => ({
        norm: norm(name), query: project(`${name}.query`, 1 / (embed.size * headDim.size)), key: project(`${name}.key`, 1 / embed.size), value: project(`${name}.value`, 1 / embed.size),
        out: made(`${name}.out`, [embed, heads, headDim], 1 / (heads.size * headDim.size)),
      }),
      feeds: (name: string): Feeds => {
        const feed = (at: string, l: Dim<L> = whole): FeedForward => ({
          norm: norm(at, l), up: made(`${at}.up`, [hidden, embed], 1 / embed.size, l), ...(gated ? { gate: made(`${at}.gate`, [hidden, embed], 1 / embed.size, l) } : {}), down: made(`${at}.down`, [embed, hidden], 1 / hidden.size, l),
        })
        if (every === undefined) return { feed: feed(`${name}.feed`) }
        const at = `${name}.routed`
        return {
          feeds: Array.from({ length: every - 1 }, (_, i) => feed(`${name}.feeds.${i}`, periods)),
          routed: {
            norm: norm(at, periods), router: made(`${at}.router`, [routes, embed], 1 / embed.size, periods),
            experts: { up: made<Own>(`${at}.experts.up`, [experts, expertHidden, embed], 1 / embed.size, periods), down: made<Own>(`${at}.experts.down`, [experts, embed, expertHidden], 1 / hidden.size, periods) },
          },
        }
      },
    }
  }
  const bias = (name: string): Bias => param(name, [buckets, heads], { ...weight(1 / embed.size), decays: false })
  const [e, d] = [of(encoderLayers, c?.encoderEvery), of(decoderLayers, c?.decoderEvery)]
  return {
    tokens: param('tokens', [vocab, embed], weight(1)),
    encoder: { self: e.heads('encoder.self'), ...e.feeds('encoder'), bias: bias('encoder.bias'), norm: param('encoder.norm', [embed], gain) },
    decoder: { self: d.heads('decoder.self'), cross: d.heads('decoder.cross'), ...d.feeds('decoder'), bias: bias('decoder.bias'), norm: param('decoder.norm', [embed], gain) },
    ...(tied ? {} : { out: param('out', [vocab, embed], weight(1 / embed.size)) }),
  }
}

/** What is contracted, in few bits: along the dim that is. */
export function t5Quantized({ tokens, encoder, decoder, out }: T5Params, d: T5Dims, how: Quantize): T5Weights {
  const heads = ({ norm, query, key, value, out: back }: Heads): Contracted<Heads> =>
    ({ norm, query: quantize(query, d.embed, how), key: quantize(key, d.embed, how), value: quantize(value, d.embed, how), out: quantize(back, d.headDim, how) })
  const feed = ({ norm, up, gate, down }: FeedForward): Contracted<FeedForward> =>
    ({ norm, up: quantize(up, d.embed, how), ...(gate === undefined ? {} : { gate: quantize(gate, d.embed, how) }), down: quantize(down, d.hidden, how) })
  // Routers are whole: which expert is the best must not hang on a rounding.
  const feeds = ({ feed: one, feeds: all, routed }: Feeds): T5Feeds => ({
    ...(one === undefined ? {} : { feed: feed(one) }), ...(all === undefined ? {} : { feeds: all.map(feed) }),
    ...(routed === undefined ? {} : { routed: { ...routed, experts: { up: quantize(routed.experts.up, d.embed, how), down: quantize(routed.experts.down, d.expertHidden, how) } } }),
  })
  return {
    tokens: quantize(tokens, d.embed, how),
    encoder: { ...encoder, self: heads(encoder.self), ...feeds(encoder) }, decoder: { ...decoder, self: heads(decoder.self), cross: heads(decoder.cross), ...feeds(decoder) },
    ...(out === undefined ? {} : { out: quantize(out, d.embed, how) }),
  }
}
