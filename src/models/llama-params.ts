/** The dims and parameters of a decoder of the Llama family, in the order of dims of Hugging Face's files. */
import { dims, type Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { initialisers, param, type ParamOptions } from '../graph/param.ts'
import type { Tensor } from '../graph/types.ts'
import { quantize, type Quantize, type Weight } from '../nn/quantize.ts'
import { expertDims, routedParameters, routedQuantized, type ExpertDims, type Routed, type RoutedWeights } from './experts.ts'
import { latentDims, latentParameters, latentQuantized, type LatentDims, type LatentProjections, type LatentWeights } from './latent.ts'
import { gatedParameters, gatedQuantized, type Drawn, type Gated, type GatedWeights } from './feed-forward.ts'
import type { LlamaConfig } from './llama-config.ts'
import { layersBefore, layersIn, stackedInit, stageDims } from './pipelined.ts'

export type LlamaDims = { readonly [N in 'batch' | 'seq' | 'kvSeq' | 'vocab' | 'embed' | 'heads' | 'kvHeads' | 'group' | 'headDim' | 'hidden' | 'layers' | Exclude<keyof ExpertDims, 'embed'> | keyof LatentDims]: Dim<N> } & { readonly stage?: Dim<'stage'>; readonly dense?: Dim<'dense'> }
/**
 * The dims of a decoder, for layouts and for reading its tensors. Heads are `kvHeads` × `group`: a rule for either splits them, one for `heads` nothing. Those of experts and of latents are there where the configuration has
 * some, and `stage` where it has a pipeline, of which `layers` are the places; `dense` are the layers before it.
 */
export const llamaDims = (c: LlamaConfig, batch: number): LlamaDims => ({ ...dims({
  batch, seq: c.seq, kvSeq: c.seq, vocab: c.vocab, embed: c.embed, heads: c.heads, kvHeads: c.kvHeads, group: c.heads / c.kvHeads, headDim: c.headDim, hidden: c.hidden, layers: layersIn(c), ...(layersBefore(c) === 0 ? {} : { dense: layersBefore(c) }), ...expertDims(c.experts), ...latentDims(c.latent, c.headDim),
}), ...stageDims(c) }) as LlamaDims

/** Which dim of the heads so many devices can split: that of keys and values, else those that share one; none where neither has as many. */
export const splitOfHeads = ({ kvHeads, group }: { readonly [N in 'kvHeads' | 'group']: { readonly size: number } }, devices: number): 'kvHeads' | 'group' | undefined =>
  (kvHeads.size % devices === 0 ? 'kvHeads' : group.size % devices === 0 ? 'group' : undefined)

type Heads = 'kvHeads' | 'group' | 'headDim'
type KvHeads = 'kvHeads' | 'headDim'
/** What a layer contracts beside its feed-forward part. */
type Projections<L extends string> = { readonly query: Tensor<L | Heads | 'embed'>; readonly key: Tensor<L | KvHeads | 'embed'>; readonly value: Tensor<L | KvHeads | 'embed'>; readonly out: Tensor<L | Heads | 'embed'> }
/** What else there is, as the configuration has it; gains of norms are vectors. */
type Vectors<L extends string> = {
  readonly queryBias?: Tensor<L | Heads>
  readonly keyBias?: Tensor<L | KvHeads>
  readonly valueBias?: Tensor<L | KvHeads>
  readonly outBias?: Tensor<L | 'embed'>
  /** Of each head, or of all of them together. */
  readonly queryNorm?: Tensor<L | 'headDim'> | Tensor<L | Heads>
  readonly keyNorm?: Tensor<L | 'headDim'> | Tensor<L | KvHeads>
  /** Of what enters attention and the feed-forward part, and of what leaves them. */
  readonly norm1?: Tensor<L | 'embed'>
  readonly norm1After?: Tensor<L | 'embed'>
  readonly norm2?: Tensor<L | 'embed'>
  readonly norm2After?: Tensor<L | 'embed'>
}
export type LlamaBlock<L extends string> = (Projections<L> | LatentProjections<L>) & Vectors<L> & (Gated<L> | Routed<L>)
/** Every parameter, layers stacked along `layers`; those without experts that come before such with them are `first`. `head` is there where logits are not made by the embedding. */
export type LlamaParams = { readonly tokens: Tensor<'vocab' | 'embed'>; readonly first?: LlamaBlock<'layers'>; readonly blocks: LlamaBlock<'layers'>; readonly norm: Tensor<'embed'>; readonly head?: Tensor<'vocab' | 'embed'> }

type Quantizable<T> = { readonly [K in keyof T]: T[K] extends Tensor<infer D> ? Weight<D> : never }
export type LlamaBlockWeights<L extends string> = (Quantizable<Projections<L>> | LatentWeights<L>) & Vectors<L> & (GatedWeights<L> | RoutedWeights<L>)
/** The parameters, what is contracted whole or quantized: enough to infer with. */
export type LlamaWeights = { readonly tokens: Weight<'vocab' | 'embed'>; readonly first?: LlamaBlockWeights<'layers'>; readonly blocks: LlamaBlockWeights<'layers'>; readonly norm: Tensor<'embed'>; readonly head?: Weight<'vocab' | 'embed'> }

/** A stack of layers: how many, and the number of the first. */
export interface StackOfLayers { readonly name: 'first' | 'blocks'; readonly from: number; /** Along `layers`; those that stand before a pipeline along `dense`, as no stage has them. */ readonly over: Dim<'layers'>; readonly routed: boolean }
/** The layers without experts that come before those with them, and the others. */
export function stagesOf(c: LlamaConfig): readonly StackOfLayers[] {
  const dense = c.experts?.dense ?? 0
  const last: StackOfLayers = { name: 'blocks', from: dense, over: { name: 'layers', size: layersIn(c) - dense + layersBefore(c) }, routed: c.experts !== undefined }
  // In types it is a dim as any other of layers.
  return dense === 0 ? [last] : [{ name: 'first', from: 0, over: { name: (layersBefore(c) === 0 ? 'layers' : 'dense') as 'layers', size: dense }, routed: false }, last]
}

function blockOf(c: LlamaConfig, { embed, kvHeads, group, headDim, ...d }: LlamaDims, layers: Dim<'layers'>, { weight, gain, bias, branch }: Drawn & { readonly gain: ParamOptions }, routed: boolean): LlamaBlock<'layers'> {
  const own = <K extends string>(name: K): { readonly [N in K]: Tensor<'layers' | 'embed'> } => ({ [name]: param(name, [layers, embed], gain) }) as never
  const together = c.queryKeyNorms === 'heads'
  return {
    ...(c.norms === 'after' ? {} : own('norm1')),
    ...(c.latent === undefined ? {
      query: param('query', [layers, kvHeads, group, headDim, embed], weight), key: param('key', [layers, kvHeads, headDim, embed], weight),
      value: param('value', [layers, kvHeads, headDim, embed], weight), out: param('out', [layers, embed, kvHeads, group, headDim], branch),
    } : latentParameters(c.latent, layers, { embed, kvHeads, group, headDim, ...d }, { weight, gain, bias, branch })),
    ...(c.attentionBiases === 'none' ? {} : {
      queryBias: param('queryBias', [layers, kvHeads, group, headDim], bias), keyBias: param('keyBias', [layers, kvHeads, headDim], bias), valueBias: param('valueBias', [layers, kvHeads, headDim], bias),
    }),
    ...(c.attentionBiases === 'all' ? { outBias: param('outBias', [layers, embed], bias) } : {}),
    ...(c.queryKeyNorms === 'none' ? {} : together
      ? { queryNorm: param('queryNorm', [layers, kvHeads, group, headDim], gain), keyNorm: param('keyNorm', [layers, kvHeads, headDim], gain) }
      : { queryNorm: param('queryNorm', [layers, headDim], gain), keyNorm: param('keyNorm', [layers, headDim], gain) }),
    ...(c.norms === 'before' ? {} : own('norm1After')), ...(c.norms === 'after' ? {} : own('norm2')),
    ...(routed && c.experts !== undefined ? routedParameters(c.experts, layers, { embed, ...d } as ExpertDims, { weight, branch, bias }) : gatedParameters({ embed, hidden: d.hidden, layers }, { weight, branch, bias }, c.feedBiases)),
    ...(c.norms === 'before' ? {} : own('norm2After')),
  }
}

export function llamaParameters(c: LlamaConfig, d: LlamaDims, dtype: DType): LlamaParams {
  const { vocab, embed } = d
  const [whole, one, bias] = [{ dtype, init: initialisers.normal(0.02), decays: true }, { dtype, init: c.gainsFromOne ? 0 : 1 }, { dtype, init: 0 }]
  const placing = stackedInit(c)
  // Residual branches start smaller, so that the stream's variance does not grow with depth.
  const small = { ...whole, init: initialisers.normal(0.02 / Math.sqrt(2 * c.layers)) }
  // Those before a pipeline lie in their order.
  const [stacked, before] = [{ weight: placing(whole), gain: placing(one), bias, branch: placing(small) }, { weight: whole, gain: one, bias, branch: small }]
  const stacks = Object.fromEntries(stagesOf(c).map(({ name, over, routed }) => [name, blockOf(c, d, over, name === 'first' && layersBefore(c) > 0 ? before : stacked, routed)]))
  return {
    tokens: param('tokens', [vocab, embed], whole), ...stacks as Pick<LlamaParams, 'first' | 'blocks'>, norm: param('norm', [embed], one),
    ...(c.tied ? {} : { head: param('head', [vocab, embed], whole) }),
  }
}

const blockQuantized = (block: LlamaBlock<'layers'>, d: LlamaDims, how: Quantize): LlamaBlockWeights<'layers'> => {
  const feed = 'router' in block ? routedQuantized(block, d as ExpertDims, how) : gatedQuantized(block, d, how)
  if ('latentDown' in block) {
    const { queryDown, queryLatentNorm, query, latentDown, turnedKey, latentNorm, keyValue, out } = block
    return { ...block, ...feed, ...latentQuantized({ ...(queryDown === undefined || queryLatentNorm === undefined ? {} : { queryDown, queryLatentNorm }), query, latentDown, turnedKey, latentNorm, keyValue, out }, d, how) } as LlamaBlockWeights<'layers'>
  }
  const { query, key, value, out } = block
  return { ...block, ...feed, query: quantize(query, d.embed, how), key: quantize(key, d.embed, how), value: quantize(value, d.embed, how), out: quantize(out, d.headDim, how) } as LlamaBlockWeights<'layers'>
}
/** What is contracted, in few bits: along the dim that is. Routers are whole: which expert is the best must not hang on a rounding. */
export const llamaQuantized = ({ tokens, first, blocks, norm, head }: LlamaParams, d: LlamaDims, how: Quantize): LlamaWeights => ({
  tokens: quantize(tokens, d.embed, how), ...(first === undefined ? {} : { first: blockQuantized(first, d, how) }), blocks: blockQuantized(blocks, d, how),
  norm, ...(head === undefined ? {} : { head: quantize(head, d.embed, how) }),
})
