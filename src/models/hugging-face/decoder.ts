/** What the decoders of the Llama family have in common in Hugging Face's files: keys of their configuration and names of their tensors. */
import { UsageError } from '../../core/errors.ts'
import type { Naming, StoredAs } from '../../core/naming.ts'
import type { ExpertsConfig } from '../experts-config.ts'
import type { LlamaConfig, LlamaGiven } from '../llama-config.ts'
import { llamaModel } from '../llama-model.ts'
import { stagesOf } from '../llama-params.ts'
import type { Llama } from '../llama.ts'
import type { Architecture, JsonObject, Wanted } from './architecture.ts'
import { rateOf } from './classes.ts'
import { ropeOf, scalingToConfig } from './rope.ts'
import { settingsOf, type Settings } from './settings.ts'

/** A decoder's architecture: what is its own beside what all have. */
export interface Decoder {
  readonly modelType: string
  readonly classes: readonly string[]
  /** Fields of ours that every model of the architecture has. */
  readonly fixed?: Partial<LlamaConfig>
  /** What the keys of its own say. Where there are layer types, `layers` is how many. */
  readonly own?: (s: Settings, known: { readonly layers: number; readonly embed: number; readonly heads: number; readonly headDim: number }) => Partial<LlamaConfig>
  /** Theirs of what is its own. */
  readonly ownToConfig?: (c: LlamaConfig) => JsonObject
  /** Fields that `own` may set to anything; of all others a value that the architecture does not have is an error. */
  readonly may?: readonly (keyof LlamaConfig)[]
  /** How names differ from Llama's. */
  readonly names?: { readonly [path: string]: StoredAs | string } | ((c: LlamaConfig) => { readonly [path: string]: StoredAs | string })
  /** What is assumed where a key is missing. */
  readonly defaults?: { readonly base?: number; readonly positions?: number; readonly tied?: boolean; readonly epsilon?: number; readonly kvHeads?: number; readonly headDim?: number; readonly activation?: string }
  /** What its files call what experts have, where it has some; and what of a configuration of experts it has no word for. */
  readonly experts?: { readonly names: (c: ExpertsConfig) => { readonly [path: string]: StoredAs | string }; readonly unsaid: (c: ExpertsConfig) => string | undefined }
  /** The key of the activation. */
  readonly activationKey?: string
  /** Whether it may turn a share of each head. */
  readonly partial?: boolean
}

const activationsOf = { silu: 'silu', swish: 'silu', gelu_pytorch_tanh: 'gelu', gelu_new: 'gelu', gelu: 'geluExact' } as const
const activationNames = { silu: 'silu', gelu: 'gelu_pytorch_tanh', geluExact: 'gelu' } as const

/** Fields of every decoder: sizes, and what `config.json` has no word for. */
const common: readonly (keyof LlamaConfig)[] = ['vocab', 'seq', 'positions', 'layers', 'embed', 'heads', 'kvHeads', 'headDim', 'hidden', 'dropout', 'attentionDropout', 'activation', 'epsilon', 'tied', 'rope', 'blockwise', 'packed', 'masked', 'experts', 'pipeline']
/** What the others are where an architecture has no option for them. */
const usual: Partial<LlamaConfig> = {
  norms: 'before', gainsFromOne: false, queryKeyNorms: 'none', attentionBiases: 'none', feedBiases: false, embedScale: 1, unturned: [], unwindowed: [],
}

const projection = (name: string, ...heads: string[]): StoredAs => ({ name: `model.layers.{layers}.self_attn.${name}.weight`, axes: [heads, ['embed']] })
const bias = (name: string, ...heads: string[]): StoredAs => ({ name: `model.layers.{layers}.self_attn.${name}.bias`, axes: [heads] })
const layer = (name: string): string => `model.layers.{layers}.${name}`
/** Llama's names of everything that a decoder may have. */
const all: { readonly [path: string]: StoredAs | string } = {
  tokens: 'model.embed_tokens.weight', norm: 'model.norm.weight', head: 'lm_head.weight',
  query: projection('q_proj', 'kvHeads', 'group', 'headDim'), key: projection('k_proj', 'kvHeads', 'headDim'), value: projection('v_proj', 'kvHeads', 'headDim'),
  out: { name: layer('self_attn.o_proj.weight'), axes: [['embed'], ['kvHeads', 'group', 'headDim']] },
  queryBias: bias('q_proj', 'kvHeads', 'group', 'headDim'), keyBias: bias('k_proj', 'kvHeads', 'headDim'), valueBias: bias('v_proj', 'kvHeads', 'headDim'), outBias: bias('o_proj', 'embed'),
  queryNorm: layer('self_attn.q_norm.weight'), keyNorm: layer('self_attn.k_norm.weight'),
  gate: layer('mlp.gate_proj.weight'), up: layer('mlp.up_proj.weight'), down: layer('mlp.down_proj.weight'),
  gateBias: layer('mlp.gate_proj.bias'), upBias: layer('mlp.up_proj.bias'), downBias: layer('mlp.down_proj.bias'),
}
const normNames = {
  before: { norm1: layer('input_layernorm.weight'), norm2: layer('post_attention_layernorm.weight') },
  after: { norm1After: layer('post_attention_layernorm.weight'), norm2After: layer('post_feedforward_layernorm.weight') },
  both: { norm1: layer('input_layernorm.weight'), norm1After: layer('post_attention_layernorm.weight'), norm2: layer('pre_feedforward_layernorm.weight'), norm2After: layer('post_feedforward_layernorm.weight') },
}

/** The paths of a configuration's parameters, and what each is called within its layers. */
function pathsOf(c: LlamaConfig): { readonly path: string; readonly own: string; readonly from: number; readonly over: string }[] {
  const { experts } = c
  const block = [
    ...(c.latent === undefined ? ['query', 'key', 'value', 'out'] : [...(c.latent.query === undefined ? [] : ['queryDown', 'queryLatentNorm']), 'query', 'latentDown', 'turnedKey', 'latentNorm', 'keyValue', 'out']), ...Object.keys(normNames[c.norms]),
    ...(c.attentionBiases === 'none' ? [] : ['queryBias', 'keyBias', 'valueBias']), ...(c.attentionBiases === 'all' ? ['outBias'] : []), ...(c.queryKeyNorms === 'none' ? [] : ['queryNorm', 'keyNorm']),
  ]
  const dense = ['gate', 'up', 'down', ...(c.feedBiases ? ['gateBias', 'upBias', 'downBias'] : [])]
  const under = (name: string): string[] => ['gate', 'up', 'down'].map(w => `${name}.${w}`)
  const routed = experts === undefined ? [] : ['router', ...(experts.biasRate === undefined ? [] : ['routerBias']), ...under('experts'), ...(experts.shared === 0 ? [] : under('shared')), ...(experts.sharedGate ? ['sharedGate'] : [])]
  return [
    ...['tokens', 'norm', ...(c.tied ? [] : ['head'])].map(path => ({ path, own: path, from: 0, over: 'layers' })),
    ...stagesOf(c).flatMap(({ name, from, over, routed: of }) => [...block, ...(of ? routed : dense)].map(own => ({ path: `${name}.${own}`, own, from, over: over.name }))),
  ]
}
/** The name of a stack of layers that begins with another than the first, or has a dim of another name. */
const beginningAt = (stored: StoredAs | string, from: number, over: string): StoredAs | string => {
  if (from === 0 && over === 'layers') return stored
  const moved = (name: string): string => name.replace('{layers}', `{${over}${from === 0 ? '' : `+${from}`}}`)
  return typeof stored === 'string' ? moved(stored) : { ...stored, name: moved(stored.name) }
}
function namesOf(c: LlamaConfig, { names = {}, experts }: Decoder): Naming {
  const together: { readonly [path: string]: StoredAs | string } = c.queryKeyNorms === 'heads'
    ? { queryNorm: { name: layer('self_attn.q_norm.weight'), axes: [['kvHeads', 'group', 'headDim']] }, keyNorm: { name: layer('self_attn.k_norm.weight'), axes: [['kvHeads', 'headDim']] } } : {}
  const routed = c.experts === undefined ? {} : experts?.names(c.experts)
  const known: { readonly [path: string]: StoredAs | string } = { ...all, ...normNames[c.norms], ...together, ...routed, ...(typeof names === 'function' ? names(c) : names) }
  return {
    parameters: Object.fromEntries(pathsOf(c).map(({ path, own, from, over }) => [path, beginningAt(known[own] ?? path, from, over)])),
    prefix: 'model.', idle: ['*.rotary_emb.inv_freq', ...(c.tied ? ['lm_head.weight'] : [])],
  }
}

function read(d: Decoder, config: JsonObject, { seq, packed = false, masked = false }: Wanted): LlamaGiven {
  const { defaults = {}, fixed = {} } = d
  const s = settingsOf(config, d.modelType)
  const [layers, embed, heads] = [s.count('num_hidden_layers'), s.count('hidden_size'), s.count('num_attention_heads')]
  const headDim = s.has('head_dim') || embed % heads !== 0 ? s.count('head_dim', defaults.headDim) : defaults.headDim ?? embed / heads
  const positions = s.count('max_position_embeddings', defaults.positions)
  const kvHeads = s.count('num_key_value_heads', defaults.kvHeads ?? heads)
  if (heads % kvHeads !== 0) throw s.wrong('num_key_value_heads', `give it a number that divides num_attention_heads, which is ${heads}`)
  const original = d.partial === true ? s.count('original_max_position_embeddings', positions) : undefined
  const own = d.own?.(s, { layers, embed, heads, headDim }) ?? {}
  const rope = own.rope ?? ropeOf(s, { positions, original, headDim, base: defaults.base ?? 10000, partial: d.partial })
  const found: LlamaGiven = {
    ...fixed,
    vocab: s.count('vocab_size'), seq, layers, embed, heads, kvHeads, headDim, hidden: s.count('intermediate_size'),
    activation: activationsOf[s.oneOf(d.activationKey ?? 'hidden_act', Object.keys(activationsOf) as (keyof typeof activationsOf)[], (defaults.activation ?? 'silu') as 'silu')],
    epsilon: s.number('rms_norm_eps', defaults.epsilon ?? 1e-6), tied: s.flag('tie_word_embeddings', defaults.tied ?? false), attentionDropout: rateOf(s, 'attention_dropout', 0),
    ...own, rope, packed, masked, ...(positions === seq ? {} : { positions }),
  }
  s.done()
  return found
}

/** The first field of a configuration that an architecture has no word for. */
function unsaid(d: Decoder, c: LlamaConfig): string | undefined {
  const may = new Set<string>([...common, ...d.may ?? []])
  const expected: { readonly [field: string]: unknown } = { ...usual, ...d.fixed }
  const field = Object.entries(c).find(([field, value]) => !may.has(field) && JSON.stringify(value) !== JSON.stringify(expected[field]))
  if (field !== undefined) return `${field[0]} = ${JSON.stringify(field[1])}`
  const own = (d.experts === undefined) !== (c.experts === undefined) ? 'all' : c.experts === undefined ? undefined : d.experts?.unsaid(c.experts)
  if (own !== undefined) return own === 'all' ? `experts = ${JSON.stringify(c.experts)}` : `experts.${own}`
  return c.rope.share !== 1 && d.partial !== true ? `rope.share = ${c.rope.share}` : undefined
}

function written(d: Decoder, c: LlamaConfig): JsonObject {
  const field = unsaid(d, c)
  if (field !== undefined) throw new UsageError({ code: 'model-config', what: `${d.modelType} has no word for ${field}`, fix: 'write it as an architecture that has this option' })
  const { base, share, scaling } = c.rope
  return {
    model_type: d.modelType, architectures: [d.classes[0] ?? ''],
    vocab_size: c.vocab, hidden_size: c.embed, intermediate_size: c.hidden, num_hidden_layers: c.layers, num_attention_heads: c.heads, num_key_value_heads: c.kvHeads, head_dim: c.headDim,
    [d.activationKey ?? 'hidden_act']: activationNames[c.activation], rms_norm_eps: c.epsilon, tie_word_embeddings: c.tied, attention_dropout: c.attentionDropout,
    max_position_embeddings: positionsOf(c), rope_theta: base, ...(scaling === undefined ? {} : { rope_scaling: scalingToConfig(scaling) }),
    ...(d.partial === true ? { partial_rotary_factor: share } : {}),
    ...d.ownToConfig?.(c),
  }
}
/** How long windows may be: `dynamic` is told by it what was before, `longrope` and `yarn` what is now. */
function positionsOf({ seq, positions, rope: { scaling } }: LlamaConfig): number {
  if (positions !== undefined) return positions
  if (scaling === undefined || scaling.type === 'linear') return seq
  return scaling.type === 'dynamic' ? scaling.original : Math.max(seq, Math.round(scaling.original * scaling.factor))
}

export const decoder = (d: Decoder): Architecture<LlamaConfig, LlamaGiven, Llama> => ({
  modelType: d.modelType, classes: d.classes, kind: llamaModel,
  fromConfig: (config, wanted) => read(d, config, wanted), toConfig: c => written(d, c), names: c => namesOf(c, d), isOf: c => unsaid(d, c) === undefined,
})

/** Which layers have a window, of their types or else of a rule; nothing where there is no window. */
export function windowOf(s: Settings, layers: number, key: string, rule: (layer: number) => boolean, { use = true, fallback }: { readonly use?: boolean; readonly fallback?: number } = {}): Pick<LlamaConfig, 'window' | 'unwindowed'> {
  const types = s.words('layer_types', layers, ['sliding_attention', 'full_attention'])
  const window = use && (s.has(key) || fallback !== undefined) ? s.count(key, fallback) : undefined
  s.ignore(key)
  const slides = Array.from({ length: layers }, (_, i) => (types === undefined ? rule(i) : types[i] === 'sliding_attention'))
  if (window === undefined && types?.includes('sliding_attention') === true) throw s.wrong(key, 'give it the number of positions that layers of sliding_attention see')
  return window === undefined || !slides.includes(true) ? { unwindowed: [] } : { window, unwindowed: slides.flatMap((slides, i) => (slides ? [] : [i])) }
}
export const layerTypes = ({ layers, window, unwindowed }: LlamaConfig): readonly string[] =>
  Array.from({ length: layers }, (_, i) => (window === undefined || unwindowed.includes(i) ? 'full_attention' : 'sliding_attention'))
