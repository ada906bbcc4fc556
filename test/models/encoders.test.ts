/** BERT, RoBERTa, T5, ViT and ResNet: what transformers computes of the same files, exactly and on meshes. */
import { describe, expect, test } from 'vitest'
import { bertClassifierArchitecture, bertEmbedderArchitecture, bertMaskedArchitecture } from '../../src/models/hugging-face/bert.ts'
import { robertaClassifierArchitecture, robertaMaskedArchitecture } from '../../src/models/hugging-face/roberta.ts'
import { resnetArchitecture } from '../../src/models/hugging-face/resnet.ts'
import { t5Architecture } from '../../src/models/hugging-face/t5.ts'
import { vitArchitecture } from '../../src/models/hugging-face/vit.ts'
import { full, keyOf, type AnyTensor, type Key } from '../../src/engine/index.ts'
import { fixture, type Fixture } from './fixture.ts'

/** As in training: nothing of what is computed here depends on which key it is. */
const training = keyOf(full(0, [], 'i32'))
type Model = { readonly params: never; readonly batch: never; readonly logits: (params: never, batch: never, key?: Key) => AnyTensor; readonly vectors: (params: never, batch: never) => AnyTensor }
const logits = (m: Model): AnyTensor => m.logits(m.params, m.batch)
const vectors = (m: Model): AnyTensor => m.vectors(m.params, m.batch)
const cases: { readonly [name: string]: readonly [Fixture, (m: Model) => AnyTensor, string?] } = {
  'bert-masked': [fixture('bert-masked', bertMaskedArchitecture, 6), logits], 'bert-masked-untied': [fixture('bert-masked-untied', bertMaskedArchitecture, 6), logits], 'bert-classifier': [fixture('bert-classifier', bertClassifierArchitecture, 6), logits],
  ...Object.fromEntries(['mean', 'max', 'cls', 'pooler'].map(pooling => [`bert-embedder-${pooling}`, [fixture(`bert-embedder-${pooling}`, bertEmbedderArchitecture, 6), vectors, 'vectors'] as const])),
  'roberta-masked': [fixture('roberta-masked', robertaMaskedArchitecture, 6), logits], 'roberta-classifier': [fixture('roberta-classifier', robertaClassifierArchitecture, 6), logits],
  t5: [fixture('t5', t5Architecture, 12), logits], 't5-gated': [fixture('t5-gated', t5Architecture, 12), logits], vit: [fixture('vit', vitArchitecture, 1), logits], 'vit-no-biases': [fixture('vit-no-biases', vitArchitecture, 1), logits],
  'resnet-basic': [fixture('resnet-basic', resnetArchitecture, 1), logits], 'resnet-bottleneck': [fixture('resnet-bottleneck', resnetArchitecture, 1), logits],
  'resnet-training': [fixture('resnet-training', resnetArchitecture, 1, training), (m: Model) => m.logits(m.params, m.batch, training)],
}
const names = Object.keys(cases)
/** Of T5 transformers computes norms and softmax in f32, whatever the dtype. */
const within = (name: string): number => (name.startsWith('t5') ? 2e-6 : 1e-8)
const layout = { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' }
const meshes = [[1, 1], [2, 2], [1, 4], [4, 1]] as const

describe('transformers computes the same', () => {
  test.each(names)('%s: logits, loss and gradients', name => {
    const [f, find, called] = cases[name]!
    f.exactly({ logits: find as never, within: within(name), ...(called === undefined ? {} : { called }) })
  })
  test.each([...['bert-masked', 't5-gated'].flatMap(name => meshes.map(([batch, model]) => [name, batch, model] as const)), ...['bert-embedder-mean', 'roberta-masked', 'vit', 'resnet-training'].map(name => [name, 2, 2] as const)])('%s on %i × %i', async (name, batch, model) => {
    const [f] = cases[name]!
    const own = Object.fromEntries(Object.entries(layout).filter(([dim]) => dim in f.model.dims))
    expect(await f.onMesh({ batch, model }, own)).toBeLessThan(1e-4)
  })
})
