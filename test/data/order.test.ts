/** Order and mixtures: closed forms, so that every place can be asked for alone. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { epochOrder, mixture, mixtureShares } from '../../src/data/order.ts'

describe('epochs', () => {
  test.each([1, 2, 3, 7, 64, 97, 1000, 4099])('of %i rows take each once', rows => {
    const order = epochOrder(rows, 5)
    for (const epoch of [0, 1, 7]) {
      const places = Array.from({ length: rows }, (_, i) => order(epoch * rows + i))
      expect(places.every(p => p.epoch === epoch)).toBe(true)
      expect(new Set(places.map(p => p.row)).size).toBe(rows)
    }
  })

  test('are of an order of their own, which another seed changes', () => {
    const rows = 500
    const orderOf = (seed: number, epoch: number): number[] => Array.from({ length: rows }, (_, i) => epochOrder(rows, seed)(epoch * rows + i).row)
    const all = [orderOf(0, 0), orderOf(0, 1), orderOf(0, 2), orderOf(1, 0), orderOf(1, 1)]
    // Two permutations drawn apart have one place in common on average.
    for (const [i, a] of all.entries()) for (const b of all.slice(i + 1)) expect(a.filter((x, j) => x === b[j]).length).toBeLessThan(9)
  })

  test('any place alone is the place in its turn', () => {
    const order = epochOrder(101, 3)
    const inTurn = Array.from({ length: 400 }, (_, n) => order(n))
    fc.assert(fc.property(fc.nat({ max: 399 }), n => { expect(epochOrder(101, 3)(n)).toEqual(inTurn[n]) }))
  })

  test('every row comes at every place about as often', () => {
    const rows = 16
    const seen = new Float64Array(rows * rows)
    for (let seed = 0; seed < 4000; seed++) {
      const order = epochOrder(rows, seed)
      for (let i = 0; i < rows; i++) seen[i * rows + order(i).row]!++
    }
    // 256 cells of 250 each: chi² has mean 225 and standard deviation 21.
    expect(seen.reduce((sum, n) => sum + (n - 250) ** 2 / 250, 0)).toBeLessThan(330)
  })

  test('of beyond 2^32 rows', () => {
    const rows = 2 ** 40 + 15
    const order = epochOrder(rows, 1)
    const found = Array.from({ length: 2000 }, (_, i) => order(i).row)
    expect(new Set(found).size).toBe(2000)
    expect(found.every(r => Number.isInteger(r) && r >= 0 && r < rows)).toBe(true)
    expect(found.filter(r => r > rows / 2).length).toBeGreaterThan(850)
  })
})

describe('mixtures', () => {
  const weights = fc.array(fc.oneof(fc.nat({ max: 20 }), fc.double({ min: 0, max: 10, noNaN: true })), { minLength: 1, maxLength: 7 }).filter(w => w.some(x => x > 1e-6))

  test('every prefix is within one item of every weight', () => {
    fc.assert(fc.property(weights, given => {
      const shares = mixtureShares(given)
      const draw = mixture(shares)
      const counts = shares.map(() => 0)
      for (let n = 0; n < 3000; n++) {
        const { source, nth } = draw(n)
        if (nth !== counts[source]) throw new Error(`item ${n} is said to be number ${nth} of source ${source}, it is ${counts[source]}`)
        counts[source]!++
        counts.forEach((c, i) => { if (Math.abs(c - (shares[i] as number) * (n + 1)) > 1 + 1e-9) throw new Error(`${c} of source ${i} after ${n + 1} items, its share is ${(shares[i] as number) * (n + 1)}`) })
      }
    }), { numRuns: 40 })
  })

  test.each([[[1, 1, 1]], [[0.7, 0.2, 0.1]], [[1, 0, 3]], [[Math.SQRT2, Math.PI, 1]], [[1e9, 3, 5e6]]])('far on, and in any order of asking: %j', given => {
    const shares = mixtureShares(given)
    const inTurn = mixture(shares)
    for (const n of [0, 1, 4095, 4096, 4097, 100_000, 99_999, 12]) expect(mixture(shares)(n)).toEqual(inTurn(n))
    const { source, nth } = inTurn(1_000_003)
    expect(Math.abs(nth - (shares[source] as number) * 1_000_003)).toBeLessThan(1)
  })

  test('a source of no weight is never drawn', () => {
    const draw = mixture(mixtureShares([2, 0, 1]))
    expect(Array.from({ length: 300 }, (_, n) => draw(n).source)).not.toContain(1)
  })

  test('a temperature brings shares closer together', () => {
    expect(mixtureShares([9, 1])).toEqual([0.9, 0.1])
    expect(mixtureShares([9, 1], 2)).toEqual([0.75, 0.25])
    expect(mixtureShares([1e300, 1e300], 0.001)).toEqual([0.5, 0.5])
    expect(mixtureShares([0, 4], 3)).toEqual([0, 1])
  })

  test.each([[[0, 0], 1, /no source/], [[-1, 2], 1, /weight -1/], [[NaN], 1, /weight NaN/], [[1], 0, /temperature/], [[Infinity], 1, /weight Infinity/]])('refuses %j at %d', (w, t, message) => {
    expect(() => mixtureShares(w, t)).toThrow(message)
  })
})
