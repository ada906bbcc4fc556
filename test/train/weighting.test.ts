/** Losses and gradients are means over all that counts in the batch, however unevenly it lies in microbatches and on devices; evaluation too. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { accumulate, compile, dims, full, initialise, keyOf, lossAndGrads, mesh as meshOf, openBackend, param, plan, settled, totals, type AnyTensor, type Backend, type LossAndGrads, type MeshArray, type Outcome, type Scalar, type Tensor } from '../../src/engine/index.ts'
import { evaluated, gpt, WeightedMeans, type GptParams } from '../../src/models/index.ts'
import { weightedMean } from '../../src/nn/index.ts'
import { treeOps } from '../../src/core/tree.ts'
import { isTensor } from '../../src/graph/tensor.ts'
import { given, leafValues, valuesOf, type T } from '../graph/support.ts'
import { draw, relativeError } from '../support/values.ts'

const model = gpt({ vocab: 32, seq: 8, layers: 1, embed: 8, heads: 4, headDim: 4, hidden: 16, dropout: 0, masked: true }, 8)
const ids = (seed: number): Int32Array => Int32Array.from({ length: 64 }, (_, i) => Math.floor(draw(seed, i) * 32))
/** Row r counts so many of its 8 targets: all, few and none, so that no part of the batch is like another. */
const counted = [8, 1, 0, 5, 8, 0, 0, 3]
const targets = ids(2).map((t, i) => (i % 8 < (counted[Math.floor(i / 8)] ?? 0) ? t : -100))
const total = counted.reduce((a, b) => a + b)
const tokens = ids(1)

const drawn = leafValues(initialise(model.params, keyOf(full(1, [], 'i32')))).values()
const weights = treeOps(isTensor, 'a tensor').map(model.params, () => Float32Array.from(drawn.next().value ?? [], x => x * 3)) as never
type Batch = typeof model.batch
const gradientOf = (p: GptParams, b: Batch): LossAndGrads<GptParams> => lossAndGrads((q: GptParams) => model.loss(q, b))(p)
const steps: { readonly [name: string]: (p: GptParams, b: Batch) => LossAndGrads<GptParams> } = {
  'at once': gradientOf, '2 × 4': (p, b) => accumulate(gradientOf, p, b, 'batch', 4), '1 × 8': (p, b) => accumulate(gradientOf, p, b, 'batch', 8), '4 × 2': (p, b) => accumulate(gradientOf, p, b, 'batch', 2),
}
const layout = { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' } as const
type Numbers = { readonly value: number; readonly weight: number; readonly accuracy: number; readonly grads: readonly number[] }

describe('ragged targets', () => {
  let backend: Backend
  let expected: Numbers
  beforeAll(async () => {
    backend = await openBackend({ plugin: 'simulate', devices: 4 })
    expected = await numbersOf('at once', { batch: 1, model: 1 })
  })
  afterAll(async () => { await backend.close() })

  async function numbersOf(step: string, sizes: { readonly batch: number; readonly model: number }): Promise<Numbers> {
    const program = await compile(steps[step] ?? gradientOf, [model.params, model.batch], { mesh: meshOf(sizes), layout, backend, dims: model.dims })
    const { value, weight, grads, metrics } = await program(weights, { tokens, targets })
    const flat: number[] = []
    for (const { leaf } of treeOps((x): x is MeshArray => typeof x === 'object' && x !== null && 'read' in x, 'an array').flatten(grads)) flat.push(...Array.from(await leaf.read(), Number))
    return { value: await value.item(), weight: await weight?.item() ?? NaN, accuracy: await metrics?.['accuracy']?.value.item() ?? NaN, grads: flat }
  }
  test('are as many as they are', () => {
    expect(expected.weight).toBe(total)
    expect(expected.value).toBeGreaterThan(3)
    expect(Math.hypot(...expected.grads)).toBeGreaterThan(0.1)
  })
  test.each(Object.keys(steps).flatMap(step => [[1, 1], [2, 2], [4, 1]].filter(([batch = 1]) => !(step === '1 × 8' && batch > 1) && !(step === '2 × 4' && batch > 2)).map(([batch = 1, m = 1]) => [step, batch, m] as const)))('%s on a mesh of %i × %i', async (step, batch, m) => {
    const found = await numbersOf(step, { batch, model: m })
    expect(found.weight).toBe(total)
    expect(Math.abs(found.value - expected.value) / expected.value).toBeLessThan(1e-6)
    expect(relativeError(found.grads, expected.grads)).toBeLessThan(1e-6)
    expect(found.accuracy).toBeCloseTo(expected.accuracy, 6)
  })
  test('a row alone, weighted, gives the same: the mean of means would not', async () => {
    const one = gpt({ ...{ vocab: 32, seq: 8, layers: 1, embed: 8, heads: 4, headDim: 4, hidden: 16, dropout: 0 }, masked: true }, 1)
    const program = await compile(evaluated(one), [one.params, one.batch], { mesh: meshOf({}), layout: {}, backend })
    const means = new WeightedMeans()
    const alone: number[] = []
    for (const [row, n] of counted.entries()) {
      const found = await program(weights, { tokens: tokens.slice(8 * row, 8 * row + 8), targets: targets.slice(8 * row, 8 * row + 8) })
      for (const [name, m] of Object.entries(found)) means.add(name, { value: await m.value.item(), weight: await m.weight.item() })
      alone.push(await found['loss']?.value.item() ?? NaN)
      expect(await found['loss']?.weight.item()).toBe(n)
      if (n === 0) expect(alone.at(-1)).toBe(0)
    }
    expect(means.names().sort()).toEqual(['accuracy', 'loss'])
    expect(means.weight('loss')).toBe(total)
    expect(Math.abs((means.mean('loss') ?? NaN) - expected.value) / expected.value).toBeLessThan(1e-6)
    expect(means.mean('accuracy')).toBeCloseTo(expected.accuracy, 6)
    expect(Math.abs(alone.reduce((a, b) => a + b) / 8 - expected.value)).toBeGreaterThan(1e-2)
  })
  test('a batch in which nothing counts has loss 0 and gradient 0', async () => {
    for (const step of ['at once', '2 × 4']) {
      const program = await compile(steps[step] ?? gradientOf, [model.params, model.batch], { mesh: meshOf({ batch: 2 }), layout: { batch: 'batch' }, backend, dims: model.dims })
      const { value, weight, grads } = await program(weights, { tokens, targets: targets.map(() => -100) })
      expect([await value.item(), await weight?.item()]).toEqual([0, 0])
      expect([...await grads.tokens.read()].every(x => Number(x) === 0)).toBe(true)
    }
  })
})

const d = dims({ batch: 8, embed: 2 })
type Params = { readonly w: Tensor<'embed'> }
const w = given([d.embed], [0.7, -1.2])
const x = given([d.batch, d.embed], Array.from({ length: 16 }, (_, i) => Math.sin(i)))
const by = given([d.batch], [0.5, 0, 0.25, 3, 0, 0, 1, 2])
const squares = (p: Params, b: { readonly x: T; readonly by: T }): Outcome => {
  const { value, weight } = weightedMean(b.x.dot(p.w as T, 'embed').square(), b.by)
  return { loss: value, weight, metrics: { bias: weightedMean(b.x.dot(p.w as T, 'embed'), b.by), largest: { value: weight, weight: full(1, []) } } }
}
const found = (parts: number): number[][] => {
  const part = (p: Params, b: { readonly x: T; readonly by: T }): LossAndGrads<Params> => lossAndGrads((q: Params) => squares(q, b))(p)
  const params: Params = { w: w.tensor as Tensor<'embed'> }
  const { value, grads, weight, metrics } = accumulate(part, params, { x: x.tensor, by: by.tensor }, 'batch', parts)
  return valuesOf([value, grads.w, weight ?? value, metrics?.['bias']?.value ?? value, metrics?.['bias']?.weight ?? value, metrics?.['largest']?.value ?? value], [w, x, by])
}

describe('weights that are fractions', () => {
  const rows = Array.from(by.data, (n, i) => ({ n, y: Math.sin(2 * i) * 0.7 - Math.sin(2 * i + 1) * 1.2, i }))
  const sum = (f: (r: typeof rows[number]) => number): number => rows.reduce((s, r) => s + r.n * f(r), 0) / 6.75
  test.each([1, 2, 4, 8])('%i parts are what is worked out by hand', parts => {
    const [value, grads, weight, bias, biasWeight, largest] = found(parts)
    expect(value?.[0]).toBeCloseTo(sum(r => r.y ** 2), 12)
    expect(grads?.[0]).toBeCloseTo(sum(r => 2 * r.y * Math.sin(2 * r.i)), 12)
    expect(grads?.[1]).toBeCloseTo(sum(r => 2 * r.y * Math.sin(2 * r.i + 1)), 12)
    expect([weight?.[0], biasWeight?.[0]]).toEqual([6.75, 6.75])
    expect(bias?.[0]).toBeCloseTo(sum(r => r.y), 12)
    // A metric with a weight of its own is joined by that.
    expect(largest?.[0]).toBeCloseTo(6.75 / parts, 12)
  })
})

test('what does not count may be anything; what counts and is no number is told of', () => {
  const broken = given([d.batch], [NaN, 1, Infinity, 2, 3, 4, 5, 6])
  const over = (n: readonly number[]): number[] => {
    const weights = given([d.batch], n)
    const m = weightedMean(broken.tensor, weights.tensor)
    return valuesOf([m.value, m.weight], [broken, weights]).flat()
  }
  expect(over([0, 1, 0, 1, 0, 0, 0, 2])).toEqual([3.75, 4])
  expect(over([1, 1, 0, 1, 0, 0, 0, 2])[0]).toBeNaN()
  expect(over([0, 0, 0, 0, 0, 0, 0, 0])).toEqual([0, 0])
})

test('a microbatch whose loss is no number makes the whole no number', () => {
  const nan = given([d.batch, d.embed], Array.from({ length: 16 }, (_, i) => (i === 7 ? NaN : 1)))
  const part = (p: Params, b: { readonly x: T; readonly by: T }): LossAndGrads<Params> => lossAndGrads((q: Params) => squares(q, b))(p)
  const { value, grads } = accumulate(part, { w: w.tensor as Tensor<'embed'> } as Params, { x: nan.tensor, by: by.tensor }, 'batch', 4)
  for (const n of valuesOf([value, grads.w], [w, nan, by]).flat()) expect(n).toBeNaN()
})

test('weights cost one more scalar a microbatch: gradients are reduced once, after the loop', () => {
  const cost = (step: string) => totals(plan(steps[step] ?? gradientOf, [model.params, model.batch], { mesh: meshOf({ batch: 4 }), layout: { batch: 'batch' }, dims: model.dims }).collectives)
  const [once, often] = [cost('at once'), cost('4 × 2')]
  const bytes = (of: typeof once): number => of.reduce((s, c) => s + c.bytes, 0)
  expect(bytes(often) - bytes(once)).toBeLessThanOrEqual(64)
})

test('an outcome is checked when it is traced', () => {
  const p = param('p', [d.embed])
  const of = (o: unknown) => (): unknown => settled(o as Outcome)
  expect(of(p.sum())).toThrow(/DimError\[outcome\] the model's loss gives one tensor\n.*return \{ loss \}/)
  expect(of({ loss: p })).toThrow(/DimError\[loss-not-scalar\] the loss is no scalar, but embed=2/)
  expect(of({ loss: p.sum(), weight: 3 })).toThrow(/DimError\[loss-not-scalar\] the weight of the loss is 3/)
  expect(of({ loss: p.sum().cast('i32') })).toThrow(/DimError\[dtype\] the loss is i32/)
  expect(of({ loss: p.sum(), metrics: { accuracy: { value: p } } })).toThrow(/DimError\[loss-not-scalar\] the metric "accuracy" is no scalar/)
  const { loss, metrics } = settled({ loss: p.sum(), weight: full(3, [], 'i32'), metrics: { a: { value: p.sum() } } })
  expect([loss.weight.dtype, metrics['a']?.weight]).toEqual(['f32', loss.weight])
})

test('no gradient flows through a weight', () => {
  const scale = given([], [2])
  const { grads } = lossAndGrads((p: { s: Scalar }) => ({ loss: p.s.square(), weight: p.s }))({ s: scale.tensor as AnyTensor as Scalar })
  expect(valuesOf([grads.s], [scale])).toEqual([[4]])
})

test('means of nothing are 0, of what was never added undefined', () => {
  const means = new WeightedMeans()
  means.add('loss', { value: NaN, weight: 0 })
  expect([means.mean('loss'), means.weight('loss'), means.mean('other'), means.weight('other')]).toEqual([0, 0, undefined, 0])
  means.add('loss', { value: 3, weight: 1 })
  means.add('loss', { value: 1, weight: 3 })
  expect(means.mean('loss')).toBe(1.5)
  means.add('loss', { value: NaN, weight: 1 })
  expect(means.mean('loss')).toBeNaN()
})

