/** BERT's encoder: what padding and documents change, what dropout does, and what recipes may not say. */
import { describe, expect, test } from 'vitest'
import { initialise, keyOf, leavesOf, lossAndGrads, type AnyTensor, type Tensor, type Tree } from '../../src/engine/index.ts'
import { full } from '../../src/graph/tensor.ts'
import { bertClassifierModel, bertEmbedderModel, bertMaskedModel } from '../../src/models/bert-model.ts'
import { t5Model } from '../../src/models/t5-model.ts'
import { vitModel } from '../../src/models/vit.ts'
import { draw } from '../support/values.ts'
import { valuesOf, type Operand } from '../graph/support.ts'

const small = { vocab: 12, seq: 6, layers: 2, embed: 4, heads: 2, hidden: 6, positions: 8 }
const weightsOf = (params: Tree): Operand[] => leavesOf(params).map(({ leaf }, i) => ({ tensor: leaf as Tensor<string>, data: Float32Array.from({ length: leaf.shape.reduce((n, d) => n * d.size, 1) }, (_, j) => draw(i, j) - 0.5) }))
const inputs = (batch: Tree, data: { readonly [path: string]: readonly number[] }): Operand[] => leavesOf(batch).map(({ path, leaf }) => ({ tensor: leaf as Tensor<string>, data: data[path] ?? [] }))
type Loss = { readonly params: Tree; readonly batch: Tree; readonly loss: (p: never, b: never, key?: never) => { readonly loss: AnyTensor } }
const valuesWith = (model: unknown, data: { readonly [path: string]: readonly number[] }, results: (m: never) => readonly AnyTensor[] = () => []): number[][] => {
  const m = model as Loss
  const { value, grads } = lossAndGrads((p: Tree) => m.loss(p as never, m.batch as never) as never)(m.params)
  return valuesOf([value, ...leavesOf(grads).map(g => g.leaf), ...results(m as never)], [...weightsOf(m.params), ...inputs(m.batch, data)])
}

describe('what is padding changes no bit', () => {
  const mask = [1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0]
  const with_ = (padding: number): number[] => [3, 5, 7, 2, padding, padding, 9, 1, padding, padding, padding, padding]
  const targets = [-100, 5, -100, 1, -100, -100, 2, -100, -100, -100, -100, -100]
  const build = { batch: 2 }
  test.each([
    ['the masked model', bertMaskedModel({ ...small, padded: true }).build(build), { targets }], ['the classifier', bertClassifierModel({ ...small, classes: 3 }).build(build), { labels: [2, 0] }],
    ...(['mean', 'max', 'cls'] as const).map(pooling => [`vectors by ${pooling}`, bertEmbedderModel({ ...small, pooling }).build(build), { others: with_(4), othersMask: mask }] as const),
  ] as const)('%s', (_, model, more) => {
    const [a, b] = [4, 11].map(padding => valuesWith(model, { tokens: with_(padding), mask, ...('others' in more ? { ...more, others: with_(padding) } : more) }))
    expect(a).toEqual(b)
  })
})

test('documents that are packed into a window are as they are alone', () => {
  const packed = bertMaskedModel({ ...small, packed: true }).build({ batch: 1 })
  const alone = bertMaskedModel({ ...small, seq: 3, packed: true }).build({ batch: 2 })
  const logits = (m: typeof packed): readonly AnyTensor[] => [m.logits(m.params as never, m.batch as never)]
  const at = (positions: readonly number[], segments: readonly number[]) => ({ tokens: [3, 5, 7, 9, 2, 4], targets: [1, -100, 2, 3, -100, -100], positions, segments })
  const [together, apart] = [valuesWith(packed, at([0, 1, 2, 0, 1, 2], [1, 1, 1, 2, 2, 2]), logits as never), valuesWith(alone, at([0, 1, 2, 0, 1, 2], [1, 1, 1, 1, 1, 1]), logits as never)]
  const far = Math.max(...together.flatMap((t, i) => t.map((x, j) => Math.abs(x - (apart[i]?.[j] ?? NaN)))))
  expect(far).toBeLessThan(1e-12)
})

describe('dropout', () => {
  const losses = (model: Loss, data: { readonly [path: string]: readonly number[] }): number[] => [undefined, 1, 2].map(seed => {
    const { loss } = model.loss(model.params as never, model.batch as never, (seed === undefined ? undefined : keyOf(full(seed, [], 'i32'))) as never)
    return valuesOf([loss], [...weightsOf(model.params), ...inputs(model.batch, data)])[0]?.[0] ?? NaN
  })
  const bert = { tokens: [3, 5, 7, 9, 2, 4], targets: [1, -100, 2, 3, -100, -100] }
  const t5 = { source: [3, 5, 7], target: [0, 2, 4], labels: [2, 4, 1] }
  const sizes = { vocab: 12, source: 3, target: 3, encoderLayers: 1, decoderLayers: 1, embed: 4, heads: 2, headDim: 2, hidden: 6, buckets: 4, farthest: 8 }
  const vit = { images: Array.from({ length: 16 }, (_, i) => i), labels: [1] }
  test.each<readonly [string, unknown, { readonly [path: string]: readonly number[] }]>([
    ['of activations', bertMaskedModel({ ...small, dropout: 0.5 }).build({ batch: 1 }), bert], ['of attention', bertMaskedModel({ ...small, attentionDropout: 0.5 }).build({ batch: 1 }), bert],
    ['in T5', t5Model({ ...sizes, dropout: 0.5 }).build({ batch: 1 }), t5], ['in ViT', vitModel({ height: 4, width: 4, channels: 1, classes: 2, patchHeight: 2, patchWidth: 2, layers: 1, embed: 4, heads: 2, hidden: 6, attentionDropout: 0.5 }).build({ batch: 1 }), vit],
  ])('%s: by the key, and none without', (_, model, data) => {
    const [without, one, other] = losses(model as Loss, data)
    expect(new Set([without, one, other]).size).toBe(3)
    expect(losses(model as Loss, data)).toEqual([without, one, other])
  })
  test('none where none is asked for', () => {
    const [without, one] = losses(bertMaskedModel(small).build({ batch: 1 }) as unknown as Loss, bert)
    expect(one).toBe(without)
  })
})

test('a recipe is told what does not fit', () => {
  expect(() => bertMaskedModel({ ...small, heads: 3 })).toThrow(/heads[^]*embed of 4/)
  expect(() => bertMaskedModel({ ...small, positions: 5 })).toThrow(/positions[^]*needs 6/)
  expect(() => bertMaskedModel({ ...small, padding: 2, positions: 8 })).toThrow(/needs 9/)
  expect(() => bertMaskedModel({ ...small, packed: true, padded: true })).toThrow(/padded/)
  expect(() => bertEmbedderModel({ ...small, pooling: 'pooler' })).toThrow(/pooler/)
  expect(() => vitModel({ height: 5, width: 4, classes: 2, patchHeight: 2, patchWidth: 2, layers: 1, embed: 4, heads: 2, hidden: 6 })).toThrow(/patchHeight[^]*height of 5/)
  expect(() => t5Model({ vocab: 12, source: 3, target: 3, encoderLayers: 1, decoderLayers: 1, embed: 4, heads: 2, headDim: 2, hidden: 6, farthest: 16 })).toThrow(/farthest/)
})

test('every parameter has a first value', () => {
  const model = bertClassifierModel({ ...small, classes: 3 }).build({ batch: 2 })
  expect(leavesOf(initialise(model.params, keyOf(full(1, [], 'i32')))).length).toBe(leavesOf(model.params).length)
})
