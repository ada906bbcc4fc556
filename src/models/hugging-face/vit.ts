/** ViT as Hugging Face has it: `ViTForImageClassification`. */
import { vitModel, type Vit, type VitConfig, type VitInput } from '../vit.ts'
import type { Architecture } from './architecture.ts'
import { blockNames } from './bert.ts'
import { activationOf, activationThere, classesOf, classesThere, headsOf, heightAndWidth, rateOf } from './classes.ts'
import { settingsOf } from './settings.ts'

export const vitArchitecture: Architecture<VitConfig, VitInput, Vit> = {
  modelType: 'vit', classes: ['ViTForImageClassification'], kind: vitModel,
  fromConfig: config => {
    const c = settingsOf(config, 'vit')
    const [[height, width], [patchHeight, patchWidth]] = [heightAndWidth(c, 'image_size', 224), heightAndWidth(c, 'patch_size', 16)]
    if (height % patchHeight !== 0 || width % patchWidth !== 0) throw c.wrong('patch_size', `give it a size that divides ${height} × ${width}`)
    const found: VitInput = {
      height, width, patchHeight, patchWidth, channels: c.count('num_channels', 3), classes: classesOf(c), layers: c.count('num_hidden_layers'), ...headsOf(c), hidden: c.count('intermediate_size'),
      activation: activationOf(c, 'hidden_act', 'gelu'), epsilon: c.number('layer_norm_eps', 1e-12), dropout: rateOf(c, 'hidden_dropout_prob', 0), attentionDropout: rateOf(c, 'attention_probs_dropout_prob', 0), biases: c.flag('qkv_bias', true),
    }
    // Of heads that this one has not: a pooler, and a decoder of masked images.
    c.ignore('encoder_stride', 'pooler_output_size', 'pooler_act', 'is_encoder_decoder', 'interpolation_mode')
    c.done()
    return found
  },
  toConfig: c => {
    const one = (a: number, b: number) => (a === b ? a : [a, b])
    return {
      architectures: ['ViTForImageClassification'], model_type: 'vit', image_size: one(c.height, c.width), patch_size: one(c.patchHeight, c.patchWidth), num_channels: c.channels, hidden_size: c.embed, num_hidden_layers: c.layers, num_attention_heads: c.heads,
      intermediate_size: c.hidden, hidden_act: activationThere(c.activation), layer_norm_eps: c.epsilon, hidden_dropout_prob: c.dropout, attention_probs_dropout_prob: c.attentionDropout, qkv_bias: c.biases,
      ...classesThere(c.classes),
    }
  },
  names: c => ({
    prefix: 'vit.',
    parameters: {
      patches: 'vit.embeddings.patch_embeddings.projection.weight', patchesBias: 'vit.embeddings.patch_embeddings.projection.bias',
      first: { name: 'vit.embeddings.cls_token', axes: [[], [], ['embed']] }, positions: { name: 'vit.embeddings.position_embeddings', axes: [[], ['seq'], ['embed']] },
      ...blockNames('vit.encoder.layer.{layers}', { attention: 'attention.attention', out: 'attention.output.dense', norm1: 'layernorm_before', up: 'intermediate.dense', down: 'output.dense', norm2: 'layernorm_after' }, c.biases),
      'norm.gain': 'vit.layernorm.weight', 'norm.bias': 'vit.layernorm.bias', out: 'classifier.weight', outBias: 'classifier.bias',
    },
    idle: ['vit.pooler.*'],
  }),
}
