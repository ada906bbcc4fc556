/** Llama 2 and 3, SmolLM 2, Mistral, Qwen 2 and 3, SmolLM 3, OLMo 2, as Hugging Face has them. */
import type { LlamaConfig, LlamaGiven } from '../llama-config.ts'
import type { Llama } from '../llama.ts'
import type { Architecture } from './architecture.ts'
import { decoder, layerTypes, windowOf } from './decoder.ts'
import type { Settings } from './settings.ts'

type LlamaArchitecture = Architecture<LlamaConfig, LlamaGiven, Llama>
const biases = (s: Settings): 'all' | 'none' => (s.flag('attention_bias', false) ? 'all' : 'none')
const hasBiases = (c: LlamaConfig): { readonly attention_bias: boolean } => ({ attention_bias: c.attentionBiases === 'all' })

export const llamaArchitecture: LlamaArchitecture = decoder({
  modelType: 'llama', classes: ['LlamaForCausalLM'], defaults: { positions: 2048 }, may: ['attentionBiases', 'feedBiases'],
  own: s => ({ attentionBiases: biases(s), feedBiases: s.flag('mlp_bias', false) }),
  ownToConfig: c => ({ ...hasBiases(c), mlp_bias: c.feedBiases }),
})

export const mistralArchitecture: LlamaArchitecture = decoder({
  modelType: 'mistral', classes: ['MistralForCausalLM'], defaults: { positions: 4096 * 32, kvHeads: 8 }, may: ['window'],
  // Where the key is missing there is a window of 4096; where it is null there is none.
  own: s => (s.given('sliding_window') && !s.has('sliding_window') ? {} : { window: s.count('sliding_window', 4096) }),
  ownToConfig: c => ({ sliding_window: c.window ?? null }),
})

/** From `max_window_layers` on layers have a window, where windows are used. */
const qwenWindow = (s: Settings, layers: number): Partial<LlamaConfig> => {
  const from = s.has('max_window_layers') ? s.number('max_window_layers') : 28
  return windowOf(s, layers, 'sliding_window', i => i >= from, { use: s.flag('use_sliding_window', false), fallback: 4096 })
}
const qwenToConfig = (c: LlamaConfig): { readonly [key: string]: boolean | number | null | readonly string[] } =>
  ({ use_sliding_window: c.window !== undefined, sliding_window: c.window ?? null, layer_types: layerTypes(c), max_window_layers: c.window === undefined ? c.layers : layerTypes(c).indexOf('sliding_attention') })

export const qwen2Architecture: LlamaArchitecture = decoder({
  modelType: 'qwen2', classes: ['Qwen2ForCausalLM'], defaults: { positions: 32768, kvHeads: 32 }, fixed: { attentionBiases: 'qkv' }, may: ['window', 'unwindowed'],
  own: (s, { layers }) => qwenWindow(s, layers), ownToConfig: qwenToConfig,
})
export const qwen3Architecture: LlamaArchitecture = decoder({
  modelType: 'qwen3', classes: ['Qwen3ForCausalLM'], defaults: { positions: 32768, kvHeads: 32, headDim: 128 }, fixed: { queryKeyNorms: 'head' }, may: ['window', 'unwindowed', 'attentionBiases'],
  own: (s, { layers }) => ({ ...qwenWindow(s, layers), attentionBiases: biases(s) }), ownToConfig: c => ({ ...qwenToConfig(c), ...hasBiases(c) }),
})

export const smollm3Architecture: LlamaArchitecture = decoder({
  modelType: 'smollm3', classes: ['SmolLM3ForCausalLM'], defaults: { positions: 32768, kvHeads: 4, tied: true, base: 2000000 }, may: ['window', 'unwindowed', 'unturned', 'attentionBiases', 'feedBiases'],
  own: (s, { layers }) => {
    const every = s.count('no_rope_layer_interval', 4)
    // Named after what it is not: 1 for a layer that has rotary positions.
    const turned = s.numbers('no_rope_layers', layers) ?? Array.from({ length: layers }, (_, i) => ((i + 1) % every === 0 ? 0 : 1))
    const unturned = turned.flatMap((turns, i) => (turns === 0 ? [i] : []))
    return { unturned, attentionBiases: biases(s), feedBiases: s.flag('mlp_bias', false), ...windowOf(s, layers, 'sliding_window', i => unturned.includes(i), { use: s.flag('use_sliding_window', false) }) }
  },
  ownToConfig: c => ({
    ...hasBiases(c), mlp_bias: c.feedBiases, no_rope_layers: Array.from({ length: c.layers }, (_, i) => (c.unturned.includes(i) ? 0 : 1)), use_sliding_window: c.window !== undefined, sliding_window: c.window ?? null, layer_types: layerTypes(c),
  }),
})

export const olmo2Architecture: LlamaArchitecture = decoder({
  modelType: 'olmo2', classes: ['Olmo2ForCausalLM'], defaults: { positions: 2048, epsilon: 1e-5 }, fixed: { norms: 'after', queryKeyNorms: 'heads' }, may: ['attentionBiases'],
  own: s => ({ attentionBiases: biases(s) }), ownToConfig: hasBiases,
})
