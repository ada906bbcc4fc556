/** Phi-3 as Hugging Face has it: queries, keys and values in one tensor, gates and units in another. */
import type { LlamaConfig, LlamaGiven } from '../llama-config.ts'
import type { Llama } from '../llama.ts'
import type { Architecture } from './architecture.ts'
import { decoder } from './decoder.ts'

const fused = (name: string, axes: readonly (readonly string[])[], from: number, of: number): { readonly name: string; readonly axes: readonly (readonly string[])[]; readonly part: { readonly axis: number; readonly from: number; readonly of: number } } =>
  ({ name: `model.layers.{layers}.${name}.weight`, axes, part: { axis: 0, from, of } })

export const phi3Architecture: Architecture<LlamaConfig, LlamaGiven, Llama> = decoder({
  modelType: 'phi3', classes: ['Phi3ForCausalLM'], defaults: { positions: 4096, epsilon: 1e-5 }, may: ['window'], partial: true,
  own: s => {
    // Embeddings are dropped by another rate in no model that there is.
    const rate = s.number('resid_pdrop', 0)
    s.only('embd_pdrop', rate, 0)
    return { dropout: rate, ...(s.has('sliding_window') ? { window: s.count('sliding_window') } : {}) }
  },
  ownToConfig: c => ({
    sliding_window: c.window ?? null, resid_pdrop: c.dropout, embd_pdrop: c.dropout,
    original_max_position_embeddings: c.rope.scaling !== undefined && 'original' in c.rope.scaling ? c.rope.scaling.original : c.seq,
  }),
  names: ({ heads, kvHeads, headDim, hidden }) => {
    const [queries, keys] = [heads * headDim, kvHeads * headDim]
    const of = queries + 2 * keys
    return {
      query: fused('self_attn.qkv_proj', [['kvHeads', 'group', 'headDim'], ['embed']], 0, of), key: fused('self_attn.qkv_proj', [['kvHeads', 'headDim'], ['embed']], queries, of),
      value: fused('self_attn.qkv_proj', [['kvHeads', 'headDim'], ['embed']], queries + keys, of),
      gate: fused('mlp.gate_up_proj', [['hidden'], ['embed']], 0, 2 * hidden), up: fused('mlp.gate_up_proj', [['hidden'], ['embed']], hidden, 2 * hidden),
    }
  },
})
