/** What there is to set of a decoder of the Llama family, and the schema of it. */
import { z } from 'zod'
import type { Context } from '../nn/context.ts'
import type { RotaryScaling } from '../nn/frequencies.ts'
import type { LatentConfig } from './latent.ts'
import { expertsSchema, type ExpertsConfig, type ExpertsGiven } from './experts-config.ts'
import { checkInContext, contextSchema } from './in-context.ts'
import { pipelineSchema, type PipelineConfig } from './pipelined.ts'

/** Rotary positions. */
export interface Rope {
  /** Of the frequencies. */
  readonly base: number
  /** Which share of a head is turned: its first elements. All of them unless said. */
  readonly share: number
  /** How frequencies are stretched for long windows. */
  readonly scaling?: RotaryScaling | undefined
}

export interface LlamaConfig {
  readonly vocab: number
  /** Tokens in a window. */
  readonly seq: number
  /** The longest window that it is made for, where that is not `seq`: nothing is computed by it, and other tools are told. */
  readonly positions?: number | undefined
  readonly layers: number
  readonly embed: number
  /** Heads of queries; `kvHeads` of keys and values, each shared by as many of them (Ainslie et al. 2023). */
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly hidden: number
  /** Keys and values made of latents, one of all heads, in place of keys and values of the stream (DeepSeek-V2, V3). `headDim` has the turned part of a head, too. */
  readonly latent?: LatentConfig | undefined
  /** Experts in place of the feed-forward net, in all layers but the first `dense` ones. */
  readonly experts?: ExpertsConfig | undefined
  /** Share of activations zeroed in training: of the embedding and of what each branch adds. */
  readonly dropout: number
  /** Share zeroed in training of what attention takes of values: then the scores of a window are held whole, as `blockwise` does not. */
  readonly attentionDropout: number
  readonly activation: 'silu' | 'gelu' | 'geluExact'
  /** Of the norms. */
  readonly epsilon: number
  /** Which sides of a branch are normed: what enters it, what leaves it (OLMo 2), or both (Gemma 2). */
  readonly norms: 'before' | 'after' | 'both'
  /** Whether gains of norms are kept as what they are more than 1 (Gemma). */
  readonly gainsFromOne: boolean
  /** Whether queries and keys are normed: each head by itself (Qwen 3, Gemma 3), or all heads together (OLMo 2). */
  readonly queryKeyNorms: 'none' | 'head' | 'heads'
  /** Which projections of attention have biases. */
  readonly attentionBiases: 'none' | 'qkv' | 'all'
  readonly feedBiases: boolean
  /** Whether the embedding gives the logits, too. */
  readonly tied: boolean
  /** What products of queries and keys are multiplied by; 1 / √headDim unless said. */
  readonly scale?: number | undefined
  /** Caps by tanh, of the scores and of the logits (Gemma 2). */
  readonly scoreCap?: number | undefined
  readonly logitCap?: number | undefined
  /** What embeddings are multiplied by. */
  readonly embedScale: number
  readonly rope: Rope
  /** That of the layers with a window, where it is another (Gemma 3). */
  readonly localRope?: Rope | undefined
  /** Layers without positions, counted from 0 (SmolLM 3). */
  readonly unturned: readonly number[]
  /** How many positions a token sees, itself among them, in layers with a window. */
  readonly window?: number | undefined
  /** Layers that see everything though there is a window, counted from 0. */
  readonly unwindowed: readonly number[]
  /** How many positions attention computes with at a time (`attention`'s `block`): 0 for all at once, `auto` for a number by the length of windows. */
  readonly blockwise: number | 'auto'
  /**
   * How windows that a layout splits along `seq` are attended to (`attention`'s `context`): ring, zigzag, gather, of as many `blocks` as devices share a window or a multiple, or ulysses,
   * which a recipe has split heads instead: `layouts: { attention: { seq: [], heads: AXIS } }`.
   */
  readonly context?: Context | undefined
  /** Layers in stages, and batches in microbatches that go through them. */
  readonly pipeline?: PipelineConfig | undefined
  /** Windows of several documents: `segments` says whose a token is, `positions` where in it. Documents do not see each other. */
  readonly packed: boolean
  /** Whether targets of −100 do not count. They never count where documents are packed. */
  readonly masked: boolean
}
/** What has a default may be left out. */
type Optional = 'kvHeads' | 'dropout' | 'attentionDropout' | 'activation' | 'epsilon' | 'norms' | 'gainsFromOne' | 'queryKeyNorms' | 'attentionBiases' | 'feedBiases' | 'tied' | 'embedScale' | 'rope' | 'unturned' | 'unwindowed' | 'blockwise' | 'packed' | 'masked'
export type LlamaGiven = Omit<LlamaConfig, Optional | 'localRope' | 'experts'> & { readonly experts?: ExpertsGiven | undefined } & { readonly [K in Exclude<Optional, 'rope'>]?: LlamaConfig[K] | undefined } & { readonly [K in 'rope' | 'localRope']?: { readonly [F in keyof Rope]?: Rope[F] | undefined } | undefined }

const count = z.int().min(1).max(2 ** 31 - 1)
const above = z.number().gt(0)
const numbers = z.array(above)
const stretched = { factor: above, original: count }
const scaling = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('linear'), factor: above }),
  z.strictObject({ type: z.literal('dynamic'), ...stretched }),
  z.strictObject({
    type: z.literal('yarn'), ...stretched, attentionFactor: above.optional(), betaFast: above.optional(), betaSlow: above.optional(), mscale: z.number().optional(), mscaleAllDim: z.number().optional(), truncate: z.boolean().optional(),
  }),
  z.strictObject({ type: z.literal('longrope'), ...stretched, short: numbers, long: numbers, attentionFactor: above.optional() }),
  z.strictObject({ type: z.literal('llama3'), ...stretched, low: above, high: above }),
])
const rope = z.strictObject({ base: above.default(10000), share: z.number().gt(0).max(1).default(1), scaling: scaling.optional() })
const latent = z.strictObject({ query: count.optional(), keyValue: count, turned: count, value: count, pairs: z.enum(['neighbours', 'halves']) })
const someLayers = z.array(z.int().min(0)).default([])

const schema = z.strictObject({
  vocab: count, seq: count, positions: count.optional(), layers: count, embed: count, heads: count, kvHeads: count.optional(), headDim: count, hidden: count, experts: expertsSchema.optional(), latent: latent.optional(), dropout: z.number().min(0).max(0.9).default(0), attentionDropout: z.number().min(0).max(0.9).default(0),
  activation: z.enum(['silu', 'gelu', 'geluExact']).default('silu'), epsilon: z.number().min(0).default(1e-5), norms: z.enum(['before', 'after', 'both']).default('before'), gainsFromOne: z.boolean().default(false),
  queryKeyNorms: z.enum(['none', 'head', 'heads']).default('none'), attentionBiases: z.enum(['none', 'qkv', 'all']).default('none'), feedBiases: z.boolean().default(false), tied: z.boolean().default(false),
  scale: above.optional(), scoreCap: above.optional(), logitCap: above.optional(), embedScale: above.default(1), rope: rope.prefault({}), localRope: rope.optional(), unturned: someLayers,
  window: count.optional(), unwindowed: someLayers, blockwise: z.union([z.literal('auto'), z.int().min(0)]).default('auto'), packed: z.boolean().default(false), masked: z.boolean().default(false), context: contextSchema, pipeline: pipelineSchema,
}).superRefine((c, issues) => {
  const wrong = (path: string, message: string): void => { issues.addIssue({ code: 'custom', path: [path], message }) }
  checkInContext(c, wrong)
  if (c.heads % (c.kvHeads ?? c.heads) !== 0) wrong('kvHeads', `give a number that divides heads, which is ${c.heads}`)
  for (const field of ['unturned', 'unwindowed'] as const) if (c[field].some(i => i >= c.layers)) wrong(field, `give layers from 0 to ${c.layers - 1}`)
  for (const field of ['rope', 'localRope'] as const) {
    const turned = Math.floor(c.headDim * (c[field]?.share ?? 1))
    if (turned % 2 !== 0 || turned === 0) wrong(field, `turn an even number of a head's elements: a share of headDim, which is ${c.headDim}`)
  }
  if (c.latent !== undefined) {
    if (c.latent.turned % 2 !== 0 || c.latent.turned >= c.headDim || c.latent.value > c.headDim) wrong('latent', `turn an even part of a head, and give values at most its width: headDim is ${c.headDim}`)
    const odd = Object.entries({ kvHeads: (c.kvHeads ?? c.heads) === c.heads, queryKeyNorms: c.queryKeyNorms === 'none', attentionBiases: c.attentionBiases === 'none', gainsFromOne: !c.gainsFromOne, rope: c.rope.share === 1, localRope: c.localRope === undefined }).find(([, fits]) => !fits)
    if (odd !== undefined) wrong(odd[0], 'attention over latents has no such option: leave it out')
  }
  if (c.experts !== undefined && c.experts.dense >= c.layers) wrong('experts', `dense is ${c.experts.dense}: leave layers that have experts, of ${c.layers}`)
  // A group is then a piece of the text, as it is without: its tokens stand next to each other in either order.
  const zigzag = c.context?.form === 'zigzag' ? c.context.blocks : 0
  const pieces = Math.max(1, 2 * zigzag)
  if (c.experts !== undefined && (c.experts.capacity !== undefined || c.experts.groups > 1) && c.experts.groups % pieces !== 0) {
    wrong('experts', `give groups that are a multiple of ${pieces}, or context form ring: zigzag of ${zigzag} blocks has a window in ${pieces} pieces in another order, and a group of several of them would drop others`)
  }
  if (c.experts !== undefined && c.feedBiases) wrong('feedBiases', 'experts have no biases: leave it out')
  if (c.window === undefined && (c.localRope !== undefined || c.unwindowed.length > 0)) wrong('window', 'give one where layers differ by it')
}).transform(c => ({ ...c, kvHeads: c.kvHeads ?? c.heads }))
/** Every field of a configuration. */
export const llamaSchema: z.ZodType<LlamaConfig, LlamaGiven> = schema
