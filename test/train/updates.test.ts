/** What a model keeps of the batches that it saw: running statistics, in frozen parameters, whatever the mesh and however a batch is cut. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DimError } from '../../src/core/errors.ts'
import { compile, dims, full, input, mesh as meshOf, openBackend, param, type Backend, type Tensor } from '../../src/engine/index.ts'
import type { Model } from '../../src/models/index.ts'
import { batchNorm } from '../../src/nn/index.ts'
import { adamw } from '../../src/optim/index.ts'
import { stateOf, trainStep } from '../../src/train/program.ts'
import { given, valuesOf } from '../graph/support.ts'

const d = dims({ batch: 8, features: 2 })
type Params = { readonly w: Tensor<'features'>; readonly mean: Tensor<'features'>; readonly variance: Tensor<'features'> }
type Batch = { readonly x: Tensor<'batch' | 'features'> }
const model = (frozen = true, named = 'mean'): Model<Params, Batch> => ({
  dims: d, itemsPerBatch: 8,
  params: { w: param('w', [d.features], { init: 1 }), mean: param('mean', [d.features], { init: 0, frozen }), variance: param('variance', [d.features], { init: 1, frozen: true }) },
  batch: { x: input('x', [d.batch, d.features]) },
  loss: ({ w, mean, variance }, { x }, key) => {
    const found = batchNorm(x.mul(w), 'features', { gain: full(1, [d.features]), bias: full(0, [d.features]), mean, variance }, { training: key !== undefined, momentum: 0.25 })
    const loss = found.value.square().mean().add(x.mul(w).mean())
    return found.statistics === undefined ? { loss } : { loss, updates: { [named]: found.statistics.mean, variance: found.statistics.variance } }
  },
})
const x = Float32Array.from({ length: 16 }, (_, i) => Math.sin(3 * i) + (i % 2))
const columns = [0, 1].map(c => Array.from({ length: 8 }, (_, i) => x[2 * i + c] ?? 0))
const meanOf = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0) / xs.length
const varianceOf = (xs: readonly number[]): number => xs.reduce((a, b) => a + (b - meanOf(xs)) ** 2, 0) / (xs.length - 1)

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
afterAll(async () => { await backend.close() })

/** The frozen parameters after one step. */
async function kept(sizes: { readonly batch: number; readonly model: number }, options: { readonly microbatches?: number; readonly guard?: object } = {}): Promise<{ readonly mean: number[]; readonly variance: number[]; readonly w: number[] }> {
  const m = model()
  const config = { optimizer: adamw({ rate: 0.1 }), seed: 1, remat: 'nothing', ...options } as never
  const state = stateOf(m, config)
  const step = await compile(trainStep(m, config), [state, m.batch] as const, { mesh: meshOf(sizes), layout: { batch: 'batch', features: 'model' }, backend, dims: d })
  const zeros = (t: unknown): unknown => (typeof t === 'object' && t !== null && 'node' in t ? new Float32Array((t as Tensor<string>).shape.reduce((n, e) => n * e.size, 1)) : Object.fromEntries(Object.entries(t as object).map(([k, v]) => [k, zeros(v)])))
  const { state: next, metrics } = await step({ ...zeros(state) as object, params: { w: Float32Array.of(1, 1), mean: Float32Array.of(0.5, -1), variance: Float32Array.of(1, 2) }, step: new Int32Array(1) } as never, { x })
  const read = async (a: { read(): Promise<unknown> }): Promise<number[]> => Array.from(await a.read() as Float32Array)
  const { mean, variance, w } = next.params
  const found = { mean: await read(mean), variance: await read(variance), w: await read(w) }
  const dispose = (t: unknown): void => { if (typeof t === 'object' && t !== null) { if ('dispose' in t) (t as { dispose(): void }).dispose(); else Object.values(t).forEach(dispose) } }
  dispose([next, metrics])
  step.dispose()
  return found
}

describe('a step', () => {
  const expected = { mean: [0.5, -1].map((m, c) => 0.75 * m + 0.25 * meanOf(columns[c] ?? [])), variance: [1, 2].map((v, c) => 0.75 * v + 0.25 * varianceOf(columns[c] ?? [])) }
  test.each([[1, 1], [4, 1], [2, 2], [1, 2]])('keeps them on %i × %i, and moves what is trained', async (batch, model) => {
    const found = await kept({ batch, model })
    for (const [i, m] of expected.mean.entries()) expect(found.mean[i]).toBeCloseTo(m, 5)
    for (const [i, v] of expected.variance.entries()) expect(found.variance[i]).toBeCloseTo(v, 5)
    expect(found.w.every(w => w !== 1)).toBe(true)
  })
  test('of microbatches keeps their mean', async () => {
    const found = await kept({ batch: 1, model: 1 }, { microbatches: 2 })
    for (const [i, m] of expected.mean.entries()) expect(found.mean[i]).toBeCloseTo(m, 5)
    // A microbatch has every second example, so that none moves between devices.
    const parts = columns.map(c => [0, 1].map(p => varianceOf(c.filter((_, i) => i % 2 === p))))
    for (const [c, v] of [1, 2].entries()) expect(found.variance[c]).toBeCloseTo(0.75 * v + 0.25 * meanOf(parts[c] ?? []), 5)
  })
})

test('only frozen parameters are updated, by their paths', () => {
  const run = (m: Model<Params, Batch>) => () => trainStep(m, { optimizer: adamw({ rate: 0.1 }), seed: 1, remat: 'nothing' } as never)(stateOf(m, { optimizer: adamw({ rate: 0.1 }) } as never), m.batch)
  expect(run(model(false))).toThrow(DimError)
  expect(run(model(false))).toThrow(/updates "mean", which is trained/)
  expect(run(model(true, 'means'))).toThrow(/updates "means", which is no parameter/)
})

test('batchNorm: running statistics where it does not train; of one item the variance stays a number', () => {
  const one = given([d.features], [3, 5])
  const p = { gain: full(2, [d.features]), bias: full(1, [d.features]), mean: full(1, [d.features]), variance: full(4, [d.features]) }
  const tested = batchNorm(one.tensor as Tensor<'features'>, 'features', p, { training: false, epsilon: 0 })
  expect(tested.statistics).toBeUndefined()
  const trained = batchNorm(one.tensor as Tensor<'features'>, 'features', p, { training: true })
  const [a, mean, variance] = valuesOf([tested.value, trained.statistics?.mean ?? one.tensor, trained.statistics?.variance ?? one.tensor], [one])
  expect([a, mean, variance]).toEqual([[3, 5], [expect.closeTo(1.2), expect.closeTo(1.4)], [expect.closeTo(3.6), expect.closeTo(3.6)]])
  expect(() => batchNorm(one.tensor as Tensor<'features'>, 'features', p, { training: true, momentum: 2 })).toThrow(/momentum is 2/)
})
