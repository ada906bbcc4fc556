/** Switch Transformers as Hugging Face has them: `SwitchTransformersForConditionalGeneration`. */
import { t5Model, type T5Input } from '../t5-model.ts'
import { routedAt, type SwitchConfig } from '../t5-params.ts'
import type { T5, T5Config } from '../t5.ts'
import type { Architecture } from './architecture.ts'
import { activationNamed, activationsThere, activationThere, idOf, rateOf } from './classes.ts'
import { settingsOf } from './settings.ts'
import { t5Naming, type Names } from './t5.ts'

/** The layers of one side: the n-th of each period, of which `part` is the feed-forward one's number within a layer. */
function feeds(side: string, part: number, every: number): Names {
  const layer = (place: number): string => `${side}.block.{${every === 1 ? 'layers' : `layers*${every}+${place}`}}.layer.${part}`
  const at = routedAt(every)
  const dense = Array.from({ length: every }, (_, i) => i).filter(i => i !== at)
  const experts = `${layer(at)}.mlp.experts.expert_{experts}`
  return {
    ...Object.fromEntries(dense.flatMap((place, i) => [[`${side}.feeds.${i}.up`, `${layer(place)}.mlp.wi.weight`], [`${side}.feeds.${i}.down`, `${layer(place)}.mlp.wo.weight`], [`${side}.feeds.${i}.norm`, `${layer(place)}.layer_norm.weight`]])),
    [`${side}.routed.norm`]: `${layer(at)}.layer_norm.weight`, [`${side}.routed.router`]: `${layer(at)}.mlp.router.classifier.weight`,
    [`${side}.routed.experts.up`]: `${experts}.wi.weight`, [`${side}.routed.experts.down`]: `${experts}.wo.weight`,
  }
}
const expertsOf = (c: T5Config): SwitchConfig => c.experts as SwitchConfig

export const switchArchitecture: Architecture<T5Config, T5Input, T5> = {
  modelType: 'switch_transformers', classes: ['SwitchTransformersForConditionalGeneration'], kind: t5Model, isOf: c => c.experts !== undefined,
  fromConfig: (config, { seq }) => {
    const c = settingsOf(config, 'switch_transformers')
    c.only('is_encoder_decoder', true)
    for (const key of ['is_decoder', 'add_cross_attention', 'router_bias', 'router_ignore_padding_tokens'] as const) c.only(key, false)
    c.only('router_dtype', 'float32')
    const [layers, act] = [c.count('num_layers', 12), c.oneOf('dense_act_fn', activationsThere, 'relu')]
    const decoderLayers = c.count('num_decoder_layers', 12)
    const sparse = (key: string, of: number): number => {
      const count = c.count(key, 3)
      if (count > of || of % Math.floor(of / count) !== 0) throw c.wrong(key, `layers with experts lie at equal distances: give it a number that divides ${of}`)
      return Math.floor(of / count)
    }
    const found: T5Input = {
      vocab: c.count('vocab_size', 32128), source: seq, target: seq, encoderLayers: layers, decoderLayers, embed: c.count('d_model', 768), heads: c.count('num_heads', 12), headDim: c.count('d_kv', 64), hidden: c.count('d_ff', 2048),
      buckets: c.count('relative_attention_num_buckets', 32), farthest: c.count('relative_attention_max_distance', 128), gated: false, activation: activationNamed(act) ?? 'relu', tied: c.flag('tie_word_embeddings', true),
      epsilon: c.number('layer_norm_epsilon', 1e-6), padding: idOf(c, 'pad_token_id', 0), dropout: rateOf(c, 'dropout_rate', 0.1),
      experts: {
        count: c.count('num_experts', 8), slots: c.count('expert_capacity', 64), encoderEvery: sparse('num_sparse_encoder_layers', layers), decoderEvery: sparse('num_sparse_decoder_layers', decoderLayers),
        jitter: c.number('router_jitter_noise', 0.01), balance: c.number('router_aux_loss_coef', 0.001), zLoss: c.number('router_z_loss_coef', 0.001),
      },
    }
    c.only('decoder_start_token_id', found.padding ?? 0)
    // What is put out beside the logits, and what follows from how many layers have experts.
    c.ignore('add_router_probs', 'encoder_sparse_step', 'decoder_sparse_step')
    c.done()
    return found
  },
  toConfig: c => {
    const { count, slots, encoderEvery, decoderEvery, jitter, balance, zLoss } = expertsOf(c)
    return {
      architectures: ['SwitchTransformersForConditionalGeneration'], model_type: 'switch_transformers', is_encoder_decoder: true, vocab_size: c.vocab, d_model: c.embed, d_kv: c.headDim, d_ff: c.hidden, num_heads: c.heads,
      num_layers: c.encoderLayers, num_decoder_layers: c.decoderLayers, num_sparse_encoder_layers: c.encoderLayers / encoderEvery, num_sparse_decoder_layers: c.decoderLayers / decoderEvery,
      num_experts: count, expert_capacity: slots, router_bias: false, router_dtype: 'float32', router_ignore_padding_tokens: false, router_jitter_noise: jitter, router_aux_loss_coef: balance, router_z_loss_coef: zLoss,
      relative_attention_num_buckets: c.buckets, relative_attention_max_distance: c.farthest, dense_act_fn: activationThere(c.activation), tie_word_embeddings: c.tied, layer_norm_epsilon: c.epsilon,
      pad_token_id: c.padding, decoder_start_token_id: c.padding, eos_token_id: 1, dropout_rate: c.dropout,
    }
  },
  names: c => t5Naming(c, { ...feeds('encoder', 1, expertsOf(c).encoderEvery), ...feeds('decoder', 2, expertsOf(c).decoderEvery) }),
}
