/** Floats of 8 bits: every one of them, and rounding to them held to a search among all. */
import { describe, expect, test } from 'vitest'
import { eightBits, eightFromBits, largestOf, roundEight, type EightBits } from '../../src/core/eight-bit-floats.ts'
import { bitsOfFloats, f16FromBits, numbersOf } from '../../src/core/half-precision.ts'

const codes = Array.from({ length: 256 }, (_, i) => i)
/** Largest, smallest normal, smallest: table 1 of arXiv 2209.05433. */
const named: readonly (readonly [EightBits, largest: number, normal: number, least: number, notNumbers: number, infinities: number])[] = [
  ['f8e4m3fn', 448, 2 ** -6, 2 ** -9, 2, 0], ['f8e5m2', 57344, 2 ** -14, 2 ** -16, 6, 2],
]

describe.each(named)('%s', (dtype, largest, normal, least, notNumbers, infinities) => {
  const values = codes.map(bits => eightFromBits(bits, dtype))
  const finite = values.filter(x => Number.isFinite(x))

  test('has the numbers of the paper', () => {
    const positive = finite.filter(x => x > 0)
    expect([Math.max(...finite), Math.min(...positive), largestOf(dtype)]).toEqual([largest, least, largest])
    expect(positive).toContain(normal)
    expect([values.filter(x => Number.isNaN(x)).length, values.filter(x => Math.abs(x) === Infinity).length]).toEqual([notNumbers, infinities])
    // Bits rise as numbers do, and half of them are negative.
    expect(codes.slice(0, 127).filter(i => (values[i] ?? 0) >= (values[i + 1] ?? 0) && Number.isFinite(values[i + 1]))).toEqual([])
    expect(codes.slice(0, 128).filter(i => !Object.is(values[i + 128], -(values[i] ?? 0)) && !Number.isNaN(values[i]))).toEqual([])
  })

  test('each is itself, there and back', () => {
    for (const bits of codes) {
      const x = values[bits] ?? NaN
      expect(roundEight(x, dtype)).toBe(x)
      if (!Number.isNaN(x)) expect(eightBits(x, dtype)).toBe(bits)
    }
    expect(eightFromBits(eightBits(NaN, dtype), dtype)).toBeNaN()
    const bytes = Uint8Array.from(codes.filter(bits => !Number.isNaN(values[bits])))
    expect(bitsOfFloats(numbersOf(bytes, dtype) as Float32Array, dtype)).toEqual(bytes)
  })

  test('what lies between goes to the nearest, a tie to the one whose last bit is 0', () => {
    const even = codes.filter(bits => bits % 2 === 0 && Number.isFinite(values[bits])).map(bits => values[bits] ?? NaN)
    const nearest = (x: number): number => {
      const by = Math.min(...finite.map(v => Math.abs(v - x)))
      const near = [...new Set(finite.filter(v => Math.abs(v - x) === by))]
      return near.length === 1 ? near[0] ?? NaN : near.find(v => even.includes(v)) ?? NaN
    }
    // All numbers of f16 in range, and what is next to each tie.
    const numbers = Array.from({ length: 2 ** 16 }, (_, bits) => f16FromBits(bits)).filter((x, i) => Number.isFinite(x) && Math.abs(x) <= largest && i % 7 === 0)
    const sorted = [...new Set(finite)].sort((a, b) => a - b)
    const ties = sorted.slice(1).map((x, i) => (x + (sorted[i] ?? 0)) / 2)
    const beside = ties.flatMap(x => [x, x * (1 + 2 ** -23), x * (1 - 2 ** -23), x * (1 + 2 ** -50)])
    for (const x of [...numbers, ...beside]) if (roundEight(x, dtype) !== nearest(x)) expect([x, roundEight(x, dtype)]).toEqual([x, nearest(x)])
    expect(numbers.length).toBeGreaterThan(5000)
  })

  test('what is beyond the largest is infinite, or no number where there is no infinity', () => {
    const step = largest - Math.max(...finite.filter(x => x < largest))
    expect(roundEight(largest + step / 2 - step / 1000, dtype)).toBe(largest)
    for (const x of [largest + step, 1e9, Infinity, -Infinity]) {
      const found = roundEight(x, dtype)
      if (infinities === 0) expect(found).toBeNaN()
      else expect(found).toBe(x < 0 ? -Infinity : Infinity)
    }
    expect([roundEight(NaN, dtype), Object.is(roundEight(-0, dtype), -0)]).toEqual([NaN, true])
  })
})
