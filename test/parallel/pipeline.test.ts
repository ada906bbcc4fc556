/** Pipelines compute what a loop over the layers does: every schedule, on meshes, and whatever idle stages are given. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBackend, type Backend, type Layouts, type Remat } from '../../src/engine/index.ts'
import { drawSchedule, type LossOptions } from '../../src/parallel/index.ts'
import { all } from '../support/depth.ts'
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
  test.each((layers === 4 ? even : uneven).map(c => [`${JSON.stringify(c[0])} on ${JSON.stringify(c[1])} ${JSON.stringify(c[2])} ${String(c[3] ?? '')}`, ...c] as const))('%s', async (_, how, mesh, where, remat) => {
    expect(furthest(expected, await valuesOf(given, how, backend, mesh, where, remat))).toBeLessThan(nearly)
  })
})

test.each<readonly [LossOptions, { readonly [axis: string]: number }, Layouts]>([
  [{ stages: 2, microbatches: 4, schedule: '1f1b' }, three, onThree], [{ stages: 4, microbatches: 2, schedule: '1f1b' }, { stage: 4 }, onStages], [{ stages: 1, microbatches: 1, schedule: '1f1b' }, {}, { layout: {} }],
  [{ stages: 2, microbatches: 4, schedule: '1f1b' }, three, { ...onThree, params: { embed: 'data' } }], [{ stages: 2, microbatches: 4 }, { stage: 2 }, onStages],
])('what enters computed of each microbatch: %j on %j, %j', async (how, mesh, where) => {
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
