/** Calibration: its small programs compute what they say as often as they are told, and what is measured is a machine that steps can be priced on. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { calibrate } from '../../src/calibrate/calibrate.ts'
import { neverFalling } from '../../src/calibrate/lag.ts'
import { leastShare, turnUs } from '../../src/calibrate/measure.ts'
import { applied, chains, collective, convolutionGradients, convolutions, fromParts, inTurn, partsTogether, products, scattered, streams, sums, turnedOver, waits, type Looped } from '../../src/calibrate/programs.ts'
import { stepTime } from '../../src/cost/time.ts'
import { workOf } from '../../src/cost/work.ts'
import { mesh, openBackend, type Backend } from '../../src/engine/index.ts'
import { hostArray } from '../../src/core/dtype.ts'
import type { MachineInput } from '../../src/machine/machine.ts'
import { machineOf } from '../../src/machine/read.ts'
import { emit } from '../../src/stablehlo/emit.ts'

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
afterAll(async () => { await backend.close() })

/** The number that comes of so many turns, with ones for all that is given. */
async function after(turns: number, { graph, given }: Looped): Promise<number> {
  const devices = graph.mesh.size
  const program = await backend.compile({ text: emit(graph), devices, donated: [] })
  const args = await Promise.all(Array.from({ length: devices }, (_, d) => Promise.all([
    backend.put(Int32Array.of(turns), { shape: [], dtype: 'i32' }, d),
    ...given.map(t => { const shape = t.shape.map(x => x.size); return backend.put(hostArray(t.dtype, shape.reduce((a, b) => a * b, 1)).fill(1 as never), { shape, dtype: t.dtype }, d) }),
  ])))
  const results = await program.execute(args)
  const [value = NaN] = (await results[0]?.[0]?.read() ?? []) as Iterable<number>
  for (const b of [...args.flat(), ...results.flat()]) b.dispose()
  program.dispose()
  return value
}

describe('a small program', () => {
  const one = mesh({ devices: 1 })
  const four = mesh({ rest: 2, group: 2 })
  const cases: readonly (readonly [string, Looped, turns: number, expected: number, before?: number])[] = [
    // By a matrix of ones and back: 2 · 3 times as much, each turn.
    ['products', products(one, { m: 4, k: 2, n: 3, batch: 1, dtype: 'f32' }), 2, 36],
    ['products of a batch', products(one, { m: 4, k: 2, n: 3, batch: 2, dtype: 'f32' }), 1, 6],
    // Windows that meet one place only: to three features of two channels and back; weights' gradients over two pictures, by three channels.
    ['convolutions', convolutions(one, { batch: 2, side: 1, channels: 2, features: 3 }), 1, 6],
    ['gradients of convolutions', convolutionGradients(one, { batch: 2, side: 1, channels: 3, features: 2 }), 1, 6],
    ['arrays that are read and written', streams(one, 3, 8), 5, 3, 3],
    ['matrices turned over, an odd number of times', turnedOver(one, 2, 3), 3, 2, 2],
    ['parts laid side by side', partsTogether(one, 2, 6, 3), 3, 1],
    ['operations one after another: times one, plus one', chains(one, 8, 4), 2, 5],
    ['square roots, at most one', applied(one, 'sqrt', 8, 3), 2, 1],
    // A sum over 32 ones, and one over 32 of these.
    ['products with a kernel after each', inTurn(one, { elements: 64, count: 2, mapped: true }), 1, 32 + 1024, 2],
    ['logarithms, at least a tenth', applied(one, 'log', 8, 3), 1, Math.fround(0.1)],
    ['sines', applied(one, 'sin', 8, 1), 1, Math.fround(Math.sin(0.5))],
    // To what came last its largest is added, of all or of one device.
    ['products that are waited for', waits(mesh({ a: 2, b: 2 }), { elements: 64, count: 2, along: ['a', 'b'] }), 1, 32 + 2 * 1024, 2],
    ['the same without', waits(four, { elements: 64, count: 2, along: [] }), 1, 32 + 2 * 1024, 2],
    ['sums over the last dim', sums(one, 2, 3, 'c'), 1, 3],
    ['sums over the first', sums(one, 2, 3, 'r'), 1, 2],
    // Twelve times one is added, and as often multiplied by.
    ['operations with a row', fromParts(one, 2, 4, false), 1, 13],
    ['operations with a row of two parts', fromParts(one, 2, 4, true), 1, 13],
    // Two rows, both added at the second row of the table, and read from there.
    ['rows at places', scattered(one, 4, 2, 3), 1, 2],
    ['all-reduces: the largest of both', collective(four, 'all-reduce', ['group'], 64), 3, 1],
    ['all-gathers', collective(four, 'all-gather', ['group'], 64), 3, 1],
    ['three all-gathers at once', collective(four, 'all-gather', ['group'], 64, 3), 3, 3, 3],
    ['reduce-scatters: the sum of both', collective(four, 'reduce-scatter', ['group'], 64), 1, 2],
    ['all-to-alls', collective(four, 'all-to-all', ['group'], 64), 3, 1],
    ['permutes', collective(four, 'permute', ['group'], 64), 3, 1],
  ]
  test.each(cases.map(([name, program, turns, expected, before = 1]) => [name, { program, turns, expected, before }] as const))('%s', async (_, { program, turns, expected, before }) => {
    expect(await after(turns, program)).toBe(expected)
    expect(await after(0, program)).toBe(before)
  })
  test.each(['all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'permute'] as const)('of %s lets as many bytes enter as it is told', kind => {
    const found = workOf(collective(four, kind, ['group'], 4096).graph).flatMap(w => (w.kind === 'collective' ? [[w.collective, w.bytes]] : []))
    expect(found).toEqual([[kind, 4096]])
  })
})

test('a turn takes what the best of some rounds took, or of ranks that share cores the middle one', async () => {
  // Every fourth run takes 20 ms, the others 40, whatever their turns.
  const lucky = (): (() => number) => { let [now, looks] = [0, 0]; return () => now += ++looks % 2 === 1 ? 0 : looks % 8 === 0 ? 20 : 40 }
  const { few, turns } = { few: 20, turns: 3 }
  const us = (usual: boolean): Promise<number> => turnUs({ backend, rounds: 8, usual, clock: lucky() }, products(mesh({ devices: 1 }), { m: 8, k: 8, n: 8, batch: 1, dtype: 'f32' }))
  // A run of few turns took as little as the best of many: what is left is the least that is believed.
  expect(await us(false)).toBeCloseTo(1000 * leastShare * 20 / turns, 6)
  expect(await us(true)).toBeCloseTo(1000 * (40 - few) / (turns - 1), 6)
})

test('waits that fall are what neighbours are in the mean, those behind little first of all: one bad moment behind much makes neither all longer nor all nothing', () => {
  expect(neverFalling([[100, 40], [400, 90]])).toEqual([[100, 40], [400, 90]])
  expect(neverFalling([[400, 10], [100, 60]])).toEqual([[100, 50], [400, 50]])
  expect(neverFalling([[100, 30], [400, 90], [1600, 10], [6400, 80]])).toEqual([[100, 30], [400, 74], [1600, 74], [6400, 80]])
})

describe('calibrate', () => {
  // A clock that goes on by more whenever it is looked at: nothing depends on how fast this machine is, and every run is longer than the last.
  const ticking = (): (() => number) => { let [now, step] = [0, 0]; return () => now += step += 10 }
  test('gives a machine file that every step can be priced by', async () => {
    const said: string[] = []
    const kernels = await backend.kernels()
    const opened: Backend[] = []
    const found: MachineInput = await calibrate({ open: async n => { const b = await openBackend({ plugin: 'simulate', devices: n ?? 1 }); opened.push(b); return b }, devices: 4, name: 'here', quick: true, clock: ticking(), onProgress: (what, done) => { said.push(what); expect(done).toBeLessThanOrEqual(1) } })
    const machine = machineOf(JSON.parse(JSON.stringify(found)), 'what was measured')
    expect(machine).toMatchObject({ name: 'here', devicesPerHost: 4, domain: 4, operands: 'before', overlap: { share: 0 } })
    expect(machine.crowded.map(c => c.devices)).toEqual([2, 4])
    expect([machine.bandwidth.turned?.length, machine.crowded[0]?.bandwidth.turned?.length]).toEqual([1, 1])
    expect(found.vector?.costs?.['scalar']).toBeGreaterThanOrEqual(1)
    expect(machine.lag).toBe(undefined)
    expect(machine.crowded.map(c => c.lag?.length)).toEqual([1, 1])
    expect(Object.keys(machine.products)).toEqual(['f32', 'bf16'])
    expect([machine, ...machine.crowded].map(f => f.attention.f32?.length)).toEqual(Array.from({ length: 3 }, () => kernels ? 1 : undefined))
    expect(machine.links.within.times['all-reduce']?.map(t => [t.among, t.onHost])).toEqual([[2, 2], [2, 4], [4, 4]])
    expect(said.length).toBeGreaterThan(40)
    const { graph } = products(mesh({ devices: 1 }), { m: 64, k: 64, n: 64, batch: 1, dtype: 'f32' })
    expect(stepTime(graph, machine).stepMs).toBeGreaterThan(0)
    // Each count as a run on so many devices has them.
    expect(opened.map(b => b.deviceCount)).toEqual([1, 2, 4])
    expect(opened.map(b => b.liveBuffers())).toEqual([0, 0, 0])
  })
  test('ends where it is told to', async () => {
    const controller = new AbortController()
    const opened: Backend[] = []
    const done = calibrate({ open: async n => { const b = await openBackend({ plugin: 'simulate', devices: n ?? 1 }); opened.push(b); return b }, devices: 4, name: 'here', quick: true, clock: ticking(), signal: controller.signal, onProgress: what => { if (what.startsWith('memory')) controller.abort(new Error('enough')) } })
    await expect(done).rejects.toThrow('enough')
    expect(opened.map(b => b.liveBuffers())).toEqual([0])
  })
})
