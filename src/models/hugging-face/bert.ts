/** BERT as Hugging Face has it: `BertForMaskedLM`, `BertForSequenceClassification`, and `BertModel`, which sentence embeddings such as MiniLM's are. */
import type { Naming, StoredAs } from '../../core/naming.ts'
import type { BertClassifier, BertClassifierConfig } from '../bert-classifier.ts'
import type { BertEmbedder, BertEmbedderConfig } from '../bert-embedder.ts'
import type { BertMasked, BertMaskedConfig } from '../bert-masked.ts'
import { bertClassifierModel, bertEmbedderModel, bertMaskedModel, type BertClassifierInput, type BertEmbedderInput, type BertMaskedInput } from '../bert-model.ts'
import type { BertConfig } from '../bert.ts'
import type { Architecture, JsonObject, Wanted } from './architecture.ts'
import { activationOf, activationThere, classesOf, classesThere, headsOf, idOf, rateOf } from './classes.ts'
import { settingsOf, type Settings } from './settings.ts'

type Names = { [path: string]: StoredAs | string }
/** The layers' tensors below a prefix that ends in the layer's number. */
export const blockNames = (layer: string, by: { readonly attention: string; readonly out: string; readonly norm1: string; readonly up: string; readonly down: string; readonly norm2: string }, biases = true): Names => {
  const found: Names = {}
  for (const part of ['query', 'key', 'value']) {
    found[`blocks.${part}`] = { name: `${layer}.${by.attention}.${part}.weight`, axes: [['heads', 'headDim'], ['embed']] }
    if (biases) found[`blocks.${part}Bias`] = { name: `${layer}.${by.attention}.${part}.bias`, axes: [['heads', 'headDim']] }
  }
  found['blocks.out'] = { name: `${layer}.${by.out}.weight`, axes: [['embed'], ['heads', 'headDim']] }
  found['blocks.outBias'] = `${layer}.${by.out}.bias`
  for (const norm of ['norm1', 'norm2'] as const) Object.assign(found, { [`blocks.${norm}.gain`]: `${layer}.${by[norm]}.weight`, [`blocks.${norm}.bias`]: `${layer}.${by[norm]}.bias` })
  for (const part of ['up', 'down'] as const) Object.assign(found, { [`blocks.${part}`]: `${layer}.${by[part]}.weight`, [`blocks.${part}Bias`]: `${layer}.${by[part]}.bias` })
  return found
}

/** How BERT and RoBERTa differ there. */
interface Family { readonly modelType: 'bert' | 'roberta'; readonly class: 'Bert' | 'Roberta' }
const encoderNames = (prefix: string): Names => ({
  'embeddings.tokens': `${prefix}.embeddings.word_embeddings.weight`, 'embeddings.positions': `${prefix}.embeddings.position_embeddings.weight`, 'embeddings.types': `${prefix}.embeddings.token_type_embeddings.weight`,
  'embeddings.norm.gain': `${prefix}.embeddings.LayerNorm.weight`, 'embeddings.norm.bias': `${prefix}.embeddings.LayerNorm.bias`,
  ...blockNames(`${prefix}.encoder.layer.{layers}`, { attention: 'attention.self', out: 'attention.output.dense', norm1: 'attention.output.LayerNorm', up: 'intermediate.dense', down: 'output.dense', norm2: 'output.LayerNorm' }),
})
const naming = ({ modelType }: Family, own: Names, idle: readonly string[] = []): Naming => ({
  prefix: `${modelType}.`, parameters: { ...encoderNames(modelType), ...own }, idle: [`${modelType}.embeddings.position_ids`, `${modelType}.embeddings.token_type_ids`, ...idle],
})
const dense = (path: string, name: string): Names => ({ [`${path}.weight`]: `${name}.weight`, [`${path}.bias`]: `${name}.bias` })

function encoderOf(c: Settings, { modelType }: Family, { seq }: Pick<Wanted, 'seq'>): BertConfig {
  c.only('position_embedding_type', 'absolute')
  c.only('is_decoder', false)
  c.only('add_cross_attention', false)
  c.only('is_encoder_decoder', false)
  const padding = modelType === 'roberta' ? idOf(c, 'pad_token_id', 1) : undefined
  const positions = c.count('max_position_embeddings', 512)
  const most = positions - (padding === undefined ? 0 : padding + 1)
  if (seq > most) throw c.wrong('max_position_embeddings', `take windows of at most ${most} tokens, not ${seq}`)
  return {
    vocab: c.count('vocab_size'), seq, layers: c.count('num_hidden_layers'), ...headsOf(c), hidden: c.count('intermediate_size'), positions, types: c.count('type_vocab_size', 2),
    activation: activationOf(c, 'hidden_act', 'gelu'), epsilon: c.number('layer_norm_eps', 1e-12), dropout: rateOf(c, 'hidden_dropout_prob', 0.1), attentionDropout: rateOf(c, 'attention_probs_dropout_prob', 0.1),
    ...(padding === undefined ? {} : { padding }),
  }
}
const configThere = ({ modelType }: Family, architecture: string, c: BertConfig, own: JsonObject = {}): JsonObject => ({
  architectures: [architecture], model_type: modelType, vocab_size: c.vocab, hidden_size: c.embed, num_hidden_layers: c.layers, num_attention_heads: c.heads, intermediate_size: c.hidden, hidden_act: activationThere(c.activation),
  hidden_dropout_prob: c.dropout, attention_probs_dropout_prob: c.attentionDropout, max_position_embeddings: c.positions, type_vocab_size: c.types, layer_norm_eps: c.epsilon, pad_token_id: c.padding ?? 0, ...own,
})

/** RoBERTa's are those whose positions begin behind a padding token. */
const isOf = ({ modelType }: Family, c: BertConfig): boolean => (c.padding !== undefined) === (modelType === 'roberta')

/** Finds masked tokens. */
export const maskedArchitecture = (family: Family): Architecture<BertMaskedConfig, BertMaskedInput, BertMasked> => {
  const [transform, norm, bias, out] = family.modelType === 'bert'
    ? ['cls.predictions.transform.dense', 'cls.predictions.transform.LayerNorm', 'cls.predictions.bias', 'cls.predictions.decoder'] as const
    : ['lm_head.dense', 'lm_head.layer_norm', 'lm_head.bias', 'lm_head.decoder'] as const
  return {
    modelType: family.modelType, classes: [`${family.class}ForMaskedLM`], kind: bertMaskedModel,
    fromConfig: (config, wanted) => {
      const c = settingsOf(config, family.modelType)
      const found: BertMaskedInput = {
        // RoBERTa's head has the function that BERT has in all layers.
        ...encoderOf(c, family, wanted), tied: c.flag('tie_word_embeddings', true), packed: wanted.packed ?? false, ...(family.modelType === 'roberta' ? { headActivation: 'gelu' } : {}),
      }
      c.ignore('classifier_dropout')
      c.done()
      return found
    },
    isOf: c => isOf(family, c),
    toConfig: c => configThere(family, `${family.class}ForMaskedLM`, c, { tie_word_embeddings: c.tied }),
    names: c => naming(family, {
      'head.transform': `${transform}.weight`, 'head.transformBias': `${transform}.bias`, 'head.norm.gain': `${norm}.weight`, 'head.norm.bias': `${norm}.bias`, 
      ...(c.tied ? { 'head.bias': bias } : { 'head.bias': `${out}.bias`, 'head.out': `${out}.weight` }),
      // What tells whether one sentence follows another, and what only classifiers read, is not part of this model.
    }, [...(c.tied ? [`${out}.bias`, `${out}.weight`] : [bias]), 'cls.seq_relationship.*', `${family.modelType}.pooler.*`]),
  }
}

/** Tells classes. */
export const classifierArchitecture = (family: Family): Architecture<BertClassifierConfig, BertClassifierInput, BertClassifier> => ({
  modelType: family.modelType, classes: [`${family.class}ForSequenceClassification`], kind: bertClassifierModel,
  fromConfig: (config, wanted) => {
    const c = settingsOf(config, family.modelType)
    const encoder = encoderOf(c, family, wanted)
    const found: BertClassifierInput = { ...encoder, classes: classesOf(c), paired: encoder.types > 1, classifierDropout: rateOf(c, 'classifier_dropout', encoder.dropout), poolerDropout: family.modelType === 'roberta' }
    c.ignore('tie_word_embeddings')
    c.done()
    return found
  },
  isOf: c => isOf(family, c),
  toConfig: c => configThere(family, `${family.class}ForSequenceClassification`, c, { classifier_dropout: c.classifierDropout, ...classesThere(c.classes) }),
  names: () => naming(family, family.modelType === 'bert'
    ? { ...dense('pooler', 'bert.pooler.dense'), out: 'classifier.weight', outBias: 'classifier.bias' }
    : { ...dense('pooler', 'classifier.dense'), out: 'classifier.out_proj.weight', outBias: 'classifier.out_proj.bias' }),
})

/** Embeds sentences. How their vectors are pooled its config.json does not say: the mean unless another file does. */
export const embedderArchitecture = (family: Family): Architecture<BertEmbedderConfig, BertEmbedderInput, BertEmbedder> => ({
  modelType: family.modelType, classes: [`${family.class}Model`], kind: bertEmbedderModel,
  fromConfig: (config, wanted) => {
    const c = settingsOf(config, family.modelType)
    const found: BertEmbedderInput = { ...encoderOf(c, family, wanted), pooler: true }
    c.ignore('tie_word_embeddings', 'classifier_dropout')
    c.done()
    return found
  },
  isOf: c => isOf(family, c),
  toConfig: c => configThere(family, `${family.class}Model`, c),
  names: c => naming(family, c.pooler ? dense('pooler', `${family.modelType}.pooler.dense`) : {}),
})

const family: Family = { modelType: 'bert', class: 'Bert' }
export const bertMaskedArchitecture: Architecture<BertMaskedConfig, BertMaskedInput, BertMasked> = maskedArchitecture(family)
export const bertClassifierArchitecture: Architecture<BertClassifierConfig, BertClassifierInput, BertClassifier> = classifierArchitecture(family)
export const bertEmbedderArchitecture: Architecture<BertEmbedderConfig, BertEmbedderInput, BertEmbedder> = embedderArchitecture(family)
