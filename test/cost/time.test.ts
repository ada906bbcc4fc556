/** The time of a program is the sum of what it does, priced one by one; what nothing waits for goes on beside; and what costs most is named with its line. */
import { describe, expect, test } from 'vitest'
import { collectiveMs, groupOf } from '../../src/cost/collective.ts'
import { localFlops } from '../../src/cost/flops.ts'
import { contractionMs, productFlops } from '../../src/cost/price.ts'
import { costliest, stepTime, workMs } from '../../src/cost/time.ts'
import { workOf, type Work } from '../../src/cost/work.ts'
import { cond, dims, expectDims, input, loose, mesh, param, plan, scan, type Dim, type Layout, type Tree } from '../../src/engine/index.ts'
import { broadcastTo } from '../../src/graph/make.ts'
import { tensor } from '../../src/graph/tensor.ts'
import { knownMachine, machineOf } from '../../src/machine/read.ts'
import { maxPool } from '../../src/nn/pooling.ts'
import { forecast, memoryFor } from '../../src/train/forecast.ts'
import { planRun } from '../../src/train/planned.ts'
import { memoryRuns } from '../support/memory-cases.ts'

const h100 = knownMachine('8xh100')
const pcs = { name: 'pc', devicesPerHost: 2, memory: { bytes: 1e9 }, peak: { f32: 1e11 }, products: { f32: [{ side: 1, points: [[1e6, 1e11] as [number, number]] }] }, bandwidth: { peak: 1e10, points: [[1e6, 1e10] as [number, number]] }, overhead: { kernelUs: 0 }, links: { within: { topology: 'switch' as const, perFlow: 1e9, perHost: 1e9, latencyUs: 1 } }, sources: {} }
const d = dims({ batch: 512, embed: 256, hidden: 1024, layers: 6 })
const weights = { up: param('up', [d.embed, d.hidden]), down: param('down', [d.hidden, d.embed]) }
const rows = input('x', [d.batch, d.embed])
const local = (f: (...args: never[]) => Tree, axes: { readonly [axis: string]: number }, layout: Layout = {}) =>
  plan(f as (w: typeof weights, x: typeof rows) => Tree, [weights, rows], { mesh: mesh(axes), layout, dims: d }).local
const forward = (w: typeof weights, x: typeof rows) => x.dot(w.up, d.embed).relu().dot(w.down, d.hidden)

describe('the work of a program', () => {
  test('has its products by their sides, and its collectives', () => {
    const found = workOf(local(forward, { data: 2, model: 2 }, { batch: 'data', hidden: 'model' }))
    expect(found.flatMap(w => (w.kind === 'product' ? [w.product] : []))).toEqual([{ m: 256, k: 256, n: 512, batch: 1, dtype: 'f32' }, { m: 256, k: 512, n: 256, batch: 1, dtype: 'f32' }])
    expect(found.flatMap(w => (w.kind === 'collective' ? [[w.collective, w.axes, w.bytes, w.times, w.waited]] : []))).toEqual([['all-reduce', ['model'], 256 * 256 * 4, 1, false]])
  })
  test('counts what a loop does with its turns, and the turns', () => {
    const found = workOf(local((w: typeof weights, x: typeof rows) => scan(d.layers, x, {}, c => [forward(w, c), {}])[0], { data: 2 }, { batch: 'data' }))
    expect(found.filter(w => w.kind === 'product').map(w => w.times)).toEqual([6, 6])
    expect(found.filter(w => w.kind === 'turn').map(w => w.times)).toEqual([6])
  })
  test('copies what a turn reads of a larger array for a product, once a turn', () => {
    const stacked = param('stacked', [d.layers, d.embed, dims({ to: 256 }).to])
    const found = workOf(plan((x: typeof rows, s: typeof stacked) => scan(d.layers, loose(x), { s: loose(s) }, (c, { s: w }) => [loose(loose(c).dot(w, 'embed').rename('to', 'embed')), {}])[0], [rows, stacked], { mesh: mesh({}), layout: {} }).local)
    expect(found.flatMap(w => (w.kind === 'memory' && w.times === 6 ? [w.bytes] : []))).toContain(2 * 256 * 256 * 4)
  })
  test('lays side by side what is gathered along a dim that is not the first, for processors', () => {
    const gathers = (params: Layout) => plan((w: typeof weights, x: typeof rows) => forward(w, x), [weights, rows], { mesh: mesh({ data: 2 }), layout: { batch: 'data' }, params, dims: d }).local
    const copied = (params: Layout, fusion: 'elements' | 'rows'): readonly number[] => workOf(gathers(params), fusion).flatMap(w => (w.kind === 'memory' && w.turned === 'parts' ? [w.bytes] : []))
    // The embedding dim is the first of one weight and the last of the other.
    expect(copied({ embed: 'data' }, 'elements')).toEqual([2 * 1024 * 256 * 4])
    expect([copied({ embed: 'data' }, 'rows'), copied({}, 'elements')]).toEqual([[], []])
  })
  test('takes what lies in the same order for the same memory, wherever dims of one place stand', () => {
    const { one, many, some } = dims({ one: 1, many: 64, some: 32 })
    const x = input('x', [one, many, some])
    const bytesWith = (...order: readonly Dim[]): readonly number[] => {
      const { local } = plan((v: typeof x) => { const e = loose(v).exp(); return { e, again: tensor(broadcastTo(e.node, order)) } }, [x], { mesh: mesh({}), layout: {} })
      return workOf(local).flatMap(w => (w.kind === 'memory' ? [w.bytes] : []))
    }
    const bytes = 64 * 32 * 4
    expect(bytesWith(many, one, some)).toEqual([2 * bytes])
    expect(bytesWith(one, some, many)).toEqual([2 * bytes, 2 * bytes])
  })
  test('computes for each element that a pool looks at what that is made of', () => {
    const { rows: r, columns: c } = dims({ rows: 64, columns: 32 })
    const x = input('x', [r, c])
    const { local } = plan((v: typeof x) => maxPool(v.mul(2), [{ dim: r, size: 2 }, { dim: c, size: 2 }]), [x], { mesh: mesh({}), layout: {} })
    const places = 32 * 16
    expect(workOf(local).flatMap(w => (w.kind === 'memory' ? [[w.bytes, ...w.operations]] : []))).toEqual([[4 * (64 * 32 + places), ['max', 'f32', 3 * places], ['mul', 'f32', 4 * places]]])
  })
  test('computes one number at a time where neighbours are put together of parts, as of small weights that were gathered as one', () => {
    const { a, b, c } = { a: param('a', [d.embed]), b: param('b', [d.embed]), c: param('c', [d.embed]) }
    const scalars = (program: Parameters<typeof workOf>[0]) => workOf(program).flatMap(w => (w.kind === 'memory' && w.scalar === true ? [w] : []))
    const options = { mesh: mesh({ data: 2 }), layout: { batch: 'data' }, params: { embed: 'data' }, dims: d } as const
    const { local: several } = plan((x: typeof rows, f: typeof a, g: typeof b, h: typeof c) => [x.add(f), x.mul(g), x.sub(h)], [rows, a, b, c], options)
    const { local: one } = plan((x: typeof rows, f: typeof a) => x.add(f), [rows, a], options)
    const found = scalars(several)
    expect([found.map(w => w.operations), scalars(one)]).toEqual([['add', 'mul', 'sub'].map(op => [[op, 'f32', 256 * 256]]), []])
    // A machine says how much longer that takes; operations are all of it where there are enough.
    const machine = (scalar: number) => machineOf({ ...pcs, vector: { rate: 1e6, costs: { scalar } } }, 'a test')
    const ms = (scalar: number): number[] => found.map(w => workMs(machine(scalar), w, 1, () => { throw new Error('nothing is sent') }))
    expect(ms(8).map((v, i) => v / (ms(1)[i] ?? NaN))).toEqual(found.map(() => expect.closeTo(8, 3)))
  })
  test('attends by one kernel where there is one: the products of keys that are seen, and no scores in memory', () => {
    const [, alone] = memoryRuns
    if (alone === undefined) throw new Error('no run')
    const { step: { local: program } } = planRun(alone)
    const [parts, whole] = [workOf(program), workOf(program, 'elements', true)]
    const sum = (list: readonly Work[], of: (w: Work) => number): number => list.reduce((n, w) => n + w.times * of(w), 0)
    const flops = (attended: boolean) => (w: Work): number => (w.kind === 'product' && (w.product.attended !== undefined) === attended ? productFlops(w.product) : 0)
    // Of 4 layers, 8 windows of 128 and 4 heads of 32, forward two products, back five, and one for the result that the gradient makes again.
    const seen = 2 * 4 * 8 * 4 * 128 * (129 / 2) * 32
    expect([sum(parts, flops(true)), sum(whole, flops(true))]).toEqual([0, 8 * seen])
    // By parts as many products of all scores: what is left is the same.
    expect(sum(parts, flops(false)) - sum(whole, flops(false))).toBe(8 * 2 * 4 * 8 * 4 * 128 * 128 * 32)
    const bytes = (w: Work): number => (w.kind === 'memory' ? w.bytes : 0)
    expect(sum(parts, bytes) - sum(whole, bytes)).toBeGreaterThan(5 * 4 * 8 * 4 * 128 * 128 * 4)
  })
  test('waits for a collective that a later turn needs', () => {
    const found = workOf(local((w: typeof weights, x: typeof rows) => scan(d.layers, x, {}, c => [forward(w, c), {}])[0], { model: 2 }, { hidden: 'model' }))
    expect(found.flatMap(w => (w.kind === 'collective' ? [[w.times, w.waited]] : []))).toEqual([[6, true]])
  })
  test('waits for what a branch sends where a product around the choice needs it', () => {
    const chosen = (w: typeof weights, x: typeof rows) => cond(expectDims(loose(x).max('batch', 'embed').greater(0), []), () => forward(w, x), () => x)
    const waited = (f: (w: typeof weights, x: typeof rows) => Tree) => workOf(local(f, { model: 2 }, { hidden: 'model' })).flatMap(w => (w.kind === 'collective' ? [[w.collective, w.waited]] : []))
    expect(waited(chosen)).toEqual([['all-reduce', false]])
    expect(waited((w, x) => chosen(w, x).dot(w.up, d.embed))).toEqual([['all-reduce', true]])
  })
  test.each(memoryRuns.slice(0, 4).map(r => [r.name, r] as const))('%s: as many operations as are counted elsewhere', (_, run) => {
    const { step: { local: program } } = planRun(run)
    const products = workOf(program).reduce((n, w) => n + (w.kind === 'product' ? w.times * productFlops(w.product) : 0), 0)
    expect(products).toBe(localFlops(program))
  })
})

describe('what is fused by rows', () => {
  const square = dims({ queries: 512, keys: 256, long: 32768 })
  const bytesOf = (over: Dim, fusion: 'elements' | 'rows'): readonly number[] => {
    const x = input('x', [square.queries, over])
    const { local } = plan((v: typeof x) => { const e = loose(v).sub(loose(v).max(over.name)).exp(); return e.div(e.sum(over.name)) }, [x], { mesh: mesh({ one: 1 }), layout: {}, dims: square })
    return workOf(local, fusion).flatMap(w => (w.kind === 'memory' ? [w.bytes] : []))
  }
  test('a softmax reads and writes once, where its rows stay on the chip', () => {
    expect(bytesOf(square.keys, 'rows')).toEqual([2 * 512 * 256 * 4])
    expect(bytesOf(square.keys, 'elements').length).toBeGreaterThan(2)
  })
  test('rows that do not stay there are read again after each sum', () => {
    const all = 512 * 32768 * 4
    const found = bytesOf(square.long, 'rows')
    expect(found.length).toBe(3)
    expect(found.reduce((a, b) => a + b, 0)).toBeGreaterThan(3 * all)
  })
  test.each(memoryRuns.slice(0, 3).map(r => [r.name, r] as const))('%s: the same products and collectives, and no more bytes', (_, run) => {
    const { step: { local: program } } = planRun(run)
    const [elements, all] = [workOf(program), workOf(program, 'rows')]
    const others = (found: readonly Work[]) => found.flatMap(w => (w.kind === 'memory' ? [] : [[w.kind, w.times, w.node.id]])).sort()
    const bytes = (found: readonly Work[]): number => found.reduce((n, w) => n + (w.kind === 'memory' ? w.times * w.bytes : 0), 0)
    expect(others(all)).toEqual(others(elements))
    expect(bytes(all)).toBeLessThan(bytes(elements))
  })
})

describe('the time of a step', () => {
  test('is at least what the host takes to launch its kernels one by one', () => {
    const program = local(forward, { data: 2, model: 2 }, { batch: 'data', hidden: 'model' })
    const launching = (launchUs: number) => stepTime(program, machineOf({ ...h100, overlap: { share: 0, slowdown: 1 }, overhead: { ...h100.overhead, launchUs } }, 'h100'))
    const [none, few, slow] = [launching(0), launching(1e-3), launching(1e6)]
    expect(few.stepMs).toBe(none.stepMs)
    const kernels = workOf(program).reduce((n, w) => n + (w.kind === 'turn' ? 0 : w.times), 0)
    expect(slow.stepMs).toBeCloseTo(1000 * kernels + h100.overhead.stepUs / 1000, 6)
  })
  test('is the sum of its parts, and of what the host does', () => {
    const program = local(forward, { data: 2, model: 2 }, { batch: 'data', hidden: 'model' })
    const waiting = machineOf({ ...h100, overlap: { share: 0, slowdown: 1 } }, 'h100')
    const t = stepTime(program, waiting)
    const reduce = collectiveMs(waiting, groupOf(waiting, program.mesh, ['model']), 'all-reduce', 256 * 256 * 4)
    expect(t.collectiveMs).toBeCloseTo(reduce, 12)
    expect(t.productMs).toBeCloseTo(contractionMs(waiting, { m: 256, k: 256, n: 512, batch: 1, dtype: 'f32' }, 4) + contractionMs(waiting, { m: 256, k: 512, n: 256, batch: 1, dtype: 'f32' }, 4), 12)
    expect(t.stepMs).toBeCloseTo(t.productMs + t.memoryMs + t.collectiveMs + t.overheadMs, 12)
    expect(t.parts.reduce((n, p) => n + p.ms, 0)).toBeCloseTo(t.productMs + t.memoryMs + t.collectiveMs, 12)
  })
  test('has less of a collective that nothing waits for, by its share and no more than is computed', () => {
    const program = local(forward, { data: 2, model: 2 }, { batch: 'data', hidden: 'model' })
    const t = stepTime(program, machineOf({ ...h100, overlap: { share: 0.5, slowdown: 1.2 } }, 'h100'))
    const beside = Math.min(t.collectiveMs / 2, t.productMs + t.memoryMs)
    expect(t.waitedMs).toBeCloseTo(t.collectiveMs - beside, 12)
    expect(t.stepMs).toBeCloseTo(t.productMs + t.memoryMs + t.collectiveMs + t.overheadMs - 0.8 * beside, 12)
  })
  test('names what costs most, by its line', () => {
    const program = local((w: typeof weights, x: typeof rows) => loose(forward(w, x)).mul(2).sum(), { one: 1 })
    const [first, ...others] = costliest(stepTime(program, h100), 3)
    expect(first?.at).toMatch(/test\/cost\/time\.test\.ts:\d+:\d+$/)
    for (const p of others) expect(p.ms).toBeLessThanOrEqual(first?.ms ?? 0)
  })
})

describe('a forecast', () => {
  const [run] = memoryRuns
  test('says memory, utilisation and cost, and whether it fits', () => {
    if (run === undefined) throw new Error('there is no run')
    const planned = planRun(run, h100)
    const { predicted: f } = forecast(run, planned, h100, 2)
    expect(f.peakBytes).toBe(planned.plan.perDevice.peakBytes)
    expect(f.fits).toBe(true)
    expect(f.utilisation).toBeCloseTo(planned.flops / (4 * 494e12 * f.stepMs / 1000), 12)
    expect(f.perSecond).toBeCloseTo(8 * 128 / f.stepMs * 1000, 6)
    expect(f.deviceHoursPerTrillion).toBeCloseTo(1e12 / f.perSecond / 3600 * 4, 3)
    expect(f.dollarsPerTrillion).toBeCloseTo(2 * f.deviceHoursPerTrillion, 3)
    const { predicted: none } = forecast(run, planned, machineOf({ ...h100, memory: { bytes: 1e6 } }, 'h100'))
    expect([none.fits, none.memoryBytes, none.dollarsPerTrillion]).toEqual([false, 1e6, null])
    expect(memoryFor(machineOf({ ...h100, memory: { bytes: 8e9, reserved: 1e9, perHost: 8e9 } }, 'h100'), 4)).toBe(1e9)
  })
})
