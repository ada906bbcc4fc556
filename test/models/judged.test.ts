/** The models, logits, losses and gradients, by the reference evaluator in f64: what PyTorch computes with the same weights. */
import { expect, test } from 'vitest'
import { expectDims, leavesOf, lossAndGrads, type Tensor, type Tree } from '../../src/engine/index.ts'
import { convNet, lstmText, seq2seq, type Model } from '../../src/models/index.ts'
import { valueOfTensor, type Operand } from '../graph/support.ts'
import { golden, type Golden } from '../nn/golden.ts'

/** Holds a model to a file: of the batch's inputs, `names` are what the file calls them. */
function judge<P extends Tree, B extends Tree>(g: Golden, model: Pick<Model<P, B>, 'params' | 'loss' | 'batch'>, batch: readonly Operand[], logits: { readonly node: Tensor<string>['node'] }, counts: number): void {
  const operands = [...g.leaves(model.params), ...batch]
  const { value, weight, grads } = lossAndGrads((p: P) => model.loss(p, model.batch))(model.params)
  const found = { logits, loss: value, ...Object.fromEntries(leavesOf(grads).map(({ path, leaf }) => [`d${path}`, leaf])) }
  g.expectAll(found, operands)
  // Nothing that PyTorch computed was left out.
  expect(Object.keys(found).sort()).toEqual([...g.results].sort())
  expect(valueOfTensor(weight, ...operands)).toEqual([counts])
}

test('the convolutional net', () => {
  const g = golden('conv-net')
  const model = convNet({ height: 8, width: 6, channels: 1, classes: 4, features: [2, 3], kernel: 3, hidden: 5, dropout: 0, brightest: 255 }, 3)
  const { batch, height, width, classes } = model.dims
  const { images, labels } = model.batch
  const data = [{ ...g.operand('images', [batch, height, width, model.dims.channels], 'u8'), tensor: images as never }, { ...g.operand('labels', [batch], 'i32'), tensor: labels as never }]
  judge(g, model, data, expectDims(model.logits(model.params, model.batch), [batch, classes]), 2)
})

test('the LSTM', () => {
  const g = golden('lstm-text')
  const model = lstmText({ vocab: 6, seq: 4, layers: 2, embed: 3, dropout: 0 }, 2)
  const { batch, seq, vocab } = model.dims
  const data = [{ ...g.operand('read', [batch, seq], 'i32'), tensor: model.batch.tokens as never }, { ...g.operand('wanted', [batch, seq], 'i32'), tensor: model.batch.targets as never }]
  judge(g, model, data, expectDims(model.logits(model.params, model.batch), [batch, seq, vocab]), 7)
})

test('the sequence-to-sequence Transformer', () => {
  const g = golden('seq2seq')
  const model = seq2seq({ vocab: 7, source: 4, target: 3, encoderLayers: 2, decoderLayers: 1, embed: 4, heads: 2, headDim: 2, hidden: 5, padding: 0, dropout: 0 }, 2)
  const { batch, source, target, vocab } = model.dims
  const data = [
    { ...g.operand('source', [batch, source], 'i32'), tensor: model.batch.source as never }, { ...g.operand('target', [batch, target], 'i32'), tensor: model.batch.target as never },
    { ...g.operand('labels', [batch, target], 'i32'), tensor: model.batch.labels as never },
  ]
  judge(g, model, data, expectDims(model.logits(model.params, model.batch), [batch, target, vocab]), 5)
})
