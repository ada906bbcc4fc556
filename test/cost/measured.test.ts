/** Steps that others measured, a few of them: planned as any run is, and predicted by constants that the bench has fitted to a tenth of all. */
import { describe, expect, test } from 'vitest'
import { a100, ofDevice, ofHosts } from '../../bench/foresight/a100.ts'
import { fitted, sampled, type Constants } from '../../bench/foresight/fit.ts'
import { constantUtilisation, meanError, regrets, stepFlops } from '../../bench/foresight/held.ts'
import { plannedRow, plannedWhole } from '../../bench/foresight/planned-gpt.ts'
import { fittedConstants } from '../../bench/foresight/vtrain/constants.ts'
import { measuredRows, type Measured } from '../../bench/foresight/vtrain/rows.ts'
import { tasksTime } from '../../src/cost/time.ts'

const single = await measuredRows('single')
const multi = await measuredRows('multi')
const held = (rows: readonly Measured[]) => rows.map(r => { const planned = plannedRow(r); return { row: r, ms: r.ms, predictedMs: tasksTime(planned, a100(fittedConstants), planned.mesh).stepMs } })

describe('rows', () => {
  test('are as many as there are', () => { expect([single.length, multi.length]).toEqual([1440, 109]) })
  test.each([
    ['one stage', { tensor: 2, data: 2, stages: 1, batch: 32, microbatch: 4, layers: 12, embed: 1024 }], ['stages', { tensor: 1, data: 2, stages: 2, batch: 32, microbatch: 4, layers: 12, embed: 1024 }],
  ] as const)('%s: planned for many microbatches and for its own number, a row is the same', (_, wanted) => {
    const row = single.find(r => Object.entries(wanted).every(([name, value]) => r[name as keyof Measured] === value))
    if (row === undefined) throw new Error('there is no such row')
    const machine = a100(fittedConstants)
    const [once, whole] = [plannedRow(row), plannedWhole(row)]
    // Tokens of very many microbatches lie in memory once, which is a thousandth of a step.
    expect(tasksTime(once, machine, once.mesh).stepMs / tasksTime(whole, machine, whole.mesh).stepMs).toBeCloseTo(1, 2)
    const products = ({ tasks }: typeof once) => tasks.flatMap(t => (t.kind === 'product' ? [JSON.stringify([t.product, t.times])] : [])).sort()
    expect(products(once)).toEqual(products(whole))
  })
  test('gradients of a tied embedding are reduced once a step, whatever the microbatches', () => {
    const row = single.find(r => r.stages === 2 && r.data === 2 && r.tensor === 1 && r.batch === 32 && r.microbatch === 1)
    if (row === undefined) throw new Error('there is no such row')
    const large = plannedRow(row).tasks.flatMap(t => (t.kind === 'collective' && t.bytes >= row.vocab * row.embed ? [t.times] : []))
    expect(large.length).toBeGreaterThan(0)
    // Two weights of a layer are as large.
    expect(Math.max(...large)).toBeLessThanOrEqual(2)
  })
  test('the sample of them is predicted within what the bench says of all', () => {
    const one = held(sampled(single.filter(r => r.layers === 12), 10, 3).sample)
    const rows = [...one, ...held(sampled(multi, 4, 3).sample)]
    expect(meanError(rows)).toBeLessThan(12)
    // What knows nothing of them but their operations is far off.
    const flat = constantUtilisation(one.map(r => r.row), r => stepFlops(r) / (r.tensor * r.data * r.stages))
    expect(meanError(one.map(r => ({ ms: r.ms, predictedMs: flat(r.row) })))).toBeGreaterThan(2 * meanError(one))
  })
})

describe('fitting', () => {
  test('finds the constants that figures were made with, and none beyond its bounds', () => {
    const errorOf = (v: Constants): number => [1, 10, 100].reduce((sum, x) => sum + Math.abs(((v['a'] ?? NaN) + (v['b'] ?? NaN) * x) / (5 + 0.3 * x) - 1), 0)
    const open = fitted([{ name: 'a', least: 0.1, most: 100, start: 1 }, { name: 'b', least: 0, most: 1, start: 0.9 }], errorOf)
    expect(open.values['a']).toBeCloseTo(5, 1)
    expect(open.values['b']).toBeCloseTo(0.3, 2)
    const held = fitted([{ name: 'a', least: 0.1, most: 4, start: 1 }, { name: 'b', least: 0, most: 1, start: 0.9 }], errorOf)
    expect(held.values['a']).toBeLessThanOrEqual(4)
  })
  test('has constants between their bounds to begin with, and no rate beyond a specification', () => {
    for (const c of [...ofDevice, ...ofHosts]) expect(c.start > c.least && c.start < c.most, c.name).toBe(true)
    expect(ofDevice.find(c => c.name === 'product')?.most).toBe(312e12)
    expect(ofDevice.find(c => c.name === 'bandwidth')?.most).toBeCloseTo(2.039e12, -3)
  })
  test('draws the same rows by the same seed, others by another, and each once', () => {
    const list = Array.from({ length: 50 }, (_, i) => i)
    const [a, b, c] = [1, 1, 2].map(seed => sampled(list, 5, seed))
    expect(a).toEqual(b)
    expect(a).not.toEqual(c)
    expect([...a?.sample ?? [], ...a?.rest ?? []].sort((x, y) => x - y)).toEqual(list)
  })
  test('tells what a choice by prediction costs', () => {
    expect(regrets([{ ms: 10, predictedMs: 5 }, { ms: 8, predictedMs: 6 }], () => 'one')).toEqual([25])
  })
})
