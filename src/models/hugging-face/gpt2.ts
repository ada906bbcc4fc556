/** GPT-2 as Hugging Face has it: linear layers as [in, out], queries, keys and values in one. */
import { UsageError } from '../../core/errors.ts'
import type { StoredAs } from '../../core/naming.ts'
import type { GptConfig } from '../gpt-config.ts'
import { gptModel } from '../gpt-model.ts'
import type { Gpt } from '../gpt.ts'
import type { Architecture } from './architecture.ts'
import { rateOf } from './classes.ts'
import { settingsOf } from './settings.ts'

type Of<T> = T extends { readonly kind: { readonly schema: { readonly _output: infer C; readonly _input: infer I } } } ? { readonly whole: C; readonly given: I } : never
type Kind = Of<typeof gptModel>

const layer = (name: string): string => `transformer.h.{layers}.${name}`
/** A third of queries, keys and values. */
const third = (name: string, axes: readonly (readonly string[])[], index: number, width: number): StoredAs =>
  ({ name: layer(`attn.c_attn.${name}`), axes, part: { axis: axes.length - 1, from: index * width, of: 3 * width } })
const heads = ['heads', 'headDim']

export const gpt2Architecture: Architecture<Kind['whole'], Kind['given'], Gpt> = {
  modelType: 'gpt2', classes: ['GPT2LMHeadModel'], kind: gptModel,
  fromConfig(config, { seq, packed = false, masked = false }) {
    const s = settingsOf(config, 'gpt2')
    const [embed, heads] = [s.count('n_embd'), s.count('n_head')]
    if (embed % heads !== 0) throw s.wrong('n_head', `give it a number that divides n_embd, which is ${embed}`)
    const places = s.count('n_positions')
    if (seq > places) throw s.wrong('n_positions', `a window of ${seq} tokens has more than there are positions: make it shorter`)
    s.ignore('n_ctx', 'summary_activation', 'summary_first_dropout', 'summary_proj_to_labels', 'summary_type', 'summary_use_proj', 'gradient_checkpointing')
    s.only('activation_function', 'gelu_new', 'gelu_pytorch_tanh')
    s.only('layer_norm_epsilon', 1e-5)
    s.only('scale_attn_weights', true)
    s.only('tie_word_embeddings', true)
    for (const key of ['scale_attn_by_inverse_layer_idx', 'reorder_and_upcast_attn', 'add_cross_attention']) s.only(key, false)
    const dropout = rateOf(s, 'resid_pdrop', 0.1)
    s.only('embd_pdrop', dropout)
    const found = {
      vocab: s.count('vocab_size'), seq, layers: s.count('n_layer'), embed, heads, headDim: embed / heads, hidden: s.count('n_inner', 4 * embed), dropout, attentionDropout: rateOf(s, 'attn_pdrop', 0.1), biases: 'all' as const, packed, masked, ...(places === seq ? {} : { places }),
    }
    s.done()
    return found
  },
  isOf: c => c.attention === 'causal' && c.heads * c.headDim === c.embed,
  toConfig(c) {
    if (c.heads * c.headDim !== c.embed) throw new UsageError({ code: 'model-config', what: `gpt2 has no word for heads of ${c.headDim}, ${c.heads} of which are not ${c.embed} wide`, fix: 'write a model whose heads together are as wide as its embedding' })
    if (c.attention !== 'causal') throw new UsageError({ code: 'model-config', what: `gpt2 has no word for attention "${c.attention}"`, fix: 'write a model whose attention is causal' })
    return {
      model_type: 'gpt2', architectures: ['GPT2LMHeadModel'], vocab_size: c.vocab, n_positions: c.places ?? c.seq, n_embd: c.embed, n_layer: c.layers, n_head: c.heads, n_inner: c.hidden, activation_function: 'gelu_new',
      resid_pdrop: c.dropout, embd_pdrop: c.dropout, attn_pdrop: c.attentionDropout, layer_norm_epsilon: 1e-5, tie_word_embeddings: true,
    }
  },
  names(c: GptConfig) {
    const width = c.heads * c.headDim
    const norm = (path: string, name: string): { readonly [path: string]: string } => ({ [`${path}.gain`]: `${name}.weight`, [`${path}.bias`]: `${name}.bias` })
    const own = c.biases === 'all'
    const layers = Array.from({ length: c.layers }, (_, i) => i)
    return {
      prefix: 'transformer.',
      parameters: {
        tokens: 'transformer.wte.weight', positions: 'transformer.wpe.weight', ...norm('norm', 'transformer.ln_f'),
        ...norm('blocks.norm1', layer('ln_1')), ...norm('blocks.norm2', layer('ln_2')),
        ...Object.fromEntries(['query', 'key', 'value'].flatMap((name, i) => [
          [`blocks.${name}`, third('weight', [['embed'], heads], i, width)] as const, ...(own ? [[`blocks.${name}Bias`, third('bias', [heads], i, width)] as const] : []),
        ])),
        'blocks.out': { name: layer('attn.c_proj.weight'), axes: [heads, ['embed']] }, ...(own ? { 'blocks.outBias': layer('attn.c_proj.bias') } : {}),
        'blocks.up': layer('mlp.c_fc.weight'), 'blocks.upBias': layer('mlp.c_fc.bias'), 'blocks.down': layer('mlp.c_proj.weight'), 'blocks.downBias': layer('mlp.c_proj.bias'),
      },
      // Without biases of attention in ours, theirs are nothing.
      ...(own ? {} : { zeros: Object.fromEntries(layers.flatMap(i => [[`transformer.h.${i}.attn.c_attn.bias`, [3 * width]], [`transformer.h.${i}.attn.c_proj.bias`, [c.embed]]])) as { readonly [name: string]: readonly number[] } }),
      idle: ['transformer.h.*.attn.bias', 'transformer.h.*.attn.masked_bias', 'lm_head.weight'],
    }
  },
}
