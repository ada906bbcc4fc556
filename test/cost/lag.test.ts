/** What devices that share cores wait for the last of them: by hand. */
import { describe, expect, test } from 'vitest'
import { lagMs, lagUs } from '../../src/cost/lag.ts'
import { tasksTime } from '../../src/cost/time.ts'
import { mesh } from '../../src/engine/index.ts'
import { knownMachine, machineOf } from '../../src/machine/read.ts'
import type { Points } from '../../src/machine/machine.ts'

const points: Points = [[100, 50], [10_000, 500]]

describe('the last of devices that share cores', () => {
  test('comes later by what was measured, of less work in proportion, of more as of the most', () => {
    expect([0, 10, 100, 1000, 10_000, 50_000].map(us => Math.round(lagUs(points, us)))).toEqual([0, 5, 50, 158, 500, 500])
    expect(lagUs([], 1000)).toBe(0)
  })
  test('is waited for by each collective of a loop, and once by the rest', () => {
    // Ten turns with two collectives, between which half a millisecond is computed; and one millisecond at the end.
    const found = lagMs(points, [{ times: 1, ms: 1, waits: 0 }, { times: 10, ms: 10, waits: 2 }])
    expect(found).toBeCloseTo(20 * lagUs(points, 500) / 1000 + lagUs(points, 1000) / 1000, 10)
  })
  test('a loop without collectives lies between those around it', () => {
    expect(lagMs(points, [{ times: 4, ms: 3, waits: 0 }, { times: 1, ms: 1, waits: 1 }])).toBeCloseTo(lagUs(points, 4000) / 1000, 10)
  })
  test('makes a step longer only where there are several', () => {
    const h100 = knownMachine('8xh100')
    const slow = machineOf({ ...h100, crowded: [{ devices: 2, ...h100, lag: points }].map(({ products, bandwidth, lag, devices }) => ({ products, bandwidth, lag, devices })) }, 'slow')
    const even = machineOf({ ...h100, crowded: slow.crowded.map(({ lag: _, ...figures }) => figures) }, 'even')
    const tasks = { values: 0, tasks: [{ kind: 'memory', bytes: 1e9, operations: [], times: 1 }] } as const
    const over = (size: number): number => tasksTime(tasks, slow, mesh({ a: size })).stepMs - tasksTime(tasks, even, mesh({ a: size })).stepMs
    expect(over(1)).toBe(0)
    expect(over(2)).toBeGreaterThan(0.05)
  })
})
