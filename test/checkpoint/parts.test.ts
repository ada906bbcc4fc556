/** The parts of checkpoints that are plain functions: checksums of parts, host values, which checkpoints stay. */
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeHost, encodeHost, type Json } from '../../src/checkpoint/host-state.ts'
import { keptSteps } from '../../src/checkpoint/retention.ts'
import { crcOfParts, joinCrc, partialCrc } from '../../src/io/crc.ts'

describe('checksums', () => {
  test('parts in any places and order make the checksum of the whole', () => {
    fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 2000 }), fc.array(fc.nat({ max: 1999 }), { maxLength: 6 }), (data, cuts) => {
      const at = [...new Set([0, ...cuts.filter(c => c < data.length), data.length])].sort((a, b) => a - b)
      const parts = at.slice(1).map((end, i) => partialCrc(data.subarray(at[i], end), data.length - end))
      expect(crcOfParts(parts.reverse().reduce((a, b) => a ^ b, 0) >>> 0, data.length)).toBe(crc32(data))
      const half = data.length >> 1
      expect(joinCrc(crc32(data.subarray(0, half)), crc32(data.subarray(half)), data.length - half)).toBe(crc32(data))
    }), { numRuns: 200 })
  })
  test('of zeros, which give nothing, and of lengths beyond 2³²', () => {
    expect(crcOfParts(0, 100_000)).toBe(crc32(new Uint8Array(100_000)))
    expect(partialCrc(new Uint8Array(64), 1000)).toBe(0)
    // Python: zlib.crc32 of 2³³ zeros by combining, 2³³ = 2³² + 2³².
    const long = crcOfParts(0, 2 ** 32)
    expect(joinCrc(long, long, 2 ** 32)).toBe(crcOfParts(0, 2 ** 33))
  })
})

describe('host values', () => {
  test('come back as they were', () => {
    const value = { a: [1, -0, NaN, Infinity, -Infinity, 5e-324, 2 ** 60], b: { big: 2n ** 70n, minus: -1n, text: 'x', yes: true, none: null }, $number: 'mine', $$: 1, deep: { $number: '3n', $number$number: 4 }, empty: {}, list: [] }
    const text = JSON.stringify(encodeHost(value))
    const back = decodeHost(JSON.parse(text) as Json)
    expect(back).toEqual(value)
    expect(Object.is((back as { a: number[] }).a[1], -0)).toBe(true)
  })
  test('any of them', () => {
    fc.assert(fc.property(fc.anything({ withBigInt: true, values: [fc.double(), fc.string(), fc.boolean(), fc.constant(null)] }).filter(v => JSON.stringify(encodeOr(v)) !== undefined && encodeOr(v) !== undefined), v => {
      expect(decodeHost(JSON.parse(JSON.stringify(encodeHost(v))) as Json)).toEqual(v)
    }), { numRuns: 300 })
  })
  test('what is none is refused with its place', () => {
    for (const [value, place] of [[{ a: { b: undefined } }, 'host.a.b is undefined'], [[() => 1], 'host.0 is a function'], [{ d: new Date() }, 'host.d is an object'], [new Map(), 'host is an object'], [Symbol.iterator, 'host is Symbol']] as const) {
      expect(() => encodeHost(value)).toThrow(new RegExp(`DimError\\[host-state\\] ${place.replace('.', '\\.')}`))
    }
  })
})
const encodeOr = (v: unknown): Json | undefined => {
  try { return encodeHost(v) } catch { return undefined }
}

describe('which checkpoints stay', () => {
  const candidates = [[10, 3], [20, 1], [30, undefined], [40, 2], [50, NaN], [60, 1]].map(([step = 0, heldOutLoss]) => ({ step, heldOutLoss }))
  test.each([
    [{ last: 1 }, [60]], [{ last: 2 }, [50, 60]], [{ last: 9 }, [10, 20, 30, 40, 50, 60]], [{ last: 1, every: 20 }, [20, 40, 60]],
    // Of equal losses the newer; NaN is none.
    [{ last: 1, best: 1 }, [60]], [{ last: 1, best: 2 }, [20, 60]], [{ last: 1, best: 3 }, [20, 40, 60]], [{ last: 1, every: 30, best: 2 }, [20, 30, 60]],
    [{ last: 0 }, [60]],
  ])('%j', (keep, kept) => {
    expect([...keptSteps(candidates, keep)].sort((a, b) => a - b)).toEqual(kept)
    expect([...keptSteps([...candidates].reverse(), keep)].sort((a, b) => a - b)).toEqual(kept)
  })
  test('none', () => { expect(keptSteps([], { last: 3, best: 2 })).toEqual(new Set()) })
})
