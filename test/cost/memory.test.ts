/** The memory that a plan gives, beside XLA's own statistics of the program that it compiles; and what of a small program takes memory, by hand. */
import { describe, expect, test } from 'vitest'
import { choices } from '../../src/core/platform.ts'
import { memoryOf } from '../../src/cost/memory.ts'
import { atPeak, heapSize, without } from '../../src/cost/packing.ts'
import { compile, dims, full, input, loose, mesh, openBackend, param, plan, scan, type AnyTensor, type Tree } from '../../src/engine/index.ts'
import { planRun } from '../../src/train/index.ts'
import { stateOf, trainStep } from '../../src/train/program.ts'
import { layoutsOf, meshOfRun, modelOf } from '../../src/train/run.ts'
import { trainerConfig } from '../../src/train/session.ts'
import type { T } from '../graph/support.ts'
import { all } from '../support/depth.ts'
import { memoryRuns } from '../support/memory-cases.ts'

describe('packing', () => {
  test('what does not overlap in time shares a place, the largest lies lowest', () => {
    expect(heapSize([{ bytes: 4, from: 0, to: 1 }, { bytes: 4, from: 2, to: 3 }, { bytes: 2, from: 1, to: 2 }])).toBe(6)
    // The gap between what lies at 0 and at 6 holds what comes last.
    expect(heapSize([{ bytes: 8, from: 0, to: 1 }, { bytes: 6, from: 2, to: 5 }, { bytes: 5, from: 1, to: 2 }, { bytes: 2, from: 3, to: 4 }])).toBe(13)
  })
  test('room that is lent takes what fits while nothing else lies there', () => {
    const spans = [{ bytes: 8, from: 2, to: 3 }, { bytes: 8, from: 3, to: 4 }, { bytes: 4, from: 0, to: 1 }]
    expect(without(spans, [{ bytes: 8, taken: [{ from: 0, to: 1 }] }])).toEqual([spans[1], spans[2]])
  })
  test('at the peak lies what was made by then and is still read', () => {
    const spans = [{ bytes: 8, from: 0, to: 2 }, { bytes: 1, from: 2, to: 4 }, { bytes: 5, from: 3, to: 4 }]
    expect(atPeak(spans)).toEqual([spans[0], spans[1]])
  })
})

const d = dims({ rows: 64, inner: 32, columns: 16, layers: 5 })
const KB = 1024
const x = input('x', [d.rows, d.inner]) as T
const w = param('w', [d.inner, d.columns]) as T
/** Bytes between arguments and results on one device. */
function temporaries(f: (...args: never[]) => Tree, args: readonly AnyTensor[], donate: readonly number[] = []): number {
  const p = plan(f as (...args: readonly AnyTensor[]) => Tree, args, { mesh: mesh({}), layout: {}, donate })
  return memoryOf(p.local, p.donations).temporaries
}

describe('what takes memory', () => {
  test('a product does, and what is computed of it on the way to a result does not', () => {
    expect(temporaries((a: T, b: T) => a.dot(b, d.inner).mul(2).add(1).neg(), [x, w])).toBe(4 * KB)
    expect(temporaries((a: T) => a.mul(2).add(1).neg(), [x])).toBe(0)
  })
  test('what a product reads does, and is given up when it has been read', () => {
    expect(temporaries((a: T, b: T) => a.mul(2).dot(b, d.inner), [x, w])).toBe(8 * KB)
    expect(temporaries((a: T, b: T) => a.mul(2).dot(b, d.inner).sin().dot(b, d.columns).mul(3), [x, w])).toBe(12 * KB)
  })
  test('what costs much and is read twice lies in memory, what costs little is computed twice', () => {
    expect(temporaries((a: T, b: T) => ({ twice: a.exp().mul(2), product: a.exp().dot(b, d.inner) }), [x, w])).toBe(8 * KB)
    expect(temporaries((a: T) => ({ a: a.exp().mul(2), b: a.exp().mul(3) }), [x])).toBe(8 * KB)
    expect(temporaries((a: T) => ({ a: a.neg().mul(2), b: a.neg().mul(3) }), [x])).toBe(0)
  })
  test('a loop has its carry once, and one turn of its body beside it', () => {
    const square = param('square', [d.rows, dims({ to: 64 }).to]) as T
    const turns = (a: T, s: T): T => loose(scan(d.layers, loose(a.mul(2)), {}, c => [loose(loose(c).dot(s, d.rows).rename('to', 'rows').sin()), {}])[0])
    // The carry, or where it is a result what it begins with; and a product, which ends where the old carry was.
    expect(temporaries(turns, [x, square])).toBe(2 * 8 * KB)
    expect(temporaries((a: T, s: T) => turns(a, s).sum('rows', 'inner'), [x, square])).toBe(2 * 8 * KB)
  })
  test('a stack lies from its loop on where it is unwritten, and from the beginning where it is zeros', () => {
    const { wide } = dims({ wide: 1024 })
    const [up, down] = [param('up', [d.inner, wide]), param('down', [wide, d.inner])] as readonly T[]
    // Something large is gone before the loop begins, whose stack is read behind it.
    const f = (a: T, up: T, down: T): T => {
      const [, { kept }] = scan(d.layers, loose(a.dot(up, d.inner).dot(down, wide)), {}, c => [loose(loose(c).sin()), { kept: loose(loose(c).exp()) }])
      return loose(loose(kept).sum('layers'))
    }
    const { local, donations } = plan(f as never, [x, up, down] as never, { mesh: mesh({}), layout: {} })
    const [late = NaN, early = NaN] = (['unwritten', 'zeros'] as const).map(stacks => memoryOf(local, donations, { ...choices.cpu, stacks }).temporaries)
    expect(early - late).toBe(5 * 8 * KB)
  })
  test('a donated argument is overwritten where all that reads it is done, and else copied', () => {
    expect(temporaries((a: T) => a.mul(2), [x], [0])).toBe(0)
    expect(temporaries((a: T) => ({ next: a.mul(2), sum: a.exp().sum('rows', 'inner') }), [x], [0])).toBeGreaterThanOrEqual(8 * KB)
    expect(temporaries((a: T) => { const sum = a.exp().sum('rows', 'inner'); return { next: a.mul(sum), sum } }, [x], [0])).toBeLessThan(9 * KB)
  })
  test('a constant that no one reads as it lies takes nothing', () => {
    expect(temporaries((a: T) => a.mul(full(3, [d.rows, d.inner])), [x])).toBe(0)
  })
})

describe('beside XLA', () => {
  const few: readonly string[] = ['gpt-tiny 2×2', 'gpt, windows of 512', 'conv net', 'images in colour']
  test.each(memoryRuns.filter(r => all || few.includes(r.name)).map(r => [r.name, r] as const))('%s', async (_, run) => {
    const model = modelOf(run)
    const config = trainerConfig(run)
    const m = meshOfRun(run)
    const { plan: planned, step: { local, donations } } = planRun(run)
    const ours = memoryOf(local, donations)
    await using backend = await openBackend({ devices: m.size })
    using program = await compile(trainStep(model, config), [stateOf(model, config), model.batch] as const, { mesh: m, backend, dims: model.dims, ...layoutsOf(run, model), donate: [0] })
    const { memory, collectives } = program
    if (memory === undefined) throw new Error('the plugin does not say')
    // XLA's results have a pointer each, in a table.
    expect({ ...memory, outputs: memory.outputs - 8 * local.outputs.length, temporaries: 0 }).toEqual({ arguments: ours.arguments, outputs: ours.outputs, aliased: ours.aliased, temporaries: 0 })
    expect(ours.temporaries / memory.temporaries).toBeGreaterThan(0.85)
    expect(ours.temporaries / memory.temporaries).toBeLessThan(1.15)
    const total = memory.arguments + memory.outputs - memory.aliased + memory.temporaries
    expect(Math.abs(planned.perDevice.peakBytes / total - 1)).toBeLessThan(0.15)
    // And its collectives are those of the program that runs.
    expect(planned.collectives.reduce((n, c) => n + c.count, 0)).toBe(collectives.reduce((n, c) => n + c.count, 0))
    expect(planned.collectives.reduce((n, c) => n + c.count * c.bytes, 0)).toBe(collectives.reduce((n, c) => n + c.count * c.bytes, 0))
  })
})
