/** The architectures of GGUF that Hugging Face has too: how both name their tensors and options (llama.cpp's convert_hf_to_gguf.py, gguf-py's tensor_mapping.py). */

/** A value of `config.json`. */
import type { PlainObject as JsonObject } from '../../core/plain.ts'

export type { Plain as Json, PlainObject as JsonObject } from '../../core/plain.ts'

/** An option under both names; `needed` where there is no model without it. */
export interface Option { readonly gguf: string; readonly hf: string; readonly type: 'u32' | 'f32' | 'bool'; readonly needed?: boolean }

export interface Family {
  /** `general.architecture`, which also is what its options' keys begin with. */
  readonly gguf: string
  /** Of `config.json`. */
  readonly modelType: string
  readonly className: string
  readonly options: readonly Option[]
  /** What `config.json` says of all of them. */
  readonly constants: JsonObject
  /** Tensors without `.weight` and `.bias`; `{}` is the layer's number. */
  readonly names: readonly (readonly [gguf: string, hf: string])[]
  /** Tensors of GGUF's names that it stores otherwise: heads interleaved, norms one more than they are, matrices turned over. */
  readonly stored: { readonly interleaved?: readonly string[]; readonly oneMore?: RegExp; readonly turned?: readonly string[] }
  /** Which layers see a window only, where some do. */
  readonly sliding?: (layer: number) => boolean
  /** Layers of the one model that does not scale by its heads' size: its scale is of hidden size / heads. */
  readonly scaledByWidth?: number
}

const option = (gguf: string, hf: string, type: Option['type'], needed = false): Option => ({ gguf, hf, type, needed })
const decoder: readonly Option[] = [
  option('context_length', 'max_position_embeddings', 'u32', true), option('embedding_length', 'hidden_size', 'u32', true), option('block_count', 'num_hidden_layers', 'u32', true),
  option('feed_forward_length', 'intermediate_size', 'u32', true), option('attention.head_count', 'num_attention_heads', 'u32', true), option('attention.head_count_kv', 'num_key_value_heads', 'u32'),
  option('attention.key_length', 'head_dim', 'u32'), option('rope.freq_base', 'rope_theta', 'f32'), option('attention.layer_norm_rms_epsilon', 'rms_norm_eps', 'f32', true), option('vocab_size', 'vocab_size', 'u32'),
]
const window = option('attention.sliding_window', 'sliding_window', 'u32')

const ends: Family['names'] = [['token_embd', 'model.embed_tokens'], ['output_norm', 'model.norm'], ['output', 'lm_head']]
const layers = (names: { readonly [gguf: string]: string }): Family['names'] => Object.entries(names).map(([gguf, hf]) => [`blk.{}.${gguf}`, `model.layers.{}.${hf}`])
const attention = { attn_q: 'self_attn.q_proj', attn_k: 'self_attn.k_proj', attn_v: 'self_attn.v_proj', attn_output: 'self_attn.o_proj' }
const normed = { attn_q_norm: 'self_attn.q_norm', attn_k_norm: 'self_attn.k_norm' }
const gated = { ffn_gate: 'mlp.gate_proj', ffn_up: 'mlp.up_proj', ffn_down: 'mlp.down_proj' }
const before = { attn_norm: 'input_layernorm', ffn_norm: 'post_attention_layernorm' }
const around = { attn_norm: 'input_layernorm', post_attention_norm: 'post_attention_layernorm', ffn_norm: 'pre_feedforward_layernorm', post_ffw_norm: 'post_feedforward_layernorm' }

const silu: JsonObject = { hidden_act: 'silu' }
const llama: Omit<Family, 'gguf' | 'modelType' | 'className'> = {
  options: decoder, constants: silu, names: [...ends, ...layers({ ...before, ...attention, ...gated })], stored: { interleaved: ['attn_q', 'attn_k'] },
}
const gemma = (version: 2 | 3): Pick<Family, 'constants' | 'stored'> => ({ constants: { hidden_activation: 'gelu_pytorch_tanh', ...version === 3 ? { rope_local_base_freq: 10000 } : {} }, stored: { oneMore: /norm\.weight$/ } })

export const families: readonly Family[] = [
  { gguf: 'llama', modelType: 'llama', className: 'LlamaForCausalLM', ...llama },
  { gguf: 'qwen2', modelType: 'qwen2', className: 'Qwen2ForCausalLM', options: decoder, constants: silu, names: llama.names, stored: {} },
  { gguf: 'qwen3', modelType: 'qwen3', className: 'Qwen3ForCausalLM', options: decoder, constants: silu, names: [...ends, ...layers({ ...before, ...attention, ...normed, ...gated })], stored: {} },
  {
    gguf: 'gemma2', modelType: 'gemma2', className: 'Gemma2ForCausalLM', ...gemma(2), sliding: i => i % 2 === 0, scaledByWidth: 46,
    options: [...decoder, window, option('attn_logit_softcapping', 'attn_logit_softcapping', 'f32'), option('final_logit_softcapping', 'final_logit_softcapping', 'f32')],
    names: [...ends, ...layers({ ...around, ...attention, ...gated })],
  },
  {
    gguf: 'gemma3', modelType: 'gemma3_text', className: 'Gemma3ForCausalLM', ...gemma(3), sliding: i => (i + 1) % 6 !== 0, scaledByWidth: 62,
    options: [...decoder, window], names: [...ends, ...layers({ ...around, ...attention, ...normed, ...gated })],
  },
  {
    gguf: 'phi3', modelType: 'phi3', className: 'Phi3ForCausalLM', options: [...decoder, window], constants: silu, stored: {},
    names: [...ends, ...layers({ ...before, attn_qkv: 'self_attn.qkv_proj', attn_output: 'self_attn.o_proj', ffn_up: 'mlp.gate_up_proj', ffn_down: 'mlp.down_proj' })],
  },
  {
    gguf: 'olmo2', modelType: 'olmo2', className: 'Olmo2ForCausalLM', options: decoder, constants: silu, stored: {},
    names: [...ends, ...layers({ ...attention, ...normed, ...gated, post_attention_norm: 'post_attention_layernorm', post_ffw_norm: 'post_feedforward_layernorm' })],
  },
  {
    gguf: 'gpt2', modelType: 'gpt2', className: 'GPT2LMHeadModel', constants: { activation_function: 'gelu_new' },
    options: [
      option('context_length', 'n_positions', 'u32', true), option('embedding_length', 'n_embd', 'u32', true), option('block_count', 'n_layer', 'u32', true), option('feed_forward_length', 'n_inner', 'u32'),
      option('attention.head_count', 'n_head', 'u32', true), option('attention.layer_norm_epsilon', 'layer_norm_epsilon', 'f32', true), option('vocab_size', 'vocab_size', 'u32'),
    ],
    names: [
      ['token_embd', 'transformer.wte'], ['position_embd', 'transformer.wpe'], ['output_norm', 'transformer.ln_f'], ['output', 'lm_head'],
      ...Object.entries({ attn_norm: 'ln_1', attn_qkv: 'attn.c_attn', attn_output: 'attn.c_proj', ffn_norm: 'ln_2', ffn_up: 'mlp.c_fc', ffn_down: 'mlp.c_proj' }).map(([gguf, hf]) => [`blk.{}.${gguf}`, `transformer.h.{}.${hf}`] as const),
    ],
    stored: { turned: ['attn_qkv', 'attn_output', 'ffn_up', 'ffn_down'] },
  },
]

/** A tensor's name in the other's terms; undefined where the family has none such. `to` is whose terms are wanted. */
export function renamed({ names }: Family, name: string, to: 'hf' | 'gguf'): string | undefined {
  const [, stem = '', suffix = ''] = /^(.*)(\.weight|\.bias)$/.exec(name) ?? []
  const [, layer] = /\.(\d+)\./.exec(name) ?? []
  const pattern = stem.replace(/\.(\d+)\./, '.{}.')
  const found = names.find(([gguf, hf]) => (to === 'hf' ? gguf : hf) === pattern)
  return found === undefined ? undefined : `${found[to === 'hf' ? 1 : 0].replace('{}', layer ?? '')}${suffix}`
}

/** What a tensor of GGUF's name is called within its layer: `attn_q`. */
export const partOf = (gguf: string): string => /^(?:blk\.\d+\.)?([^.]+)/.exec(gguf)?.[1] ?? ''
