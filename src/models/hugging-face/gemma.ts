/** Gemma 2 and the text models of Gemma 3 as Hugging Face has them: norms on both sides, gains from 1, caps, windows in some layers. */
import type { LlamaConfig, LlamaGiven } from '../llama-config.ts'
import type { Llama } from '../llama.ts'
import type { Architecture, JsonObject } from './architecture.ts'
import { decoder, layerTypes, windowOf } from './decoder.ts'
import { ropeOf, scalingToConfig } from './rope.ts'
import type { Settings } from './settings.ts'

const fixed: Partial<LlamaConfig> = { norms: 'both', gainsFromOne: true }
const may: readonly (keyof LlamaConfig)[] = ['attentionBiases', 'scale', 'logitCap', 'embedScale', 'window', 'unwindowed']
const cap = (s: Settings, key: string, fallback?: number): number | undefined => (s.given(key) && !s.has(key) ? undefined : s.has(key) || fallback !== undefined ? s.number(key, fallback) : undefined)

const shared = (s: Settings, embed: number): Partial<LlamaConfig> => {
  s.only('use_bidirectional_attention', false)
  return { attentionBiases: s.flag('attention_bias', false) ? 'all' : 'none', scale: s.number('query_pre_attn_scalar', 256) ** -0.5, embedScale: Math.sqrt(embed) }
}
/** What scores are divided by, squared: as a whole number where it is one, as transformers takes no other. */
function scalarOf({ scale, headDim }: LlamaConfig): number {
  const found = scale === undefined ? headDim : scale ** -2
  return Math.abs(found - Math.round(found)) < 1e-6 * found ? Math.round(found) : found
}
const toConfig = (c: LlamaConfig): JsonObject => ({
  attention_bias: c.attentionBiases === 'all', query_pre_attn_scalar: scalarOf(c), sliding_window: c.window ?? c.seq, layer_types: layerTypes(c), final_logit_softcapping: c.logitCap ?? null, attn_logit_softcapping: c.scoreCap ?? null,
})
type GemmaArchitecture = Architecture<LlamaConfig, LlamaGiven, Llama>

export const gemma2Architecture: GemmaArchitecture = decoder({
  modelType: 'gemma2', classes: ['Gemma2ForCausalLM'], activationKey: 'hidden_activation', fixed, may: [...may, 'scoreCap'], defaults: { positions: 8192, kvHeads: 4, headDim: 256, tied: true, activation: 'gelu_pytorch_tanh' },
  own: (s, { layers, embed }) => {
    const [scoreCap, logitCap] = [cap(s, 'attn_logit_softcapping', 50), cap(s, 'final_logit_softcapping', 30)]
    // The activation was once said under the key that others have, wrongly.
    s.ignore('hidden_act', 'cache_implementation')
    return { ...shared(s, embed), scoreCap, logitCap, ...windowOf(s, layers, 'sliding_window', i => i % 2 === 0, { fallback: 4096 }) }
  },
  ownToConfig: toConfig,
})

export const gemma3Architecture: GemmaArchitecture = decoder({
  modelType: 'gemma3_text', classes: ['Gemma3ForCausalLM'], activationKey: 'hidden_activation', fixed: { ...fixed, queryKeyNorms: 'head' }, may: [...may, 'localRope'],
  defaults: { positions: 131072, kvHeads: 4, headDim: 256, tied: true, activation: 'gelu_pytorch_tanh' },
  own: (s, { layers, embed, headDim }) => {
    const every = s.count('sliding_window_pattern', s.has('_sliding_window_pattern') ? s.count('_sliding_window_pattern') : 6)
    s.ignore('_sliding_window_pattern')
    // Scores have no cap in this architecture, whatever the key says; only one that says so is taken.
    s.only('attn_logit_softcapping')
    const windows = windowOf(s, layers, 'sliding_window', i => (i + 1) % every !== 0, { fallback: 4096 })
    const told = { positions: s.count('max_position_embeddings', 131072), headDim }
    const local = ropeOf(s, { ...told, base: 10000, baseKey: 'rope_local_base_freq', layers: 'sliding_attention' })
    const rope = ropeOf(s, { ...told, base: 1000000, layers: 'full_attention' })
    return { ...shared(s, embed), logitCap: cap(s, 'final_logit_softcapping'), ...windows, rope, ...(windows.window === undefined ? {} : { localRope: local }) }
  },
  ownToConfig: c => {
    const local = c.localRope ?? c.rope
    return {
      ...toConfig(c), rope_local_base_freq: local.base,
      ...(local.scaling === undefined ? {} : { rope_parameters: { full_attention: { rope_theta: c.rope.base, rope_type: 'default', ...(c.rope.scaling === undefined ? {} : scalingToConfig(c.rope.scaling)) }, sliding_attention: { rope_theta: local.base, ...scalingToConfig(local.scaling) } } }),
    }
  },
})
