/** Pipelines compute what a loop over the layers does: every schedule, on meshes, and whatever idle stages are given. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, cumsum, dim, dims, input, iota, lossAndGrads, mesh as meshOf, openBackend, param, scan, type Backend, type Layouts, type Outcome, type Remat, type Scalar, type Tensor } from '../../src/index.ts'
import { drawSchedule, pipelineLoss, type LossOptions } from '../../src/parallel/index.ts'
import { all, every } from '../support/depth.ts'
import { furthest, net, valuesOf, type Values } from './support.ts'

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 8 }) })
afterAll(async () => { await backend.close() })

const onStages: Layouts = { layout: { stage: 'stage', layers: 'stage' } }
const onThree: Layouts = { layout: { batch: 'data', hidden: 'model', stage: 'stage', layers: 'stage' } }
const three = { data: 2, model: 2, stage: 2 }
const nearly = 3e-5

describe.each([4, 5])('%i layers', layers => {
  const given = net({ layers })
  let expected: Values
  beforeAll(async () => { expected = await valuesOf(given, undefined, backend) })

  const even: readonly (readonly [LossOptions, { readonly [axis: string]: number }, Layouts, Remat?])[] = [
    [{ stages: 2, microbatches: 4 }, { stage: 2 }, onStages],
    [{ stages: 2, microbatches: 4 }, three, onThree, 'everything'],
    [{ stages: 4, microbatches: 2 }, { stage: 4 }, onStages, 'nothing'],
    [{ stages: 2, microbatches: 4, schedule: 'circular' }, { stage: 2 }, onStages],
    [{ stages: 2, microbatches: 2, schedule: 'circular' }, three, onThree],
    [{ stages: 2, microbatches: 4, schedule: '1f1b' }, { stage: 2 }, onStages],
    [{ stages: 4, microbatches: 2, schedule: '1f1b', remat: 'everything' }, { data: 2, stage: 4 }, { layout: { batch: 'data', stage: 'stage', layers: 'stage' } }],
    [{ stages: 2, microbatches: 4, schedule: '1f1b' }, three, onThree],
    [{ stages: 2, microbatches: 1, schedule: '1f1b', remat: 'nothing' }, { stage: 2 }, onStages],
    [{ stages: 2, microbatches: 4, schedule: '1f1b', head: 'all' }, three, onThree],
    [{ stages: 2, microbatches: 4, head: 'all' }, three, onThree],
    // Two stages on each device.
    [{ stages: 4, microbatches: 4 }, { stage: 2 }, onStages, 'nothing'],
    [{ stages: 4, microbatches: 4, schedule: '1f1b' }, { stage: 2 }, onStages],
    // Weights of stages in parts.
    [{ stages: 2, microbatches: 4 }, three, { ...onThree, params: { embed: 'data' } }],
    [{ stages: 2, microbatches: 2, schedule: 'circular' }, three, { ...onThree, params: { embed: 'data' } }, 'everything'],
    [{ stages: 1, microbatches: 4, schedule: '1f1b' }, { data: 2 }, { layout: { batch: 'data' } }],
    // Weights that rest otherwise than the stages use them are moved, and the numbers stay.
    [{ stages: 2, microbatches: 2, schedule: '1f1b' }, { stage: 2 }, { layout: { stage: 'stage' }, params: { embed: 'stage' } }],
  ]
  const uneven: typeof even = [
    [{ stages: 2, microbatches: 4 }, {}, { layout: {} }],
    [{ stages: [1, 3, 1], microbatches: 4 }, { data: 2 }, { layout: { batch: 'data' } }],
    [{ stages: 2, microbatches: 4, schedule: '1f1b' }, { stage: 2 }, { layout: { stage: 'stage' } }],
    [{ stages: 2, microbatches: 2, schedule: 'circular' }, { stage: 2 }, { layout: { stage: 'stage' }, params: { embed: 'stage' } }],
  ]
  test.each((layers === 4 ? every(2, even) : uneven).map(c => [`${JSON.stringify(c[0])} on ${JSON.stringify(c[1])} ${JSON.stringify(c[2])} ${String(c[3] ?? '')}`, ...c] as const))('%s', async (_, how, mesh, where, remat) => {
    expect(furthest(expected, await valuesOf(given, how, backend, mesh, where, remat))).toBeLessThan(nearly)
  })
})

test.each(every<readonly [LossOptions, { readonly [axis: string]: number }, Layouts]>(2, [
  [{ stages: 2, microbatches: 4, schedule: '1f1b' }, three, onThree], [{ stages: 4, microbatches: 2, schedule: '1f1b' }, { stage: 4 }, onStages], [{ stages: 1, microbatches: 1, schedule: '1f1b' }, {}, { layout: {} }],
  [{ stages: 2, microbatches: 4, schedule: '1f1b' }, three, { ...onThree, params: { embed: 'data' } }], [{ stages: 2, microbatches: 4 }, { stage: 2 }, onStages], [{ stages: 2, microbatches: 2, schedule: 'circular' }, three, { ...onThree, params: { embed: 'data' } }],
]))('what enters computed of each microbatch: %j on %j, %j', async (how, mesh, where) => {
  const expected = await valuesOf(net({ layers: 4 }), undefined, backend)
  expect(furthest(expected, await valuesOf(net({ layers: 4, each: true }), how, backend, mesh, where))).toBeLessThan(nearly)
})

describe('what idle stages compute', () => {
  // Of zeros, and of what no stage before has made, this is no number, and neither is its slope.
  const given = net({ layers: 2, before: x => x.add(x.square().sum('embed').sqrt().log().mul(1e-3)) })
  test.each((['gpipe', 'circular', '1f1b'] as const).map(schedule => [schedule]))('reaches no number of the schedule %s', async schedule => {
    const how: LossOptions = { stages: 2, microbatches: 4, schedule, ...(schedule === 'circular' ? { rounds: 1 } : {}) }
    const found = await valuesOf(given, how, backend, { stage: 2 }, onStages)
    expect(furthest(await valuesOf(given, undefined, backend), found)).toBeLessThan(nearly)
    expect(Object.values(found).flat().every(Number.isFinite)).toBe(true)
  })
})

test('gradients are the same for any number of microbatches', async () => {
  const given = net({ layers: 2, batch: 8 })
  const expected = await valuesOf(given, undefined, backend)
  for (const microbatches of all ? [1, 2, 4, 8] : [2, 8]) {
    for (const schedule of ['gpipe', '1f1b'] as const) expect(furthest(expected, await valuesOf(given, { stages: 2, microbatches, schedule }, backend)), `${microbatches} ${schedule}`).toBeLessThan(nearly)
  }
})

describe('what blocks and losses are made of', () => {
  const d = dims({ batch: 4, embed: 2, layers: 2 })
  const [x, w] = [input('x', [d.batch, d.embed], 'f64'), param('w', [d.layers, d.embed], 'f64')]
  type Rows = Tensor<'batch' | 'embed'>
  const data = [Float64Array.from({ length: 8 }, (_, i) => Math.sin(i + 1)), Float64Array.from({ length: 4 }, (_, i) => Math.cos(i))] as const
  const numbersOf = async (f: (x_: typeof x, w_: typeof w) => { readonly value: Scalar; readonly grads: typeof w }): Promise<readonly number[]> => {
    using program = await compile(f, [x, w] as const, { mesh: meshOf({ stage: 2 }), ...onStages, dims: { ...d, stage: dim('stage', 2) }, backend })
    const { value, grads } = await program(...data)
    return [...await value.read(), ...await grads.read()].map(Number)
  }
  const loss = (y: Rows): Outcome => ({ loss: y.square().mean() })
  // Made of constants alone, and along the batch: each microbatch has its part of what the whole batch has.
  const ranks = iota(d.batch).cast('f64').add(1)
  const shares = ranks.div(ranks.sum(d.batch)).add(cumsum(ranks, d.batch).mul(0.01))
  const block = (x: Rows, w: Tensor<'embed'>): Rows => x.mul(w).sin().mul(shares.add(1))
  const alone = (x_: typeof x, w_: typeof w) => lossAndGrads((q: typeof w) => loss(scan(d.layers, x_, q, (x: Rows, own) => [block(x, own), {}] as const)[0]))(w_)

  test.each(['gpipe', '1f1b', 'circular'] as const)('a loss in f64 is one, and constants are cut with the batch: %s', async schedule => {
    const how: LossOptions = { stages: 2, microbatches: 2, schedule, ...(schedule === 'circular' ? { rounds: 1 } : {}) }
    const found = await numbersOf((x_, w_) => lossAndGrads((q: typeof w) => pipelineLoss(d.layers, x_, q, block, {}, y => loss(y), how))(w_))
    const expected = await numbersOf(alone)
    expect(Math.max(...found.map((v, i) => Math.abs(v - (expected[i] ?? NaN))))).toBeLessThan(1e-14)
  })
})

test('a schedule is drawn', () => {
  expect(`\n${drawSchedule({ stages: 3, microbatches: 4, schedule: '1f1b' })}`).toMatchInlineSnapshot(`
    "
    stage 0 │ 0 │ 1 │ 2 ·  │ 3 ·  │ · 0' │ · 1' │ 2' │ 3'
    stage 1 │ · │ 0 │ 1 ·  │ 2 0' │ 3 1' │ · 2' │ 3' │ ·
    stage 2 │ · │ · │ 0 0' │ 1 1' │ 2 2' │ 3 3' │ ·  │ ·
    idle: 33.3 %"
  `)
  expect(`\n${drawSchedule({ stages: 2, microbatches: 4, schedule: 'circular' })}`).toMatchInlineSnapshot(`
    "
    stage 0 │ 0 │ 1 │ 0b │ 1b │ 2  │ 3 │ 2b │ 3b │ ·  │ ·   │ 3b' │ 2b' │ 3' │ 2'  │ 1b' │ 0b' │ 1' │ 0'
    stage 1 │ · │ 0 │ 1  │ 0b │ 1b │ 2 │ 3  │ 2b │ 3b │ 3b' │ 2b' │ 3'  │ 2' │ 1b' │ 0b' │ 1'  │ 0' │ ·
    idle: 11.1 %"
  `)
  expect(`\n${drawSchedule({ stages: 2, microbatches: 2 })}`).toMatchInlineSnapshot(`
    "
    stage 0 │ 0 │ 1 │ · │ ·  │ 1' │ 0'
    stage 1 │ · │ 0 │ 1 │ 1' │ 0' │ ·
    idle: 33.3 %"
  `)
})
