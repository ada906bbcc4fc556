/** Decoders of experts as Hugging Face has them: Mixtral, Qwen 2 and 3 of experts, OLMoE, DeepSeek-V2 and V3, and dots.1, which has V3's routing and shared experts. */
import type { StoredAs } from '../../core/naming.ts'
import type { ExpertsConfig } from '../experts-config.ts'
import type { LlamaConfig, LlamaGiven } from '../llama-config.ts'
import type { Llama } from '../llama.ts'
import type { Architecture, JsonObject } from './architecture.ts'
import { decoder, layerTypes, windowOf, type Decoder } from './decoder.ts'
import { ropeOf } from './rope.ts'
import type { Settings } from './settings.ts'

type Of = Architecture<LlamaConfig, LlamaGiven, Llama>
type Names = { readonly [path: string]: StoredAs | string }
const layer = (name: string): string => `model.layers.{layers}.${name}`
const matrices = (ours: string, theirs: string, [gate, up, down]: readonly [string, string, string] = ['gate_proj', 'up_proj', 'down_proj']): Names =>
  ({ [`${ours}.gate`]: layer(`${theirs}.${gate}.weight`), [`${ours}.up`]: layer(`${theirs}.${up}.weight`), [`${ours}.down`]: layer(`${theirs}.${down}.weight`) })
/** As most of them are called. */
const usual: Names = { router: layer('mlp.gate.weight'), ...matrices('experts', 'mlp.experts.{experts}') }

/** What every configuration of experts here is where an architecture has no option for it. What only training uses (`groups`, `balance…`, `zLoss`, the rate of biases) needs no word. */
const plain = { dense: 0, scores: 'softmax', renormalised: true, scale: 1, shared: 0, sharedGate: false } as const
/** The first field that is otherwise, but for those that may be. */
const saying = (fixed: Partial<ExpertsConfig>, may: readonly (keyof ExpertsConfig)[], biased = false) => (c: ExpertsConfig): string | undefined => {
  const expected: Partial<ExpertsConfig> = { ...plain, within: undefined, capacity: undefined, ...fixed }
  const odd = (Object.keys(expected) as (keyof ExpertsConfig)[]).find(k => !may.includes(k) && JSON.stringify(c[k]) !== JSON.stringify(expected[k]))
  if (odd !== undefined) return `${odd} = ${JSON.stringify(c[odd])}`
  return (c.biasRate !== undefined) === biased ? undefined : `biasRate = ${JSON.stringify(c.biasRate ?? null)}`
}

/** The loss of balance is in the loss where routers' logits are put out; of all layers together. */
const balanceOf = (s: Settings, weight: number): Pick<ExpertsConfig, 'balance' | 'balanceOver'> => {
  const coefficient = s.number('router_aux_loss_coef', weight)
  return { balance: s.flag('output_router_logits', false) ? coefficient : 0, balanceOver: 'layers' }
}
const balanceTo = ({ balance }: ExpertsConfig): JsonObject => ({ output_router_logits: balance > 0, ...(balance > 0 ? { router_aux_loss_coef: balance } : {}) })
const given = (c: LlamaConfig): ExpertsConfig => c.experts as ExpertsConfig
const chosen = (s: Settings, fallback: number): number => s.count('num_experts_per_tok', fallback)
/** Experts in some layers alone are not computed, but for layers without at the beginning. */
const everywhere = (s: Settings): void => {
  s.only('decoder_sparse_step', 1)
  const dense = s.raw('mlp_only_layers')
  if (dense !== undefined && !(Array.isArray(dense) && dense.length === 0)) throw s.wrong('mlp_only_layers', 'layers with and without experts in turn are not computed: leave it empty')
}
const biases = (s: Settings): 'all' | 'none' => (s.flag('attention_bias', false) ? 'all' : 'none')
const made = (base: Pick<ExpertsConfig, 'count' | 'chosen' | 'hidden' | 'balance' | 'balanceOver'> & Partial<ExpertsConfig>): ExpertsConfig => ({ ...plain, groups: 1, zLoss: 0, ...base })

export const mixtralArchitecture: Of = decoder({
  modelType: 'mixtral', classes: ['MixtralForCausalLM'], defaults: { positions: 4096 * 32, kvHeads: 8, epsilon: 1e-5, base: 1e6 }, may: ['window'],
  experts: { names: () => ({ router: layer('block_sparse_moe.gate.weight'), ...matrices('experts', 'block_sparse_moe.experts.{experts}', ['w1', 'w3', 'w2']) }), unsaid: saying({}, []) },
  own: s => {
    s.only('router_jitter_noise', 0)
    return { ...(s.has('sliding_window') ? { window: s.count('sliding_window') } : {}), experts: made({ count: s.count('num_local_experts', 8), chosen: chosen(s, 2), hidden: s.count('intermediate_size'), ...balanceOf(s, 0.001) }) }
  },
  ownToConfig: c => ({ sliding_window: c.window ?? null, num_local_experts: given(c).count, num_experts_per_tok: given(c).chosen, ...balanceTo(given(c)) }),
})

const qwenExperts = (s: Settings, count: number, each: number, width: number): ExpertsConfig => {
  everywhere(s)
  return made({ count: s.has('num_local_experts') ? s.count('num_local_experts') : s.count('num_experts', count), chosen: chosen(s, each), hidden: s.count('moe_intermediate_size', width), renormalised: s.flag('norm_topk_prob', false), ...balanceOf(s, 0.001) })
}
const qwenToConfig = (c: LlamaConfig): JsonObject => ({
  num_experts: given(c).count, num_experts_per_tok: given(c).chosen, moe_intermediate_size: given(c).hidden, norm_topk_prob: given(c).renormalised, decoder_sparse_step: 1, mlp_only_layers: [], ...balanceTo(given(c)),
})
/** Where windows are not used the key says nothing. */
const qwenWindow = (s: Settings, layers: number): Partial<LlamaConfig> => {
  s.only('use_sliding_window', false)
  s.ignore('sliding_window', 'max_window_layers')
  const types = s.words('layer_types', layers, ['full_attention', 'sliding_attention'])
  if (types?.includes('sliding_attention') === true) throw s.wrong('layer_types', 'windows are not used: each can only be full_attention')
  return {}
}
const qwen2: Decoder = {
  modelType: 'qwen2_moe', classes: ['Qwen2MoeForCausalLM'], defaults: { positions: 32768, kvHeads: 16 }, may: ['attentionBiases'],
  experts: {
    names: () => ({ ...usual, ...matrices('shared', 'mlp.shared_expert'), sharedGate: { name: layer('mlp.shared_expert_gate.weight'), axes: [[], ['embed']] } }),
    unsaid: c => (c.shared === 0 ? 'shared = 0' : saying({ sharedGate: true }, ['renormalised', 'shared'])(c)),
  },
  own: (s, { layers }) => ({ ...qwenWindow(s, layers), attentionBiases: s.flag('qkv_bias', true) ? 'qkv' : 'none', experts: { ...qwenExperts(s, 60, 4, 1408), shared: s.count('shared_expert_intermediate_size', 5632), sharedGate: true } }),
  ownToConfig: c => ({ ...qwenToConfig(c), qkv_bias: c.attentionBiases !== 'none', shared_expert_intermediate_size: given(c).shared, use_sliding_window: false }),
}
export const qwen2MoeArchitecture: Of = decoder(qwen2)
export const qwen3MoeArchitecture: Of = decoder({
  modelType: 'qwen3_moe', classes: ['Qwen3MoeForCausalLM'], defaults: { positions: 32768, kvHeads: 4 }, fixed: { queryKeyNorms: 'head' }, may: ['attentionBiases'],
  experts: { names: () => usual, unsaid: saying({}, ['renormalised']) },
  own: (s, { layers }) => ({ ...qwenWindow(s, layers), attentionBiases: biases(s), experts: qwenExperts(s, 128, 8, 768) }),
  ownToConfig: c => ({ ...qwenToConfig(c), attention_bias: c.attentionBiases === 'all', use_sliding_window: false }),
})
export const olmoeArchitecture: Of = decoder({
  modelType: 'olmoe', classes: ['OlmoeForCausalLM'], defaults: { positions: 4096, epsilon: 1e-5 }, fixed: { queryKeyNorms: 'heads' }, may: ['attentionBiases'],
  experts: { names: () => usual, unsaid: saying({}, ['renormalised']) },
  own: s => {
    s.only('clip_qkv')
    return { attentionBiases: biases(s), experts: made({ count: s.count('num_experts', 64), chosen: chosen(s, 8), hidden: s.count('intermediate_size'), renormalised: s.flag('norm_topk_prob', false), ...balanceOf(s, 0.01) }) }
  },
  ownToConfig: c => ({ attention_bias: c.attentionBiases === 'all', num_experts: given(c).count, num_experts_per_tok: given(c).chosen, norm_topk_prob: given(c).renormalised, ...balanceTo(given(c)) }),
})

/** Routing of DeepSeek-V3, in the words of its files: sigmoids, biases that choose, groups of experts, shared experts. */
function deepseekExperts(s: Settings): ExpertsConfig {
  const [count, groups, best, hidden] = [s.has('num_local_experts') ? s.count('num_local_experts') : s.count('n_routed_experts'), s.count('n_group', 1), s.count('topk_group', 1), s.count('moe_intermediate_size')]
  const dense = s.number('first_k_dense_replace', 0)
  if (!Number.isSafeInteger(dense) || dense < 0) throw s.wrong('first_k_dense_replace', 'give it a whole number of at least 0')
  s.only('output_router_logits', false)
  return made({
    count, chosen: s.count('num_experts_per_tok'), hidden, dense, scores: 'sigmoid', renormalised: s.flag('norm_topk_prob', false), scale: s.number('routed_scaling_factor', 1),
    ...(groups === 1 ? {} : { within: { groups, chosen: best, by: 'bestTwo' as const } }), shared: hidden * s.count('n_shared_experts'), balance: 0, balanceOver: 'layers', biasRate: 0,
  })
}
const deepseekToConfig = (c: ExpertsConfig): JsonObject => ({
  n_routed_experts: c.count, num_experts_per_tok: c.chosen, moe_intermediate_size: c.hidden, first_k_dense_replace: c.dense, norm_topk_prob: c.renormalised, routed_scaling_factor: c.scale,
  n_group: c.within?.groups ?? 1, topk_group: c.within?.chosen ?? 1, n_shared_experts: c.shared / c.hidden,
})
const deepseekUnsaid = (c: ExpertsConfig): string | undefined =>
  (c.shared === 0 || c.shared % c.hidden !== 0 ? `shared = ${c.shared}` : c.within?.by === 'best' ? 'within.by = "best"' : saying({ scores: 'sigmoid' }, ['renormalised', 'scale', 'dense', 'shared', 'within'], true)(c))
export const dots1Architecture: Of = decoder({
  modelType: 'dots1', classes: ['Dots1ForCausalLM'], defaults: { positions: 2048 }, fixed: { queryKeyNorms: 'head' }, may: ['window', 'unwindowed', 'attentionBiases'],
  experts: { names: () => ({ ...usual, routerBias: layer('mlp.gate.e_score_correction_bias'), ...matrices('shared', 'mlp.shared_experts') }), unsaid: deepseekUnsaid },
  own: (s, { layers }) => {
    const from = s.has('max_window_layers') ? s.number('max_window_layers') : 62
    return { ...windowOf(s, layers, 'sliding_window', i => i >= from), attentionBiases: biases(s), experts: deepseekExperts(s) }
  },
  ownToConfig: c => ({ ...deepseekToConfig(given(c)), attention_bias: c.attentionBiases === 'all', sliding_window: c.window ?? null, layer_types: layerTypes(c) }),
})

/** Attention over latents, as DeepSeek's files have it: a latent and the turned part of keys in one tensor. */
const latentNames = ({ latent }: LlamaConfig): Names => {
  if (latent === undefined) return {}
  const at = (name: string): string => layer(`self_attn.${name}.weight`)
  const part = (from: number, dim: string): StoredAs => ({ name: at('kv_a_proj_with_mqa'), axes: [[dim], ['embed']], part: { axis: 0, from, of: latent.keyValue + latent.turned } })
  const heads = ['kvHeads', 'group', 'headDim']
  return {
    ...(latent.query === undefined ? { query: { name: at('q_proj'), axes: [heads, ['embed']] } } : { queryDown: at('q_a_proj'), queryLatentNorm: at('q_a_layernorm'), query: { name: at('q_b_proj'), axes: [heads, ['queryLatent']] } }),
    latentDown: part(0, 'keyLatent'), turnedKey: part(latent.keyValue, 'turned'), latentNorm: at('kv_a_layernorm'), keyValue: { name: at('kv_b_proj'), axes: [['kvHeads', 'keyParts'], ['keyLatent']] },
    out: { name: at('o_proj'), axes: [['embed'], ['kvHeads', 'group', 'valueDim']] },
  }
}
/** What products of queries and keys are multiplied by where windows were made longer. */
const scaleOf = (headDim: number, { scaling }: LlamaConfig['rope']): Pick<LlamaConfig, 'scale'> => {
  if (scaling?.type !== 'yarn' || (scaling.mscaleAllDim ?? 0) === 0 || scaling.factor <= 1) return {}
  return { scale: (0.1 * (scaling.mscaleAllDim ?? 0) * Math.log(scaling.factor) + 1) ** 2 / Math.sqrt(headDim) }
}
/** Attention over latents, in the words of its files. */
function latentOf(s: Settings, positions: number, pairs: 'neighbours' | 'halves'): Pick<LlamaConfig, 'headDim' | 'rope' | 'scale' | 'latent'> {
  s.only('attention_bias', false)
  s.ignore('qk_head_dim', 'head_dim')
  const [turned, still] = [s.count('qk_rope_head_dim', 64), s.count('qk_nope_head_dim', 128)]
  const rope = ropeOf(s, { positions: s.count('max_position_embeddings', positions), headDim: turned, base: 10000 })
  return { headDim: still + turned, rope, ...scaleOf(still + turned, rope), latent: { ...(s.has('q_lora_rank') ? { query: s.count('q_lora_rank') } : {}), keyValue: s.count('kv_lora_rank', 512), turned, value: s.count('v_head_dim', 128), pairs } }
}
const latentToConfig = ({ latent, headDim }: LlamaConfig): JsonObject => ({
  attention_bias: false, q_lora_rank: latent?.query ?? null, kv_lora_rank: latent?.keyValue ?? 0, qk_rope_head_dim: latent?.turned ?? 0, qk_nope_head_dim: headDim - (latent?.turned ?? 0), v_head_dim: latent?.value ?? 0, head_dim: latent?.turned ?? 0,
})
/** What is no part of the model here: how it was trained, and what tells several tokens at once. */
const idle = ['num_mtp_layers', 'num_nextn_predict_layers', 'ep_size', 'moe_layer_freq', 'seq_aux', 'aux_loss_alpha'] as const

export const deepseek2Architecture: Of = decoder({
  modelType: 'deepseek_v2', classes: ['DeepseekV2ForCausalLM'], defaults: { positions: 2048 }, may: ['latent', 'scale'], names: latentNames,
  experts: { names: () => ({ ...usual, ...matrices('shared', 'mlp.shared_experts') }), unsaid: c => (c.shared === 0 || c.shared % c.hidden !== 0 ? `shared = ${c.shared}` : c.within?.by === 'bestTwo' ? 'within.by = "bestTwo"' : saying({ renormalised: false }, ['scale', 'dense', 'shared', 'within'])(c)) },
  own: s => {
    s.ignore(...idle)
    s.only('scoring_func', 'softmax')
    for (const key of ['norm_topk_prob', 'mlp_bias'] as const) s.only(key, false)
    const limited = s.oneOf('topk_method', ['greedy', 'group_limited_greedy'], 'greedy') === 'group_limited_greedy'
    const within = limited ? { within: { groups: s.count('n_group'), chosen: s.count('topk_group'), by: 'best' as const } } : {}
    s.ignore('n_group', 'topk_group')
    const { biasRate: _, within: __, ...experts } = deepseekExperts(s)
    return { ...latentOf(s, 2048, 'neighbours'), experts: { ...experts, ...within, scores: 'softmax', renormalised: false } }
  },
  ownToConfig: c => ({ ...deepseekToConfig(given(c)), ...latentToConfig(c), norm_topk_prob: false, topk_method: given(c).within === undefined ? 'greedy' : 'group_limited_greedy' }),
})
export const deepseek3Architecture: Of = decoder({
  modelType: 'deepseek_v3', classes: ['DeepseekV3ForCausalLM'], defaults: { positions: 4096, kvHeads: 128 }, may: ['latent', 'scale'], names: latentNames,
  experts: { names: () => ({ ...usual, routerBias: layer('mlp.gate.e_score_correction_bias'), ...matrices('shared', 'mlp.shared_experts') }), unsaid: deepseekUnsaid },
  own: s => {
    s.ignore(...idle)
    s.only('scoring_func', 'sigmoid')
    s.only('topk_method', 'noaux_tc')
    return { ...latentOf(s, 4096, s.flag('rope_interleave', true) ? 'neighbours' : 'halves'), experts: deepseekExperts(s) }
  },
  ownToConfig: c => ({ ...deepseekToConfig(given(c)), ...latentToConfig(c), rope_interleave: c.latent?.pairs === 'neighbours' }),
})
