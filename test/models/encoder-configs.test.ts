/** config.json of BERT, RoBERTa, T5 and ViT: read, written, and refused where it asks for what is not computed. */
import { describe, expect, test } from 'vitest'
import type { Architecture, JsonObject } from '../../src/models/hugging-face/architecture.ts'
import { bertClassifierArchitecture, bertEmbedderArchitecture, bertMaskedArchitecture } from '../../src/models/hugging-face/bert.ts'
import { resnetArchitecture } from '../../src/models/hugging-face/resnet.ts'
import { robertaClassifierArchitecture, robertaMaskedArchitecture } from '../../src/models/hugging-face/roberta.ts'
import { t5Architecture } from '../../src/models/hugging-face/t5.ts'
import { vitArchitecture } from '../../src/models/hugging-face/vit.ts'
import type { AnyModel } from '../../src/models/index.ts'
import { fixtureFile } from './fixture.ts'

type Any = Architecture<never, never, AnyModel>
const cases = {
  'bert-masked': bertMaskedArchitecture, 'bert-masked-untied': bertMaskedArchitecture, 'bert-classifier': bertClassifierArchitecture, 'bert-embedder-mean': bertEmbedderArchitecture, 'roberta-masked': robertaMaskedArchitecture, 'roberta-classifier': robertaClassifierArchitecture,
  t5: t5Architecture, 't5-gated': t5Architecture, vit: vitArchitecture, 'resnet-basic': resnetArchitecture, 'resnet-bottleneck': resnetArchitecture,
} as unknown as { readonly [name: string]: Any }
const whole = (there: Any, config: JsonObject): never => there.kind(there.fromConfig(config, { seq: 6 }) as never).config as never

test.each(Object.keys(cases))('%s: what is written of it is read as the same, and transformers\' own file has nothing else', name => {
  const [there, { config }] = [cases[name]!, fixtureFile(name)]
  const ours = whole(there, config)
  const written = there.toConfig(ours)
  expect(whole(there, written)).toEqual(ours)
  // What both have is the same; transformers fills in what nothing else reads.
  const both = Object.keys(written).filter(key => key in config && config[key] !== null)
  expect(both.length).toBeGreaterThan(7)
  expect(Object.fromEntries(both.map(key => [key, written[key]]))).toEqual(Object.fromEntries(both.map(key => [key, config[key]])))
})

describe('refuses', () => {
  const told: readonly (readonly [string, JsonObject, string | RegExp])[] = [
    ['bert-masked', { position_embedding_type: 'relative_key' }, /position_embedding_type is "relative_key"/], ['bert-masked', { is_decoder: true }, /is_decoder is true/], ['bert-masked', { hidden_act: 'mish' }, /hidden_act is "mish"[^]*gelu/],
    ['bert-masked', { embedding_size: 4 }, /embedding_size is 4[^]*not computed/], ['bert-masked', { max_position_embeddings: 5 }, /max_position_embeddings is 5[^]*at most 5 tokens, not 6/], ['bert-masked', { num_attention_heads: 3 }, /num_attention_heads is 3[^]*divides hidden_size, 8/],
    ['bert-masked', { vocab_size: -2 }, /vocab_size is -2/], ['bert-masked', { vocab_size: null }, /vocab_size is null/], ['bert-masked', { hidden_dropout_prob: 2 }, /hidden_dropout_prob is 2/], ['bert-classifier', { problem_type: 'multi_label_classification' }, /problem_type/],
    ['bert-classifier', { id2label: { 0: 'x' } }, /id2label[^]*two classes or more/], ['bert-classifier', { num_labels: 7 }, /num_labels is 7[^]*3/], ['roberta-masked', { max_position_embeddings: 7 }, /at most 5 tokens, not 6/],
    ['t5', { feed_forward_proj: 'gated-mish' }, /feed_forward_proj is "gated-mish"/], ['t5', { scale_decoder_outputs: false }, /scale_decoder_outputs is false/], ['t5', { decoder_start_token_id: 3 }, /decoder_start_token_id is 3/],
    ['vit', { patch_size: 5 }, /patch_size is 5[^]*6 × 4/], ['vit', { image_size: 'large' }, /image_size is "large"/], ['resnet-basic', { layer_type: 'wide' }, /layer_type is "wide"/], ['resnet-basic', { depths: [1] }, /depths[^]*hidden_sizes/],
  ]
  test.each(told)('%s with %j', (name, change, message) => {
    expect(() => whole(cases[name]!, { ...fixtureFile(name).config, ...change })).toThrow(message)
  })
})
