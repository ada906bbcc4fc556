/** What a pipeline costs, against closed forms: idle ticks, the permutes between stages and their bytes, and what is in memory of microbatches on their way. */
import { describe, expect, test } from 'vitest'
import { compile, lossAndGrads, mesh as meshOf, openBackend, plan, type Layouts, type Plan, type Remat, type Tree } from '../../src/engine/index.ts'
import { localFlops } from '../../src/cost/flops.ts'
import { productFlops } from '../../src/cost/price.ts'
import { workOf } from '../../src/cost/work.ts'
import { bodiesOf, reachable } from '../../src/graph/node.ts'
import { gptModel, type PipelineConfig } from '../../src/models/index.ts'
import type { Model } from '../../src/models/model.ts'
import type { Collective } from '../../src/partition/collectives.ts'
import type { LocalBody } from '../../src/partition/local.ts'
import { idleShare, ticksOf, type LossOptions, type Pipelined } from '../../src/parallel/index.ts'
import { all, every } from '../support/depth.ts'
import { net, planned, type Net } from './support.ts'

/** What is compared with by many tests, planned when the first asks for it. */
function once<T>(f: () => T): () => T {
  let found: { readonly value: T } | undefined
  return () => (found ??= { value: f() }).value
}

describe('idle ticks', () => {
  const cases: readonly Pipelined[] = [1, 2, 4, 8].flatMap(stages => [1, 4, 16].flatMap((microbatches): Pipelined[] => [
    { stages, microbatches }, { stages, microbatches, schedule: '1f1b' },
    ...(microbatches % stages === 0 ? [{ stages, microbatches, schedule: 'circular' as const, rounds: 2 }, { stages, microbatches, schedule: 'circular' as const, rounds: 3 }] : []),
  ]))
  test.each(cases.map(c => [JSON.stringify(c), c] as const))('%s', (_, how) => {
    const [p, v, m] = [how.stages as number, how.rounds ?? 1, how.microbatches]
    const slots = ticksOf(how).flatMap(t => [...t.forward ?? [], ...t.backward ?? []])
    expect(idleShare(how)).toBeCloseTo(slots.filter(w => w === undefined).length / slots.length, 12)
    expect(idleShare(how)).toBeCloseTo((p - 1) / (v * m + p - 1), 12)
    // Every microbatch goes through every stage in every round once, both ways, and only after it has come through what is before.
    const seen = { forward: new Map<string, number>(), backward: new Map<string, number>() }
    for (const [at, tick] of ticksOf(how).entries()) {
      for (const way of ['forward', 'backward'] as const) {
        for (const [stage, work] of (tick[way] ?? []).entries()) {
          if (work === undefined) continue
          const key = (s: number, r: number): string => `${work.microbatch} ${s} ${r}`
          expect(seen[way].has(key(stage, work.round))).toBe(false)
          seen[way].set(key(stage, work.round), at)
          const before = way === 'forward' ? (stage > 0 ? key(stage - 1, work.round) : work.round > 0 ? key(p - 1, work.round - 1) : undefined)
            : stage < p - 1 ? key(stage + 1, work.round) : work.round < v - 1 ? key(0, work.round + 1) : undefined
          if (before !== undefined) expect(seen[way].get(before)).toBeLessThan(at)
          if (way === 'backward') expect(seen.forward.get(key(stage, work.round))).toBeLessThanOrEqual(at)
        }
      }
    }
    expect(seen.forward.size).toBe(p * v * m)
    expect(seen.backward.size).toBe(p * v * m)
  })
})

/** `kind along axes: count × elements`, those of the same together. */
const rows = ({ collectives }: Pick<Plan, 'collectives'>, among: (c: Collective) => boolean = () => true): string[] => {
  const counts = new Map<string, number>()
  for (const c of collectives.filter(among)) {
    const key = `${c.kind} along ${c.axes.join()}: ${c.elements} elements`
    counts.set(key, (counts.get(key) ?? 0) + c.count)
  }
  return [...counts].map(([key, n]) => `${key} × ${n}`).sort()
}

describe('collectives', () => {
  const [batch, embed] = [16, 4]
  const onStages: Layouts = { layout: { stage: 'stage', layers: 'stage' } }
  const reduced = (elements: number): string => `all-reduce along stage: ${elements} elements × 1`
  const both: readonly (readonly [LossOptions, number])[] = [[{ stages: 2, microbatches: 4 }, 4], [{ stages: 4, microbatches: 8 }, 4], [{ stages: 2, microbatches: 4, schedule: '1f1b' }, 4], [{ stages: 4, microbatches: 4, schedule: '1f1b' }, 8]]
  test.each(both.map(([how, layers]) => [JSON.stringify(how), how, layers] as const))('%s, stages alone: a permute a tick each way, and no weight moves', (_, how, layers) => {
    const [p, m] = [how.stages as number, how.microbatches]
    const ticks = m + p - 1
    const microbatch = (batch / m) * embed
    expect(rows(planned(net({ layers, batch, embed }), how, { stage: p }, onStages))).toEqual([
      // The batch's cotangent, which the first stage has; of what the last one has alone the loss, its weight, the metric and its own. Small ones go along: the gradients of weights that all stages use, and that of the last one's.
      ...(how.schedule === '1f1b' ? [reduced(batch * embed + 4), reduced(2 * embed)] : [reduced(batch * embed + embed), reduced(embed + 3)]),
      `permute along stage: ${microbatch} elements × ${2 * ticks}`,
    ].sort())
  })

  test.each([['gpipe'], ['1f1b']] as const)('%s over data × tensor × pipeline: nothing is computed again that a collective has made, and gradients are reduced once', schedule => {
    const [p, m, layers] = [2, 4, 4]
    const found = rows(planned(net({ layers, batch, embed }), { stages: p, microbatches: m, schedule }, { data: 2, model: 2, stage: p }, { layout: { batch: 'data', hidden: 'model', stage: 'stage', layers: 'stage' } }), c => c.elements >= (batch / m / 2) * embed)
    const microbatch = (batch / m / 2) * embed
    expect(found.filter(r => r.includes('along model') || r.includes('permute'))).toEqual([
      // A block has one contraction of what is split: one all-reduce of its tokens forward and one back, in each of a stage's layers, at each tick.
      `all-reduce along model: ${microbatch} elements × ${2 * (layers / p) * (m + p - 1)}`,
      `permute along stage: ${microbatch} elements × ${2 * (m + p - 1)}`,
    ])
    // Of a stage's layers: gain and bias are small, and one with others; up and down are split over the hidden dim. Once a step, not once a tick.
    const weights = found.filter(r => r.startsWith('all-reduce along data'))
    expect(weights.every(r => r.endsWith('× 1'))).toBe(true)
  })

  test.each([1, 2, 3])('circular, %i rounds: as many times the permutes', rounds => {
    const [p, m] = [2, 4]
    const how: LossOptions = { stages: p, microbatches: m, schedule: 'circular', rounds }
    // Layers in their places: as a model declares them.
    const layers = 2 * p * rounds
    const found = rows(planned(net({ layers, batch, embed }), { ...how, layers }, { stage: p }, onStages))
    expect(found.filter(r => r.startsWith('permute'))).toEqual([`permute along stage: ${(batch / m) * embed} elements × ${2 * (rounds * m + p - 1)}`])
    expect(found.filter(r => !/^(permute|all-reduce)/.test(r))).toEqual([])
  })
})

describe('idle stages', () => {
  /** Products that every device computes at every tick, and those that a device leaves out where it has nothing to do. */
  const products = (body: LocalBody, apart = false): { readonly always: number; readonly apart: number } => reachable(body.outputs).reduce((sum, n) => {
    const inner = bodiesOf(n).map(b => products(b, apart || (n.op === 'cond' && n.attrs.apart !== undefined)))
    const own = n.op === 'dot' ? 1 : 0
    return { always: sum.always + (apart ? 0 : own) + inner.reduce((k, i) => k + i.always, 0), apart: sum.apart + (apart ? own : 0) + inner.reduce((k, i) => k + i.apart, 0) }
  }, { always: 0, apart: 0 })
  /** Operations of products that the time of a step is made of. */
  const multiplied = (program: LocalBody): number => workOf(program).reduce((sum, w) => sum + (w.kind === 'product' ? w.times * productFlops(w.product) : 0), 0)
  const meshes = [{ stage: 2 }, { data: 2, stage: 2 }, { model: 2, stage: 2 }, { data: 2, model: 2, stage: 2 }] as const
  const where = (mesh: object): Layouts => ({ layout: { ...'data' in mesh ? { batch: 'data' } : {}, ...'model' in mesh ? { hidden: 'model' } : {}, stage: 'stage', layers: 'stage' } })
  const whole = net({ layers: 8, batch: 16, embed: 8, hidden: 16 })
  const schedules: readonly LossOptions[] = [{ stages: 2, microbatches: 4 }, { stages: 2, microbatches: 4, schedule: 'circular', layers: 8 }, { stages: 2, microbatches: 4, schedule: '1f1b' }]

  /** Of a loop over the layers, on one device. */
  const alone = once(() => planned(whole, undefined, {}, { layout: {} }, 'all-but-contractions').local)
  // Each schedule on every other mesh, each mesh with some.
  test.each(schedules.flatMap((how, s) => meshes.filter((_, m) => all || (s + m) % 2 === 0).map(mesh => [how.schedule ?? 'gpipe', JSON.stringify(mesh), how, mesh] as const)))('%s on %s compute nothing, and what a step computes on a device is its share of one device\'s', (_, __, how, mesh) => {
    const { local } = planned(whole, how, mesh, where(mesh), 'all-but-contractions')
    const found = products(local)
    expect(found.always).toBe(0)
    expect(found.apart).toBeGreaterThan(0)
    const devices = Object.values(mesh).reduce((a, b) => a * b, 1)
    // As much, in all.
    expect(localFlops(local) * devices).toBe(localFlops(alone()))
    // But the others wait meanwhile: the time is that of all ticks.
    expect(multiplied(local) * devices * (1 - idleShare(how))).toBeCloseTo(multiplied(alone()), 3)
  })

  test.each(schedules.map(how => [how.schedule ?? 'gpipe', how] as const))('compute nothing where weights that rest in parts are gathered in each turn, too: %s', (_, how) => {
    const { local } = planned(whole, how, { data: 2, stage: 2 }, { ...where({ data: 2 }), params: { embed: 'data' } }, 'all-but-contractions')
    expect(products(local).always).toBe(0)
    expect(localFlops(local) * 4).toBe(localFlops(alone()))
  })

  test('compute where a device has all stages', () => {
    expect(products(planned(whole, { stages: 2, microbatches: 4 }, {}, { layout: {} }, 'all-but-contractions').local).apart).toBe(0)
  })
})

describe('embedding and head', () => {
  const [vocab, seq, embed, batch] = [80, 4, 8, 16]
  const step = (pipeline: PipelineConfig | undefined, mesh: { readonly [axis: string]: number }, layout: { readonly [dim: string]: string | string[] }) => {
    const model = gptModel({ vocab, seq, layers: 4, embed, heads: 2, headDim: 4, hidden: 16, ...(pipeline === undefined ? {} : { pipeline }) }).build({ batch, precision: { params: 'f32', compute: 'f32' } }) as unknown as Model<Tree, Tree>
    return plan((p: Tree, b: Tree) => lossAndGrads((q: Tree) => model.loss(q, b), { remat: 'all-but-contractions' })(p).grads, [model.params, model.batch] as const, { mesh: meshOf(mesh), layout, dims: model.dims, ...(model.layouts === undefined ? {} : { uses: model.layouts }) } as never)
  }
  const alone = once(() => step(undefined, {}, {}).local)
  const onStages = { stage: 'stage', layers: 'stage' }
  const schedules: readonly PipelineConfig[] = [{ stages: 2, microbatches: 4 }, { stages: 2, microbatches: 4, schedule: 'circular' }, { stages: 2, microbatches: 4, schedule: '1f1b' }]
  /** Operations of the head, forward and back. */
  const head = 6 * batch * seq * embed * vocab
  const along = ({ collectives }: Pick<Plan, 'collectives'>, kind: string): readonly number[] => collectives.filter(c => c.kind === kind && c.axes.includes('stage')).map(c => c.elements).sort((a, b) => b - a)

  test.each(schedules.flatMap(how => [[how.schedule ?? 'gpipe', how, { stage: 2 }], [how.schedule ?? 'gpipe', how, { data: 2, stage: 2 }]] as const))('%s, %j on %j: the ends compute them alone, and the stream goes to no one else', (_, how, mesh) => {
    const found = step(how, mesh, { ...onStages, ...'data' in mesh ? { batch: 'data' } : {} })
    const devices = Object.values(mesh).reduce((a, b) => a * b, 1)
    expect(localFlops(found.local) * devices).toBe(localFlops(alone()))
    // Gradients of the embedding, of each of its uses in 1f1b, and with small ones what else the ends use; no stream of a batch or of a microbatch.
    const sums = along(found, 'all-reduce')
    const weights = sums.filter(n => n >= vocab * embed)
    expect(weights.length).toBe('schedule' in how && how.schedule === '1f1b' ? 2 : 1)
    expect(sums.slice(weights.length).filter(n => n >= (batch / 4 / (devices / 2)) * seq * embed)).toEqual([])
  })

  test.each(schedules.map(how => [how.schedule ?? 'gpipe', how] as const))('%s: where the vocabulary lies over stages each computes its part, and one device that has all of them the head once', (_, how) => {
    const shared = step(how, { stage: 2 }, { ...onStages, vocab: 'stage' })
    expect(localFlops(shared.local) * 2).toBe(localFlops(alone()))
    const whole = (head: 'last' | 'all'): number => localFlops(step({ ...how, head }, {}, {}).local)
    expect(whole('last')).toBe(whole('all'))
    // Told to, all devices compute all of it.
    expect(localFlops(step({ ...how, head: 'all' }, { stage: 2 }, onStages).local) - localFlops(step(how, { stage: 2 }, onStages).local)).toBe(head / 2)
  })

  test('a device with two of four stages is one of two', () => {
    const how: PipelineConfig = { stages: 4, microbatches: 4 }
    const each = (head: 'last' | 'all'): number => localFlops(step({ ...how, head }, { stage: 2 }, onStages).local)
    expect(each('all') - each('last')).toBe(head / 2)
  })
})

test('FSDP inside of stages: a layer is gathered where a tick computes with it, and its gradient reduced to parts in that turn', () => {
  const [p, m, layers, data, embed, hidden] = [2, 4, 8, 4, 64, 128]
  const { collectives } = planned(net({ layers, batch: 2 ** 14, embed, hidden, each: true, rate: 0 }), { stages: p, microbatches: m, schedule: '1f1b' }, { data, stage: p }, { layout: { batch: 'data', stage: 'stage', layers: 'stage' }, params: { embed: 'data' } }, 'all-but-contractions')
  const weight = embed * hidden
  const found = collectives.filter(c => c.axes.join() === 'data' && c.elements >= weight / data)
  // Of both weights of a stage's layers, at each of the m + p − 1 ticks forward and as many back: gathered both ways, parts of a layer; reduced on the way back, one layer whole.
  const times = 2 * (layers / p) * (m + p - 1)
  const total = (kind: string, elements: number): number => found.filter(c => c.kind === kind && c.elements === elements).reduce((n, c) => n + c.count, 0)
  expect([total('all-gather', weight / data), total('reduce-scatter', weight)]).toEqual([2 * times, times])
  expect(found.filter(c => c.elements > weight)).toEqual([])
})

test('the memory of 1f1b is that of as many microbatches as stages need, whatever their number', async () => {
  const [p, rows, embed, hidden, layers] = [4, 64, 16, 256, 8]
  const backend = await openBackend({ plugin: 'cpu', devices: p, cache: false })
  const temporaries = async ({ loss, params, batch }: Net, how: LossOptions, remat?: Remat): Promise<number> => {
    const program = await compile(loss(how, remat), [params, batch] as const, { mesh: meshOf({ stage: p }), layout: { stage: 'stage', layers: 'stage' }, backend })
    program.dispose()
    return program.memory?.temporaries ?? NaN
  }
  // In bytes: what enters a stage; what is kept of a microbatch, in each layer what enters it and the product of its first weight; the gradients of a stage's weights.
  const entering = 4 * rows * embed
  const kept = entering + 4 * rows * (layers / p) * (embed + hidden)
  const gradients = 4 * (layers / p) * 2 * embed * hidden
  // The formula has no number of microbatches in it: with many it would show, and few are left to the deep run.
  for (const microbatches of every(2, [16, 4])) {
    const found = await temporaries(net({ layers, batch: rows * microbatches, embed, hidden, rate: 0, each: true }), { stages: p, microbatches, schedule: '1f1b' })
    // In the ring, and one that goes in and one that comes out; the sums of both loops and a tick's own. Of the batch nothing is held but what the program is given.
    const formula = (2 * p - 1 + 2) * kept + 3 * gradients
    expect(found / formula, `${microbatches}`).toBeGreaterThan(0.85)
    expect(found / formula, `${microbatches}`).toBeLessThan(1.15)
  }
  // GPipe holds all of them.
  const held = await temporaries(net({ layers, batch: rows * 16, embed, hidden, rate: 0 }), { stages: p, microbatches: 16 })
  expect(held).toBeGreaterThan((16 + p - 1) * kept)
  await backend.close()
})
