/** The dims and parameters of a T5, in the order of dims of Hugging Face's files; with experts in some layers a Switch Transformer (Fedus et al. 2021). */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { initialisers, param } from '../graph/param.ts'
import type { Tensor } from '../graph/types.ts'
import type { Activation } from './activation.ts'

export type Count = 'vocab' | 'source' | 'target' | 'encoderLayers' | 'decoderLayers' | 'embed' | 'heads' | 'headDim' | 'hidden' | 'buckets'
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
  /** Experts in place of the feed-forward net in every so many-th layer: one for each token, as wide as `hidden`. */
  readonly experts?: SwitchConfig | undefined
}
export interface SwitchConfig {
  readonly count: number
  /** How many tokens of a sequence an expert takes: those that come behind them get nothing of it. */
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

export type T5Dims = { readonly [N in Exclude<Count, 'encoderLayers' | 'decoderLayers'> | 'layers' | 'batch' | 'kvSource' | 'kvTarget' | 'experts' | 'routes' | 'expertHidden']: Dim<N> }
/** Of an encoder and of a decoder: the same name in other sizes. */
export type L = 'layers'
export type T5Heads = { readonly [N in 'query' | 'key' | 'value' | 'out']: Tensor<L | 'embed' | 'heads' | 'headDim'> } & { readonly norm: Tensor<L | 'embed'> }
/** `gate` where it is gated, whose activation gates `up`. */
export type FeedForward = { readonly norm: Tensor<L | 'embed'>; readonly up: Tensor<L | 'embed' | 'hidden'>; readonly gate?: Tensor<L | 'embed' | 'hidden'>; readonly down: Tensor<L | 'embed' | 'hidden'> }
export type LayerFeed = { readonly norm: Tensor<'embed'>; readonly up: Tensor<'embed' | 'hidden'>; readonly gate?: Tensor<'embed' | 'hidden'>; readonly down: Tensor<'embed' | 'hidden'> }
export type T5Bias = Tensor<'buckets' | 'heads'>
/** Experts of the layers that have some. */
type Router = { readonly norm: Tensor<L | 'embed'>; readonly router: Tensor<L | 'routes' | 'embed'>; readonly experts: { readonly up: Tensor<L | 'experts' | 'expertHidden' | 'embed'>; readonly down: Tensor<L | 'experts' | 'expertHidden' | 'embed'> } }
export type LayerRouter = { readonly norm: Tensor<'embed'>; readonly router: Tensor<'routes' | 'embed'>; readonly experts: { readonly up: Tensor<'experts' | 'expertHidden' | 'embed'>; readonly down: Tensor<'experts' | 'expertHidden' | 'embed'> } }
/** What each token goes through by itself: `feed` in all layers; where every so many-th has experts `routed`, and of the others of a period `feeds`, in their order. */
export type Feeds = { readonly feed?: FeedForward; readonly feeds?: readonly FeedForward[]; readonly routed?: Router }
type Side = Feeds & { readonly self: T5Heads; readonly bias: T5Bias; readonly norm: Tensor<'embed'> }
export type T5Params = {
  readonly tokens: Tensor<'vocab' | 'embed'>
  readonly encoder: Side
  readonly decoder: Side & { readonly cross: T5Heads }
  /** Where logits are not tied. */
  readonly out?: Tensor<'vocab' | 'embed'>
}
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
      heads: (name: string): T5Heads => ({
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
            experts: { up: made(`${at}.experts.up`, [experts, expertHidden, embed], 1 / embed.size, periods), down: made(`${at}.experts.down`, [experts, embed, expertHidden], 1 / hidden.size, periods) },
          },
        }
      },
    }
  }
  const bias = (name: string): T5Bias => param(name, [buckets, heads], { ...weight(1 / embed.size), decays: false })
  const [e, d] = [of(encoderLayers, c?.encoderEvery), of(decoderLayers, c?.decoderEvery)]
  return {
    tokens: param('tokens', [vocab, embed], weight(1)),
    encoder: { self: e.heads('encoder.self'), ...e.feeds('encoder'), bias: bias('encoder.bias'), norm: param('encoder.norm', [embed], gain) },
    decoder: { self: d.heads('decoder.self'), cross: d.heads('decoder.cross'), ...d.feeds('decoder'), bias: bias('decoder.bias'), norm: param('decoder.norm', [embed], gain) },
    ...(tied ? {} : { out: param('out', [vocab, embed], weight(1 / embed.size)) }),
  }
}
