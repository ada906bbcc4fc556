/** ViT as Hugging Face has it: `ViTForImageClassification`. */
import { vitModel, type Vit, type VitConfig, type VitInput } from '../vit.ts'
import type { Architecture } from './architecture.ts'
import { activationsThere, activationThere, blockNames } from './bert.ts'
import { ConfigReader } from './reading.ts'

export const vitThere: Architecture<VitConfig, VitInput, Vit> = {
  modelType: 'vit', classes: ['ViTForImageClassification'], kind: vitModel,
  fromConfig: config => {
    const c = new ConfigReader(config, 'ViT that tells classes')
    c.only('problem_type', 'single_label_classification')
    c.only('pruned_heads', {})
    const [[height, width], [patchHeight, patchWidth]] = [c.pair('image_size', 224), c.pair('patch_size', 16)]
    const [embed, heads] = [c.count('hidden_size'), c.count('num_attention_heads')]
    if (embed % heads !== 0) throw c.wrong('num_attention_heads', `a number that divides hidden_size, ${embed}`)
    if (height % patchHeight !== 0 || width % patchWidth !== 0) throw c.wrong('patch_size', `a size that divides ${height} × ${width}`)
    const classes = c.labels()
    if (classes < 2) throw c.wrong('id2label', 'two labels or more: a number is not computed')
    const found: VitInput = {
      height, width, patchHeight, patchWidth, channels: c.count('num_channels', 3), classes, layers: c.count('num_hidden_layers'), embed, heads, hidden: c.count('intermediate_size'),
      activation: c.oneOf('hidden_act', activationsThere, 'gelu'), epsilon: c.number('layer_norm_eps', 1e-12), dropout: c.rate('hidden_dropout_prob', 0), attentionDropout: c.rate('attention_probs_dropout_prob', 0), biases: c.flag('qkv_bias', true),
    }
    // Of heads that this one has not: a pooler, and a decoder of masked images.
    c.idle('encoder_stride', 'pooler_output_size', 'pooler_act', 'is_encoder_decoder', 'interpolation_mode')
    c.done()
    return found
  },
  toConfig: c => {
    const labels = Array.from({ length: c.classes }, (_, i) => `LABEL_${i}`)
    const one = (a: number, b: number) => (a === b ? a : [a, b])
    return {
      architectures: ['ViTForImageClassification'], model_type: 'vit', image_size: one(c.height, c.width), patch_size: one(c.patchHeight, c.patchWidth), num_channels: c.channels, hidden_size: c.embed, num_hidden_layers: c.layers, num_attention_heads: c.heads,
      intermediate_size: c.hidden, hidden_act: activationThere(c.activation), layer_norm_eps: c.epsilon, hidden_dropout_prob: c.dropout, attention_probs_dropout_prob: c.attentionDropout, qkv_bias: c.biases,
      problem_type: 'single_label_classification', id2label: Object.fromEntries(labels.map((l, i) => [String(i), l])), label2id: Object.fromEntries(labels.map((l, i) => [l, i])),
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
