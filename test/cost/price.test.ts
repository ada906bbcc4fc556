/** Prices of single things, against what the formulas of docs/foresight.md give by hand, and the machines that come along. */
import { describe, expect, test } from 'vitest'
import { collectiveMs, groupOf } from '../../src/cost/collective.ts'
import { ringsOf, torusOf } from '../../src/cost/torus.ts'
import { at, timeAt } from '../../src/cost/curve.ts'
import { contractionMs, memoryMs, operationCost } from '../../src/cost/price.ts'
import { axisOf, mesh, type Mesh } from '../../src/core/mesh.ts'
import type { MachineInput } from '../../src/machine/machine.ts'
import { knownMachine, machineNames, machineOf } from '../../src/machine/read.ts'

const plain: MachineInput = {
  name: 'plain', devicesPerHost: 4, memory: { bytes: 1e9 }, peak: { f32: 1e12 }, products: { f32: [{ side: 1, points: [[1, 1e11]] }, { side: 64, points: [[1, 4e11]] }] }, bandwidth: { peak: 1e10, points: [[1, 1e10]] },
  vector: { rate: 1e9 }, overhead: { kernelUs: 0, turnUs: 0, stepUs: 0 },
  links: { within: { topology: 'ring', perFlow: 1e9, perHost: 4e9, latencyUs: 10, share: { 'all-reduce': 0.5, 'all-gather': 0.5 } }, between: { topology: 'switch', perFlow: 1e8, perHost: 2e8, latencyUs: 100, share: { 'all-reduce': 1, 'all-gather': 1 } } },
  sources: {},
}
const machine = machineOf(plain, 'plain')

describe('curves', () => {
  test('are straight in the logarithms between their points, and go on as they end', () => {
    expect(at([[1, 10], [100, 1000]], 10)).toBeCloseTo(100)
    expect(at([[1, 10], [100, 1000]], 0.1)).toBe(10)
    expect(at([[1, 10], [100, 1000]], 1e6)).toBe(1000)
    expect(timeAt([[1, 10], [100, 1000]], 200)).toBe(2000)
  })
})

describe('one thing', () => {
  test('a product is its operations by the rate of its class, or its bytes by the bandwidth', () => {
    // 2 · 2⁸·3 operations at 4·10¹¹ a second: 0.084 ms; its three matrices of 256 KiB at 10¹⁰ bytes a second: 0.079 ms.
    expect(contractionMs(machine, { m: 256, n: 256, k: 256, batch: 1, dtype: 'f32' })).toBeCloseTo(2 * 256 ** 3 / 4e11 * 1000, 9)
    expect(contractionMs(machine, { m: 1, n: 1000, k: 1000, batch: 1, dtype: 'f32' })).toBeCloseTo((1e6 + 2000) * 4 / 1e10 * 1000, 9)
    // Halfway between classes in the logarithm: twice the slower rate.
    expect(contractionMs(machine, { m: 8, n: 4096, k: 4096, batch: 64, dtype: 'f32' })).toBeGreaterThan(2 * 8 * 4096 ** 2 * 64 / 2e11 * 1000 - 1e-9)
  })
  test('and both, where operands are packed before they are multiplied', () => {
    const product = { m: 256, n: 256, k: 256, batch: 1, dtype: 'f32' } as const
    expect(contractionMs(machineOf({ ...plain, operands: 'before' }, 'plain'), product)).toBeCloseTo((2 * 256 ** 3 / 4e11 + 3 * 256 ** 2 * 4 / 1e10) * 1000, 9)
  })
  test('a copy that turns a matrix over has a bandwidth of its own where the machine has one', () => {
    const turning = machineOf({ ...plain, bandwidth: { peak: 1e10, points: [[1, 1e10]], turned: [[1, 2e9]] } }, 'plain')
    expect([memoryMs(turning, 1e6, 0, 1, true), memoryMs(turning, 1e6), memoryMs(machine, 1e6, 0, 1, true)]).toEqual([0.5, 0.1, 0.1])
    const laying = machineOf({ ...turning, bandwidth: { ...turning.bandwidth, parts: [[1, 5e9]] } }, 'plain')
    expect([memoryMs(laying, 1e6, 0, 1, 'parts'), memoryMs(turning, 1e6, 0, 1, 'parts'), memoryMs(machine, 1e6, 0, 1, 'parts')]).toEqual([0.2, 0.5, 0.1])
  })
  test('a convolution has the rate of its depth and its channels where the machine has such rates, else a product\'s', () => {
    const conv = { m: 65_536, n: 32, k: 288, batch: 1, dtype: 'f32', convolved: 32 } as const
    const measured = machineOf({ ...plain, bandwidth: { peak: 1e15, points: [[1, 1e15]] }, convolutions: { f32: [{ depth: 18, side: 2, points: [[1, 1e10]] }, { depth: 288, side: 2, points: [[1, 2e10]] }, { depth: 288, side: 32, points: [[1, 8e10]] }] } }, 'measured')
    const at = (product: Partial<typeof conv> | { k: number } | { convolved: number }): number => 2 * 65_536 * 32 * ('k' in product ? product.k ?? 288 : 288) / contractionMs(measured, { ...conv, ...product }) * 1000
    expect(at({})).toBeCloseTo(8e10, -3)
    expect(at({ convolved: 8 })).toBeCloseTo(4e10, -3)
    expect(at({ k: 18, convolved: 2 })).toBeCloseTo(1e10, -3)
    expect(at({ k: 72, convolved: 2 })).toBeCloseTo(2e10 ** 0.5 * 1e10 ** 0.5, -3)
    expect(contractionMs(machine, conv)).toBe(contractionMs(machine, { ...conv, convolved: undefined }))
  })
  test('no rate is above the specification', () => {
    const boasting = machineOf({ ...plain, products: { f32: [{ side: 1, points: [[1, 1e15]] }] }, bandwidth: { peak: 1e10, points: [[1, 1e15]] } }, 'plain')
    expect(contractionMs(boasting, { m: 4096, n: 4096, k: 4096, batch: 1, dtype: 'f32' })).toBeCloseTo(2 * 4096 ** 3 / 1e12 * 1000)
    expect(memoryMs(boasting, 1e8)).toBeCloseTo(10)
  })
  test('elementwise work is its bytes or its operations', () => {
    expect(memoryMs(machine, 1e7)).toBeCloseTo(1)
    expect(memoryMs(machine, 1e7, 5e6)).toBeCloseTo(5)
    expect(operationCost(machine, 'logistic', 'f32')).toBe(operationCost(machine, 'exp', 'f32'))
    expect(operationCost(machine, 'add', 'f32')).toBe(1)
  })
})

describe('attention', () => {
  test('is its operations by the rate of its head, between those that are known, whatever it reads', () => {
    const attends = machineOf({ ...plain, attention: { f32: [{ side: 16, points: [[1, 1e10]] }, { side: 64, points: [[1, 4e10]] }] } }, 'plain')
    const attention = { m: 128, n: 64.5, k: 32, batch: 16, dtype: 'f32', attended: 32 } as const
    expect(contractionMs(attends, attention)).toBeCloseTo(2 * 128 * 64.5 * 32 * 16 / 2e10 * 1000, 9)
    // Halves are widened in the kernel.
    expect(contractionMs(attends, { ...attention, dtype: 'bf16' })).toBe(contractionMs(attends, attention))
  })
})

describe('a collective', () => {
  const m = mesh({ hosts: 2, batch: 2, model: 2 })
  test('within a host is 2 (n − 1)/n of its bytes by what a link gives', () => {
    const group = groupOf(machine, m, ['model'])
    expect(group).toMatchObject({ among: 2, within: 2, domains: 1 })
    expect(collectiveMs(machine, group, 'all-reduce', 1e7)).toBeCloseTo(1000 * 1e7 / 0.5e9 + 2 * 0.01)
  })
  test('between hosts all devices of a host share what it sends', () => {
    const group = groupOf(machine, m, ['hosts'])
    expect(group).toMatchObject({ among: 2, within: 1, domains: 2, onHost: 4 })
    // Four devices send 10⁷ bytes each through 2·10⁸ a second, and what collectives reach of a link they reach of what is shared.
    const sent = 1000 * 4 * 1e7 / 2e8
    expect(collectiveMs(machine, group, 'all-reduce', 1e7)).toBeCloseTo(sent + 2 * 0.1, 6)
    const half = machineOf({ ...plain, links: { ...plain.links, between: { ...plain.links.between, share: { 'all-reduce': 0.5 } } } }, 'plain')
    expect(collectiveMs(half, groupOf(half, m, ['hosts']), 'all-reduce', 1e7)).toBeCloseTo(2 * sent + 2 * 0.1, 6)
  })
  test('over both is the slower of both, and sends to other hosts a part each', () => {
    const all = groupOf(machine, m, ['hosts', 'batch', 'model'])
    expect(all).toMatchObject({ among: 8, within: 4, domains: 2 })
    const [near, far] = [1000 * 1.5 * 1e7 / 0.5e9, 1000 * 4 * 1e7 / 4 / 2e8]
    expect(collectiveMs(machine, all, 'all-reduce', 1e7)).toBeGreaterThan(Math.max(near, far))
    expect(collectiveMs(machine, all, 'all-reduce', 1e7)).toBeLessThan(Math.max(near, far) * 1.02)
  })
  test('is what was measured, where that is given', () => {
    const measured = machineOf({ ...plain, links: { ...plain.links, within: { ...plain.links.within, perFlow: 1e12, perHost: 1e12, times: { 'all-reduce': [{ among: 2, points: [[1e3, 7], [1e6, 500]] }, { among: 4, points: [[1e3, 9], [1e6, 800]] }] } } } }, 'plain')
    expect(collectiveMs(measured, groupOf(measured, m, ['model']), 'all-reduce', 1e6)).toBeCloseTo(0.5)
    expect(collectiveMs(measured, groupOf(measured, m, ['batch', 'model']), 'all-reduce', 1e6)).toBeCloseTo(0.8)
  })
  test('that no link is given for is an error that says so', () => {
    const alone = machineOf({ ...plain, links: { within: plain.links.within } }, 'plain')
    expect(() => collectiveMs(alone, groupOf(alone, m, ['hosts']), 'all-reduce', 1e6)).toThrow(/machine plain has 4 devices that are connected, and 8 are asked for/)
  })
})

describe('machines that come along', () => {
  test.each(machineNames.map(n => [n]))('%s: every figure has a source, and no rate is above its specification', name => {
    const known = knownMachine(name)
    for (const figure of ['peak', 'products', 'bandwidth', 'vector', 'overhead', 'links.within', 'links.between']) expect(known.sources[figure]).toBeTruthy()
    for (const [dtype, rates] of Object.entries(known.products)) for (const r of rates ?? []) for (const [, rate] of r.points) expect(rate).toBeLessThanOrEqual(known.peak[dtype as 'f32'] ?? 0)
    for (const [, rate] of known.bandwidth.points) expect(rate).toBeLessThanOrEqual(known.bandwidth.peak)
  })
  test('an H100 host gathers as NCCL was measured to', () => {
    const h100 = knownMachine('8xh100')
    const m = mesh({ hosts: 4, model: 8 })
    // 1 GiB in all among eight: 394 GB/s and 30 µs.
    expect(collectiveMs(h100, groupOf(h100, m, ['model']), 'all-gather', 2 ** 27)).toBeCloseTo(1000 * 2 ** 30 / 394e9 + 0.03, 0)
    // Among 4 × 8: 396 GB/s of the result, within a fifth of it.
    const rate = 2 ** 30 * 4 / collectiveMs(h100, groupOf(h100, m, ['hosts', 'model']), 'all-gather', 2 ** 27) / 1e6
    expect(rate).toBeGreaterThan(396 * 0.8)
    expect(rate).toBeLessThan(396 * 1.2)
  })
  test('a slice of a TPU\'s pod is as alike along its dims as it can be, as those that are published are', () => {
    const published = [[2, 4, 4], [4, 4, 4], [4, 4, 8], [4, 8, 8], [8, 8, 8], [8, 8, 16], [8, 16, 16], [16, 16, 16], [16, 16, 24]]
    for (const shape of published) expect([...torusOf(shape.reduce((n, size) => n * size, 1), 3)].sort((a, b) => a - b)).toEqual(shape)
    expect([torusOf(256, 2), torusOf(32, 2)]).toEqual([[16, 16], [8, 4]])
  })
  test('axes share the dims of a torus, the last chooses first', () => {
    // Of 8 × 8 × 16 the last axis has the long dim, the other one both short ones.
    expect(ringsOf([64, 16], 3, 4)).toEqual([2, 1])
    expect(ringsOf([16, 4], 3, 4)).toEqual([2, 1])
    expect(ringsOf([32, 8], 3, 4)).toEqual([2, 1])
    expect(ringsOf([64], 3, 4)).toEqual([3])
    expect(ringsOf([1, 16, 64], 3, 4)).toEqual([1, 1, 2])
    // What has a part of a dim has a line there, and what has the rest of it, too.
    expect(ringsOf([32, 2], 3, 4)).toEqual([2.5, 0.5])
    for (const sizes of [[2, 2, 2], [6, 4], [24, 256], [5, 7], [8, 4, 8, 4]]) expect(ringsOf(sizes, 3, 4).every(rings => rings > 0)).toBe(true)
  })
  test('a TPU axis that goes all the way round has twice the speed of one that does not', () => {
    const v6e = knownMachine('v6e')
    const gather = (m: Mesh): number => collectiveMs(v6e, groupOf(v6e, m, ['a']), 'all-gather', 1e8) / (axisOf(m, 'a').size - 1)
    expect(gather(mesh({ b: 8, a: 8 })) / gather(mesh({ b: 16, a: 16 }))).toBeCloseTo(2, 1)
  })
})
