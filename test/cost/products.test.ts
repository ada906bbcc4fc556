/** Operations of programs, against counts by hand: two for each product of a contraction or a convolution, nothing for all else. */
import { describe, expect, test } from 'vitest'
import { globalFlops } from '../../src/cost/flops.ts'
import { cond, dims, full, input, iota, leavesOf, remat, scan, whileLoop, type Tree } from '../../src/engine/index.ts'
import { convNetModel, gptModel, lstmModel, mlp, seq2seqModel, type Model } from '../../src/models/index.ts'
import { conv } from '../../src/nn/index.ts'
import { stepFlops } from '../../src/train/flops.ts'

const flops = (results: Tree): number => globalFlops({ inputs: [], outputs: leavesOf(results).map(l => l.leaf.node) })
const { batch, i, j, k, layers } = dims({ batch: 5, i: 2, j: 3, k: 7, layers: 4 })
const a = input('a', [batch, i, k])
const b = input('b', [k, j])

describe('a contraction', () => {
  test('is two operations for each product', () => {
    expect(flops(a.dot(b, k))).toBe(2 * 5 * 2 * 7 * 3)
    expect(flops(a.dot(input('c', [k, i, j]), k))).toBe(2 * 5 * 2 * 7 * 3)
    expect(flops(a.dot(input('c', [batch, i, k]), batch, i, k))).toBe(2 * 5 * 2 * 7)
  })
  test('that several results need counts once, what none needs not at all', () => {
    const shared = a.dot(b, k)
    shared.dot(input('d', [j]), j)
    expect(flops({ x: shared.tanh(), y: [shared.sum()] })).toBe(2 * 5 * 2 * 7 * 3)
  })
  test('is all that counts of what is no convolution', () => {
    expect(flops(a.mul(a).sum().add(iota(k).cast('f32').max()).exp())).toBe(0)
    expect(flops(full(1, []))).toBe(0)
  })
})

describe('a convolution', () => {
  const d = dims({ batch: 2, height: 6, width: 5, channels: 3, features: 4, kh: 3, kw: 2 })
  const image = input('image', [d.batch, d.height, d.width, d.channels])
  test('is two operations for each number of the result, place of the window and channel', () => {
    const w = input('w', [d.kh, d.kw, d.channels, d.features])
    const windows = [{ dim: 'height', kernel: 'kh' }, { dim: 'width', kernel: 'kw' }] as const
    expect(flops(conv(image, w, { over: [d.channels], windows }))).toBe(2 * (2 * 4 * 4 * 4) * (3 * 2) * 3)
    const strided = [{ dim: 'height', kernel: 'kh', stride: 3, padding: 'same' }, { dim: 'width', kernel: 'kw', padding: 'same' }] as const
    expect(flops(conv(image, w, { over: [d.channels], windows: strided }))).toBe(2 * (2 * 2 * 5 * 4) * (3 * 2) * 3)
  })
  test('of each channel by itself has none to sum over', () => {
    expect(flops(conv(image, input('w', [d.kh, d.channels]), { windows: [{ dim: 'height', kernel: 'kh' }] }))).toBe(2 * (2 * 4 * 5 * 3) * 3)
  })
})

describe('inside', () => {
  const w = input('w', [layers, k, j])
  const one = 2 * 5 * 2 * 7 * 3
  test('loops a body counts as often as it runs', () => {
    const [x] = scan(layers, a, { w }, (x, { w }) => [x.add(x.dot(w, k).sum('j')), {}])
    expect(flops(x)).toBe(4 * one)
    const outer = dims({ outer: 3 }).outer
    const [twice] = scan(outer, a, { o: iota(outer) }, x => [scan(layers, x, { w }, (y, { w }) => [y.add(y.dot(w, k).sum('j')), {}])[0], {}])
    expect(flops(twice)).toBe(3 * 4 * one)
  })
  test('of a choice the branch that takes more counts, of a loop without a known end its body once, and what is computed again in the backward pass once', () => {
    expect(flops(remat((x: typeof a) => x.dot(b, k))(a))).toBe(one)
    expect(flops(cond(full(1, []).less(2), () => a.dot(b, k).sum(i), () => a.dot(b, k).dot(input('c', [i, j]), i)))).toBe(one + 2 * 5 * 2 * 3)
    expect(flops(whileLoop(s => s.sum().less(1), s => s.add(s.dot(b, k).sum('j')), a))).toBe(one)
  })
})

/** A training step is three times the forward pass: each product has two in the backward pass. */
describe('a step of', () => {
  const of = (model: unknown): number => stepFlops(model as Model<Tree, Tree>)
  test.each([[1, 1], [3, 8]])('a GPT of %i layers: 6 for each weight and token but of tables that are only read, and attention', (layers, batch) => {
    const [vocab, seq, embed, heads, headDim, hidden] = [32, 16, 12, 2, 5, 24]
    const tokens = batch * seq
    const weights = layers * (4 * embed * heads * headDim + 2 * embed * hidden) + embed * vocab
    const attention = layers * 2 * (tokens * seq * heads * headDim)
    const sizes = { vocab, seq, layers, embed, heads, headDim, hidden }
    const found = of(gptModel(sizes).build({ batch }))
    expect(found).toBe(6 * (tokens * weights + attention))
    // Dropout and packing cost none.
    expect(of(gptModel({ ...sizes, dropout: 0.1, packed: true }).build({ batch, precision: { params: 'f32', compute: 'bf16' } }))).toBe(found)
  })
  test('a perceptron', () => { expect(of(mlp({ inputs: 3, hidden: 5, outputs: 2 }, 7))).toBe(6 * 7 * (3 * 5 + 5 * 2)) })
  test('a convolutional net', () => {
    const first = (8 * 8 * 4) * 9
    const second = (4 * 4 * 6) * 9 * 4
    const dense = (2 * 2 * 6) * 16 + 16 * 3
    expect(of(convNetModel({ height: 8, width: 8, features: [4, 6], kernel: 3, hidden: 16, classes: 3 }).build({ batch: 5 }))).toBe(6 * 5 * (first + second + dense))
  })
  test('an LSTM', () => {
    expect(of(lstmModel({ vocab: 16, seq: 5, layers: 2, embed: 8 }).build({ batch: 3 }))).toBe(6 * 3 * 5 * (2 * (2 * 8 * 4 * 8) + 8 * 16))
  })
  test('a sequence-to-sequence Transformer', () => {
    const [batch, vocab, source, target, embed, inner, hidden] = [3, 16, 6, 4, 8, 2 * 5, 12]
    const encoder = source * (4 * embed * inner + 2 * embed * hidden) + 2 * source * source * inner
    const own = target * 4 * embed * inner + 2 * target * target * inner
    const cross = (2 * target + 2 * source) * embed * inner + 2 * target * source * inner
    const decoder = own + cross + target * 2 * embed * hidden
    const model = seq2seqModel({ vocab, source, target, encoderLayers: 2, decoderLayers: 3, embed, heads: 2, headDim: 5, hidden }).build({ batch })
    expect(of(model)).toBe(6 * batch * (2 * encoder + 3 * decoder + target * embed * vocab))
  })
})
