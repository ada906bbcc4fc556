/** T5 and Flan-T5 as Hugging Face has them: `T5ForConditionalGeneration`. */
import type { Naming, StoredAs } from '../../core/naming.ts'
import { t5Model, type T5Input } from '../t5-model.ts'
import type { T5, T5Config } from '../t5.ts'
import type { Architecture } from './architecture.ts'
import { activationNamed, activationsThere, activationThere, idOf, rateOf } from './classes.ts'
import { settingsOf } from './settings.ts'

export type Names = { readonly [path: string]: StoredAs | string }
/** Names of attention's weights. */
const heads = (path: string, layer: string, norm: string): Names => ({
  ...Object.fromEntries(Object.entries({ query: 'q', key: 'k', value: 'v' }).map(([ours, theirs]) => [`${path}.${ours}`, { name: `${layer}.${theirs}.weight`, axes: [['heads', 'headDim'], ['embed']] }])),
  [`${path}.out`]: { name: `${layer}.o.weight`, axes: [['embed'], ['heads', 'headDim']] }, [`${path}.norm`]: `${norm}.layer_norm.weight`,
})
const feed = (path: string, layer: string, gated: boolean): Names => ({
  ...(gated ? { [`${path}.gate`]: `${layer}.DenseReluDense.wi_0.weight`, [`${path}.up`]: `${layer}.DenseReluDense.wi_1.weight` } : { [`${path}.up`]: `${layer}.DenseReluDense.wi.weight` }),
  [`${path}.down`]: `${layer}.DenseReluDense.wo.weight`, [`${path}.norm`]: `${layer}.layer_norm.weight`,
})

export const t5Architecture: Architecture<T5Config, T5Input, T5> = {
  modelType: 't5', classes: ['T5ForConditionalGeneration', 'T5WithLMHeadModel'], kind: t5Model, isOf: c => c.experts === undefined,
  fromConfig: (config, { seq }) => {
    const c = settingsOf(config, 't5')
    c.only('is_encoder_decoder', true)
    c.only('is_decoder', false)
    const projection = c.oneOf('feed_forward_proj', [...activationsThere, ...activationsThere.map(name => `gated-${name}`)], 'relu')
    const gated = projection.startsWith('gated-')
    // What the files call gated-gelu is the approximation.
    const activation = projection === 'gated-gelu' ? 'gelu' : activationNamed(projection.replace('gated-', '')) ?? 'relu'
    const layers = c.count('num_layers')
    const found: T5Input = {
      vocab: c.count('vocab_size'), source: seq, target: seq, encoderLayers: layers, decoderLayers: c.count('num_decoder_layers', layers), embed: c.count('d_model'), heads: c.count('num_heads'), headDim: c.count('d_kv'), hidden: c.count('d_ff'),
      buckets: c.count('relative_attention_num_buckets', 32), farthest: c.count('relative_attention_max_distance', 128), gated, activation, tied: c.flag('tie_word_embeddings', true),
      epsilon: c.number('layer_norm_epsilon', 1e-6), padding: idOf(c, 'pad_token_id', 0), dropout: rateOf(c, 'dropout_rate', 0.1),
    }
    c.only('decoder_start_token_id', found.padding ?? 0)
    c.only('scale_decoder_outputs', found.tied ?? true)
    // Of what was before positions were relative, of other heads, and of what `feed_forward_proj` says.
    c.ignore('n_positions', 'classifier_dropout', 'dense_act_fn', 'is_gated_act')
    c.done()
    return found
  },
  toConfig: c => {
    const act = activationThere(c.activation)
    return {
      architectures: ['T5ForConditionalGeneration'], model_type: 't5', is_encoder_decoder: true, vocab_size: c.vocab, d_model: c.embed, d_kv: c.headDim, d_ff: c.hidden, num_layers: c.encoderLayers, num_decoder_layers: c.decoderLayers, num_heads: c.heads,
      relative_attention_num_buckets: c.buckets, relative_attention_max_distance: c.farthest, feed_forward_proj: c.gated ? (c.activation === 'gelu' ? 'gated-gelu' : `gated-${act}`) : act,
      tie_word_embeddings: c.tied, layer_norm_epsilon: c.epsilon, pad_token_id: c.padding, decoder_start_token_id: c.padding, eos_token_id: 1, dropout_rate: c.dropout,
    }
  },
  names: c => {
    const [e, d] = ['encoder.block.{layers}.layer', 'decoder.block.{layers}.layer']
    return t5Naming(c, { ...feed('encoder.feed', `${e}.1`, c.gated), ...feed('decoder.feed', `${d}.2`, c.gated) })
  },
}

/** Names of all but the feed-forward nets, and theirs. */
export function t5Naming({ tied }: T5Config, feeds: Names): Naming {
  const [e, d] = ['encoder.block.{layers}.layer', 'decoder.block.{layers}.layer']
  return {
    parameters: {
      tokens: 'shared.weight', ...(tied ? {} : { out: 'lm_head.weight' }),
      ...heads('encoder.self', `${e}.0.SelfAttention`, `${e}.0`), ...heads('decoder.self', `${d}.0.SelfAttention`, `${d}.0`), ...heads('decoder.cross', `${d}.1.EncDecAttention`, `${d}.1`), ...feeds,
      // The first layer's, which all use.
      'encoder.bias': 'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight', 'decoder.bias': 'decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight',
      'encoder.norm': 'encoder.final_layer_norm.weight', 'decoder.norm': 'decoder.final_layer_norm.weight',
    },
    idle: ['encoder.embed_tokens.weight', 'decoder.embed_tokens.weight', 'decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight', ...(tied ? ['lm_head.weight'] : [])],
  }
}
