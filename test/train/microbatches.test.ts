/** A batch in parts: the same losses on every mesh, and the gradients reduced once. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DimError } from '../../src/core/errors.ts'
import { accumulate, dims, expectDims, input, loose, mesh as meshOf, openBackend, param, plan, totals, valueAndGrad, type Backend, type CollectiveTotal, type Layouts, type Tensor } from '../../src/engine/index.ts'
import { gpt } from '../../src/models/index.ts'
import { stateOf, trainStep } from '../../src/train/program.ts'
import { adamwCosine } from '../../src/train/optimizers.ts'
import { checkMicrobatches, defineRun, type Run } from '../../src/train/run.ts'
import { train } from '../../src/train/train.ts'
import { given, leafValues } from '../graph/support.ts'
import { all } from '../support/depth.ts'
import { dry, forms, small } from '../support/parallel-runs.ts'

const { batch, embed, hidden } = dims({ batch: 8, embed: 2, hidden: 3 })
type X = Tensor<'batch' | 'embed'>

describe('accumulate', () => {
  const w = given([embed, hidden], [1, -2, 0.5, 0.3, 0.7, -1])
  const x = given([batch, embed], Array.from({ length: 16 }, (_, i) => Math.sin(i)))
  const whole = (p: { w: Tensor<'embed' | 'hidden'> }, b: { x: X }) => valueAndGrad((p: { w: Tensor<'embed' | 'hidden'> }) => b.x.dot(p.w, embed).tanh().square().mean())(p)
  const params = { w: w.tensor as Tensor<'embed' | 'hidden'> }

  test.each([1, 2, 4, 8])('%i parts give what the whole batch gives', parts => {
    const one = whole(params, { x: x.tensor as X })
    const found = accumulate(whole, params, { x: x.tensor as X }, batch, parts)
    const [a, b] = [one, found].map(({ value, grads }) => leafValues({ value, grads }, w, x).flat())
    for (const [i, v] of (a ?? []).entries()) expect(b?.[i]).toBeCloseTo(v, 12)
  })

  test('each part is told its number, and sees what lacks the dim whole', () => {
    const scale = given([embed], [2, 3])
    const f = accumulate((p, b, index) => valueAndGrad((p: typeof params) => expectDims(loose(p.w).sum().mul(index.cast('f32')).add(loose(b.scale).sum()), []))(p), params, { x: x.tensor as X, scale: scale.tensor }, 'batch', 4)
    const [value = [], grads = []] = leafValues({ value: f.value, grads: f.grads }, w, x, scale)
    expect(value[0]).toBeCloseTo(-0.5 * 1.5 + 5, 12)
    expect(grads).toEqual(Array.from({ length: 6 }, () => 1.5))
  })

  test('errors', () => {
    const problem = (dim: string, parts: number): string => {
      try { accumulate(whole, params, { x: x.tensor as X }, dim as never, parts) } catch (e) { if (e instanceof DimError) return `${e.problem.what}: ${e.problem.fix}` }
      return 'none'
    }
    expect(problem('batch', 3)).toBe('accumulate: dim "batch" of size 8 cannot be cut into 3 equal parts: use a number of parts that divides 8')
    expect(problem('bach', 2)).toBe('accumulate: no tensor of the batch has dim "bach": cut the batch along one of batch, embed')
  })

  test('memory-bound weights and all: one reduction of each gradient, after the loop', () => {
    const { xs, p } = { xs: input('x', [batch, embed]), p: { w: param('w', [embed, hidden]) } }
    const found = (parts: number): CollectiveTotal[] => totals(plan((p, x) => accumulate(whole, p, { x }, batch, parts), [p, xs], { mesh: meshOf({ batch: 2, model: 2 }), layout: { batch: 'batch' } }).collectives)
    expect(found(4)).toEqual(found(1))
  })
})

/** After a loop all small gradients are there at once, so that more of them are merged: the same bytes, not more often. */
function expectNoMore(found: readonly CollectiveTotal[], than: readonly CollectiveTotal[]): void {
  expect(found.map(({ kind, bytes }) => ({ kind, bytes }))).toEqual(than.map(({ kind, bytes }) => ({ kind, bytes })))
  found.forEach((c, i) => { expect(c.count).toBeLessThanOrEqual(than[i]?.count ?? 0) })
}

describe('a training step', () => {
  const model = gpt({ vocab: 64, seq: 8, layers: 2, embed: 16, heads: 4, headDim: 4, hidden: 32, dropout: 0 }, 8)
  const optimizer = adamwCosine({ rate: 1e-3, warmup: 1 }).build({ steps: 10 })
  const known = new Map<string, CollectiveTotal[]>()
  const collectives = (microbatches: number, layouts: Layouts): CollectiveTotal[] => {
    const key = JSON.stringify([microbatches, layouts])
    const found = known.get(key) ?? planned(microbatches, layouts)
    known.set(key, found)
    return found
  }
  const planned = (microbatches: number, layouts: Layouts): CollectiveTotal[] => totals(plan(trainStep(model, { seed: 0, remat: 'all-but-contractions', optimizer, microbatches }),
    [stateOf(model, { optimizer }), model.batch] as const, { mesh: meshOf({ batch: 2, model: 2 }), ...layouts, dims: model.dims }).collectives)

  const layouts = [{ batch: 'batch' }, { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' }]
  test.each(layouts.flatMap(layout => [2, 4].map(n => [n, layout] as const)))('%i reduce along the data axis what is reduced of the whole batch: %j', (n, layout) => {
    const along = (n: number): CollectiveTotal[] => collectives(n, { layout }).filter(c => c.axes.join() === 'batch')
    expect(along(1).length).toBeGreaterThan(0)
    expectNoMore(along(n), along(1))
  })
  test('with ZeRO-1, gradients are reduce-scattered once', () => {
    const scattered = (n: number): CollectiveTotal[] => collectives(n, { layout: { batch: 'batch' }, state: { embed: 'batch' } }).filter(c => c.kind === 'reduce-scatter')
    expect(scattered(1).length).toBeGreaterThan(0)
    expectNoMore(scattered(4), scattered(1))
  })
})

test('a run whose batch cannot be cut so is refused before anything is read', () => {
  expect(() => defineRun({ name: 'odd', batch: 8, microbatches: 3, steps: 1, model: small.model, data: small.data, mesh: { batch: 1 }, optimizer: small.optimizer })).toThrow('the recipe: microbatches is 3, which does not divide batch, 8')
})

test('microbatches of fewer rows than devices are refused: some would compute what others do', () => {
  const check = (microbatches: number, mesh: { readonly [axis: string]: number }): void => checkMicrobatches({ batch: 8, microbatches, layout: { batch: ['a', 'b'] }, mesh })
  expect(() => check(4, { a: 2, b: 2 })).toThrow('LayoutError[microbatches] the 2 rows of a microbatch cannot be cut into 4 equal parts\n  batch  8 in 4 microbatches\n  rules  batch → a, b\n  fix    use 2 microbatches, or make batch a multiple of 16')
  expect(() => check(2, { a: 4, b: 3 })).toThrow('make batch a multiple of 24, or split it over fewer devices')
  check(2, { a: 2, b: 2 })
  check(4, { a: 2 })
})

// XLA compiles for as long as ten forms are interpreted: here in the deep run; test/train/precision.test.ts has it compile microbatches each time.
describe.each(all ? ['simulate', 'cpu'] : ['simulate'])('training in parts on %s', plugin => {
  let backend: Backend
  let expected: readonly number[]
  const short: Run = { ...dry, steps: 4 }
  beforeAll(async () => {
    backend = await openBackend({ plugin, devices: 8, cache: false })
    expected = (await train(short, { backend })).losses
  })
  afterAll(async () => { await backend.close() })
  const compare = async (change: Partial<Run>): Promise<void> => {
    const { losses } = await train({ ...short, ...change }, { backend })
    expect(losses).toHaveLength(expected.length)
    for (const [i, loss] of losses.entries()) expect(Math.abs(loss - (expected[i] ?? 0)) / (expected[i] ?? 1)).toBeLessThan(1e-5)
  }
  test.each(all ? [4, 8] : [4])('%i microbatches on one device', n => compare({ microbatches: n }))
  test.each((all ? [2, 5, 6, 7, 9] : [5, 6, 9]).flatMap(i => forms.slice(i, i + 1)).map(m => [JSON.stringify(m), m] as const))('two microbatches: %s', (_, change) => compare({ ...change, microbatches: 2 }))
})
