/** Rows in bounded room: whatever is drawn of them holds the least and the greatest of every column, in their order, and all of them where there is room. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { columns, type Column } from '../../src/dashboard/shape.ts'
import { Spans, type Row } from '../../src/dashboard/spans.ts'

const values = (x: number, stepMs = 1): Row['values'] => ({ ...Object.fromEntries(columns.map(c => [c, x])) as Record<Column, number>, stepMs })
const filled = (most: number, xs: readonly number[]): Spans => {
  const spans = new Spans(most)
  xs.forEach((x, step) => { spans.add({ step, seen: 10 * (step + 1), values: values(x) }) })
  return spans
}
const numbers = (ys: readonly (number | null)[] | undefined): number[] => (ys ?? []).filter(y => y !== null)

describe('spans', () => {
  test('as long as there is room every row is there', () => {
    const xs = [3, NaN, Infinity, 1, 2]
    const series = filled(8, xs).series(['loss'], { points: 8 })
    expect(series).toEqual({ span: 1, step: [0, 1, 2, 3, 4], seen: [10, 20, 30, 40, 50], elapsed: [0.001, 0.002, 0.003, 0.004, 0.005].map(x => expect.closeTo(x, 12)), values: { loss: [3, null, null, 1, 2] } })
  })

  test('of any rows, in any room and to any number of points: the extremes, in their order, between the first and the last', () => {
    fc.assert(fc.property(fc.array(fc.oneof({ arbitrary: fc.double({ min: -1e6, max: 1e6, noNaN: true }), weight: 9 }, { arbitrary: fc.constant(NaN), weight: 1 }), { minLength: 1, maxLength: 300 }), fc.integer({ min: 1, max: 32 }), fc.integer({ min: 2, max: 40 }), (xs, half, points) => {
      const { span, step, values: { loss = [] } } = filled(2 * half, xs).series(['loss'], { points })
      expect(loss).toHaveLength(step.length)
      expect(step.length).toBeLessThanOrEqual(2 * points)
      expect([step[0], step.at(-1)]).toEqual([0, xs.length - 1])
      expect([...step].sort((a, b) => a - b)).toEqual(step)
      if (span === 1) {
        expect(loss).toEqual(xs.map(x => (Number.isNaN(x) ? null : x)))
        return
      }
      // Each span by itself, against the rows that it stands for.
      for (let i = 0; i < step.length; i += 2) {
        const own = xs.slice(step[i], (step[i + 1] ?? 0) + 1).filter(x => !Number.isNaN(x))
        expect(own.length === 0 ? [] : [Math.min(...own), Math.max(...own)]).toEqual(numbers(loss.slice(i, i + 2)).sort((a, b) => a - b))
        const [first, second] = [loss[i] ?? NaN, loss[i + 1] ?? NaN]
        if (first === second || own.length === 0) continue
        // The one that is drawn first came first, wherever both came once.
        if (own.filter(x => x === first).length === 1 && own.filter(x => x === second).length === 1) expect(own.indexOf(first)).toBeLessThan(own.indexOf(second))
      }
    }), { seed: 7, numRuns: 300 })
  })

  test('a hundred million steps would take the room of a few thousand', () => {
    const spans = filled(64, Array.from({ length: 5000 }, (_, i) => Math.sin(i)))
    expect([spans.rows, spans.width, spans.lastStep]).toEqual([5000, 128, 4999])
    expect(spans.series(['loss'], { points: 4096 }).step.length).toBeLessThanOrEqual(128)
    const part = spans.series(['loss'], { points: 64, from: 1000, to: 1100 })
    expect([part.step[0], part.step.at(-1)]).toEqual([896, 1151])
  })
})
