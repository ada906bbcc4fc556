/** Layers of experts in pipelines: values, gradients, what balances, what is told of their use and the routing counts are those of the same model without one. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { accumulate, compile, cond, dims, full, initialise, input, iota, keyOf, leavesOf, lossAndGrads, mesh, openBackend, param, scan, type Backend, type CompileOptions, type Layouts, type Scalar, type Tensor, type Tree } from '../../src/engine/index.ts'
import { storedTensors } from '../../src/checkpoint/stored.ts'
import { filesOf } from '../../src/models/hugging-face/files.ts'
import { llamaModel, type PipelineConfig } from '../../src/models/index.ts'
import type { ExpertsGiven } from '../../src/models/experts-config.ts'
import type { Model } from '../../src/models/model.ts'
import { pipeline, placesOf, type Places } from '../../src/parallel/index.ts'
import { every } from '../support/depth.ts'
import { relativeError } from '../support/values.ts'
import { numbersByPath } from './by-path.ts'

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 8 }) })
afterAll(async () => { await backend.close() })

const [rows, seq, chosen] = [8, 4, 2]
type Given = Partial<ExpertsGiven>
type Built = Model<Tree, Tree>

const built = (layers: number, more: Given, pipeline?: PipelineConfig, batch = rows): Built => llamaModel({
  vocab: 16, seq, embed: 4, heads: 2, kvHeads: 1, headDim: 2, hidden: 8, masked: true, layers, experts: { count: 4, chosen, hidden: 8, balance: 0.1, zLoss: 0.01, biasRate: 0.01, ...more }, ...(pipeline === undefined ? {} : { pipeline }),
}).build({ batch, precision: { params: 'f32', compute: 'f32' } }) as unknown as Built
const ids = (f: (row: number, at: number) => number): Int32Array => Int32Array.from({ length: rows * seq }, (_, i) => f(Math.floor(i / seq), i % seq))
const even = { tokens: ids((r, s) => (7 * r + 3 * s + 1) % 16), targets: ids((r, s) => (5 * r + s + 2) % 16) }
/** Targets of one microbatch in two are ignored, so that microbatches weigh otherwise. */
const uneven = { ...even, targets: ids((r, s) => (r % 2 === 0 && s > 0 ? -100 : (5 * r + s + 2) % 16)) }

interface On extends Layouts { readonly mesh: { readonly [axis: string]: number } }
const alone: On = { mesh: {}, layout: {} }
type Numbers = ReadonlyMap<string, readonly number[]>
/** What a function of first values and a batch gives, by paths, layers in their order. */
async function numbersOf(model: Built, f: (params: Tree, batch: Tree) => Tree, { mesh: sizes, ...layouts }: On, places?: Places, data: object = even): Promise<Numbers> {
  using program = await compile((seed: Scalar, b: Tree) => f(initialise(model.params, keyOf(seed)), b), [input('seed', [], 'i32'), model.batch] as const,
    { mesh: mesh(sizes), ...layouts, backend, dims: model.dims, ...(model.layouts === undefined ? {} : { uses: model.layouts }) } as CompileOptions)
  return numbersByPath(await program(3, data as never), places)
}
const key = keyOf(full(7, [], 'i32'))
/** A training step's numbers, and what an evaluation tells. */
const step = (model: Built) => (params: Tree, b: Tree): Tree => {
  const { value, grads, weight, updates } = lossAndGrads((p: Tree) => model.loss(p, b, key))(params)
  return { value, weight, grads, updates, metrics: model.loss(params, b).metrics, logits: (model as unknown as { logits: (p: Tree, b: Tree) => Tree }).logits(params, b) } as unknown as Tree
}
/** Paths whose numbers differ. Of the loss of each microbatch the new values are their mean, which is a count over as many; and which expert is the busiest is told of each. */
const differing = (found: Numbers, expected: Numbers, parts = 1): readonly (readonly [string, number])[] =>
  [...expected].filter(([path]) => parts === 1 || !path.includes('.busiest.')).map(([path, values]) => [path, relativeError((found.get(path) ?? []).map(v => (path.includes('.updates.') ? parts * v : v)), values)] as const).filter(([, error]) => !(error < 2e-5))

const onStages = { stage: 'stage', layers: 'stage' }
const onThree: On = { mesh: { data: 2, expert: 2, stage: 2 }, layout: { ...onStages, batch: ['data', 'expert'] }, params: { experts: 'expert' } }
const onData: On = { mesh: { data: 2, stage: 2 }, layout: { ...onStages, batch: 'data' }, params: { experts: 'data' } }
describe('the numbers of the model without a pipeline', () => {
  test.each(every<readonly [number, PipelineConfig, Given, On]>(2, [
    [4, { stages: 2, microbatches: 2 }, {}, onThree],
    [3, { stages: [1, 2], microbatches: 2 }, {}, onData],
    [4, { stages: 2, microbatches: 2, schedule: 'circular' }, { balanceOver: 'layers', capacity: 1 }, onData],
    // Each window's use is balanced by itself: the same of a microbatch as of the batch.
    [4, { stages: 2, microbatches: 2, schedule: '1f1b' }, { balanceOver: 'groups' }, onThree],
    [3, { stages: [2, 1], microbatches: 4, schedule: '1f1b', remat: 'everything' }, { balanceOver: 'groups', capacity: 1, shared: 4 }, onData],
  ]))('%i layers %j, experts %j', async (layers, pipelined, more, on) => {
    const [one, model] = [built(layers, more), built(layers, more, pipelined)]
    const [expected, found] = [await numbersOf(one, step(one), alone), await numbersOf(model, step(model), on, placesOf(layers, pipelined))]
    expect([...found.keys()].sort()).toEqual([...expected.keys()].sort())
    expect(differing(found, expected, pipelined.schedule === '1f1b' ? pipelined.microbatches : 1)).toEqual([])
  })
})
test.each(every<Given>(2, [{ balanceOver: 'layers' }, { balanceOver: 'batch' }]))('1f1b balances each microbatch, as accumulated ones are: %j', async more => {
  const parts = 2
  const [small, model] = [built(4, more, undefined, rows / parts), built(4, more, { stages: 2, microbatches: parts, schedule: '1f1b' })]
  const whole = built(4, more)
  const summed = (params: Tree, b: Tree): Tree => {
    const { value, grads, updates } = accumulate((p: Tree, part: Tree) => lossAndGrads((q: Tree) => small.loss(q, part, key))(p), params, b as { readonly tokens: Tensor<'batch'> }, 'batch', parts)
    return { value, grads, updates } as unknown as Tree
  }
  const expected = await numbersOf(whole, summed, alone, undefined, uneven)
  expect(differing(await numbersOf(model, step(model), onData, undefined, uneven), expected)).toEqual([])
})
test('routing counts sum to tokens × k once a step, in every schedule, with and without recompute', async () => {
  const counts = async (pipelined: PipelineConfig, again: boolean): Promise<readonly number[]> => {
    const model = built(4, {}, pipelined)
    const of = (params: Tree, b: Tree): Tree => lossAndGrads((p: Tree) => model.loss(p, b, key), again ? { remat: 'everything' } : {})(params).updates as unknown as Tree
    const load = [...(await numbersOf(model, of, onData, placesOf(4, pipelined))).values()].flat()
    return Array.from({ length: 4 }, (_, layer) => load.slice(4 * layer, 4 * layer + 4).reduce((a, b) => a + b, 0))
  }
  for (const again of every(2, [true, false])) {
    const all = new Array<number>(4).fill(rows * seq * chosen)
    expect(await counts({ stages: 2, microbatches: 4 }, again)).toEqual(all)
    expect(await counts({ stages: 2, microbatches: 4, schedule: 'circular' }, again)).toEqual(all)
    // New values are the mean of the microbatches'.
    expect((await counts({ stages: 2, microbatches: 4, schedule: '1f1b', ...(again ? { remat: 'everything' } : {}) }, again)).map(n => 4 * n)).toEqual(all)
  }
})
test('stages choose each for itself, and go back through their own branch', async () => {
  const d = dims({ batch: 4, embed: 2, layers: 4 })
  const [x, w] = [input('x', [d.batch, d.embed], 'f64'), param('w', [d.layers, d.embed], 'f64')]
  type Rows = Tensor<'batch' | 'embed'>
  const block = (x: Rows, { w, index }: { readonly w: Tensor<'embed'>; readonly index: Scalar }): Rows => cond(index.rem(3).equal(0), () => x.mul(w).sin(), () => x.add(w))
  const of = (walk: (x: Rows, stacked: { readonly w: typeof w; readonly index: Tensor<'layers'> }) => Rows) => (x: Rows, own: typeof w): Tree =>
    lossAndGrads((q: typeof w) => ({ loss: walk(x, { w: q, index: iota(d.layers) }).square().mean() }))(own) as unknown as Tree
  const data = [Float64Array.from({ length: 8 }, (_, i) => Math.sin(i + 1)), Float64Array.from({ length: 8 }, (_, i) => Math.cos(i))] as const
  const all = await Promise.all([of((x, stacked) => scan(d.layers, x, stacked, (now: Rows, own) => [block(now, own), {}] as const)[0]), of((x, stacked) => pipeline(d.layers, x, stacked, block, { stages: 2, microbatches: 2 }))].map(async f => {
    using program = await compile(f, [x, w] as const, { mesh: mesh({ stage: 2 }), layout: { stage: 'stage' }, dims: { ...d, stage: { name: 'stage', size: 2 } }, backend } as never)
    const { value, grads } = await (program as unknown as (...of: unknown[]) => Promise<{ readonly [K in 'value' | 'grads']: { read: () => Promise<Float64Array> } }>)(...data)
    return [...await value.read(), ...await grads.read()]
  }))
  expect(relativeError(all[1] ?? [], all[0] ?? [])).toBeLessThan(1e-14)
})
describe('layers without experts before the pipeline are computed where it begins', () => {
  const dense = 2
  test.each(every<readonly [number, PipelineConfig, Given, On]>(3, [
    [6, { stages: 2, microbatches: 2 }, {}, onThree],
    [5, { stages: [1, 2], microbatches: 4, schedule: '1f1b' }, { balanceOver: 'groups', shared: 4 }, onData],
    [6, { stages: 2, microbatches: 2, schedule: 'circular' }, { balanceOver: 'layers', capacity: 1 }, { ...onData, params: {} }],
    // Those before rest where no stage has them, in parts of every one of their weights.
    [4, { stages: 2, microbatches: 4, schedule: '1f1b', remat: 'everything' }, { balanceOver: 'groups' }, { ...onData, layout: { ...onData.layout, hidden: 'stage' } }],
  ]))('%i layers %j, experts %j', async (layers, pipelined, more, on) => {
    const [one, model] = [built(layers, { ...more, dense }), built(layers, { ...more, dense }, pipelined)]
    const [expected, found] = [await numbersOf(one, step(one), alone), await numbersOf(model, step(model), on, placesOf(layers - dense, pipelined))]
    expect([...found.keys()].sort()).toEqual([...expected.keys()].sort())
    expect([...found.keys()].filter(path => path.includes('.first.')).length).toBeGreaterThan(0)
    expect(differing(found, expected, pipelined.schedule === '1f1b' ? pipelined.microbatches : 1)).toEqual([])
  })

  test('layers that differ keep what they are, and first values what they would be', async () => {
    const of = (pipeline?: PipelineConfig): Built => llamaModel({
      vocab: 16, seq, embed: 4, heads: 2, kvHeads: 1, headDim: 2, hidden: 8, masked: true, layers: 5, window: 2, unwindowed: [1, 3], unturned: [0, 4], localRope: { base: 100 }, dropout: 0.1,
      experts: { count: 4, chosen, hidden: 8, dense, balanceOver: 'groups', biasRate: 0.01 }, ...(pipeline === undefined ? {} : { pipeline }),
    }).build({ batch: rows, precision: { params: 'f32', compute: 'f32' } }) as unknown as Built
    const pipelined: PipelineConfig = { stages: [2, 1], microbatches: 2, schedule: '1f1b' }
    const all = (model: Built) => (params: Tree, b: Tree): Tree => ({ params, step: step(model)(params, b) }) as unknown as Tree
    const [one, model] = [of(), of(pipelined)]
    expect(differing(await numbersOf(model, all(model), onData, placesOf(3, pipelined)), await numbersOf(one, all(one), alone), 2)).toEqual([])
  })

  test('files are those of the model without a pipeline', () => {
    const stored = (pipeline?: PipelineConfig): readonly string[] => {
      // As dots.1 has them.
      const part = llamaModel({
        vocab: 16, seq, embed: 4, heads: 2, kvHeads: 1, headDim: 2, hidden: 8, layers: 5, queryKeyNorms: 'head', experts: { count: 4, chosen, hidden: 8, dense, scores: 'sigmoid', biasRate: 0, balance: 0, shared: 8 }, ...(pipeline === undefined ? {} : { pipeline }),
      })
      const model = part.build({ batch: rows, precision: { params: 'f32', compute: 'f32' } }) as unknown as Built
      const files = filesOf(part as never, model)
      if (files === undefined) throw new Error('the model has files')
      return storedTensors(files.naming, leavesOf(model.params).map(({ path, leaf }) => ({ path, value: leaf }))).map(t => `${t.name} ${t.axes.map(a => a.size).join()} ${t.pieces.length}`).sort()
    }
    expect(stored({ stages: [1, 2], microbatches: 2 })).toEqual(stored())
  })
})
