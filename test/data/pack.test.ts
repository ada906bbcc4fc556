/** Packing: nothing lost, nothing twice, nothing cut that fits, and little room left over. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { packRows, type Fit, type Packed } from '../../src/data/pack.ts'
import { drawing } from './store/corpus.ts'

const itemsOf = (p: Packed, lengths: readonly number[], capacity: number) => Array.from({ length: p.rows }, (_, row) =>
  Array.from(p.documents.subarray(p.starts[row], p.starts[row + 1]), (d, i) => {
    const from = p.from[(p.starts[row] as number) + i] as number
    return { document: d, from, length: Math.min(capacity, (lengths[d] as number) - from) }
  }))

describe.each<Fit>(['best', 'first', 'alone'])('%s fit', fit => {
  test('every place of every document in one row, rows not overfull, no document cut that fits', () => {
    fc.assert(fc.property(fc.array(fc.nat({ max: 40 }), { maxLength: 60 }), fc.integer({ min: 1, max: 16 }), (lengths, capacity) => {
      const packed = packRows(lengths.length, d => lengths[d] as number, capacity, fit)
      const rows = itemsOf(packed, lengths, capacity)
      const seen = lengths.map(n => new Uint8Array(n))
      let used = 0
      for (const row of rows) {
        const size = row.reduce((n, i) => n + i.length, 0)
        expect(row.length > 0 && size <= capacity).toBe(true)
        used += size
        for (const { document, from, length } of row) for (let i = from; i < from + length; i++) seen[document]![i]!++
      }
      expect(seen.every(s => s.every(n => n === 1))).toBe(true)
      for (const [d, n] of lengths.entries()) expect(rows.flat().filter(i => i.document === d).length).toBe(Math.ceil(n / capacity))
      expect(packed.waste).toBe(packed.rows * capacity - used)
      // In a row documents stand in their order.
      for (const row of rows) expect(row.map(i => i.document)).toEqual(row.map(i => i.document).toSorted((a, b) => a - b))
    }), { numRuns: 300 })
  })
})

test('best fit wastes a part of what first fit does', () => {
  const draw = drawing(7)
  // Lengths as of prose: many short, a few long.
  const lengths = Array.from({ length: 20_000 }, () => 1 + Math.floor(2 ** (4 + draw(700) / 100)))
  const share = (fit: Fit): number => { const p = packRows(lengths.length, d => lengths[d] as number, 1024, fit); return p.waste / (p.rows * 1024) }
  expect(share('best')).toBeLessThan(0.002)
  expect(share('best')).toBeLessThan(0.5 * share('first'))
  expect(share('first')).toBeLessThan(share('alone'))
})

test('each is put where it leaves the least: as one by one among all rows', () => {
  fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 40 }), lengths => {
    const capacity = 12
    const order = lengths.map((_, i) => i).sort((a, b) => (lengths[b] as number) - (lengths[a] as number) || a - b)
    const room: number[] = []
    for (const i of order) {
      const n = lengths[i] as number
      const fits = room.map((r, row) => ({ r, row })).filter(({ r }) => r >= n).sort((a, b) => a.r - b.r)
      const [best] = fits
      if (best === undefined) room.push(capacity - n)
      else room[best.row] = best.r - n
    }
    const packed = packRows(lengths.length, d => lengths[d] as number, capacity)
    expect(itemsOf(packed, lengths, capacity).map(row => capacity - row.reduce((n, i) => n + i.length, 0)).sort()).toEqual(room.sort())
  }), { numRuns: 300 })
})
