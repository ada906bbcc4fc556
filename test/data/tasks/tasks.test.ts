/** What tasks make of rows: targets, what is hidden and how often, and that nothing is lost. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { causalBatch, prefixBatch } from '../../../src/data/tasks/causal.ts'
import { maskedBatch } from '../../../src/data/tasks/masked.ts'
import { chosen, drawsOf, partition } from '../../../src/data/tasks/random.ts'
import type { RowTokens, Segment } from '../../../src/data/tasks/rows.ts'
import { corrupt, restore, spanBatch, spanShape } from '../../../src/data/tasks/spans.ts'

const segment = (ids: readonly number[], overlap: 0 | 1, learnt: readonly number[] = ids.map(() => 1)): Segment =>
  ({ ids: Int32Array.from(ids), length: ids.length - overlap, learnt: Float32Array.from(learnt) })
const row = (key: number, ...segments: readonly Segment[]): RowTokens => ({ segments, draws: () => drawsOf(key) })

describe('causal', () => {
  test('targets are the next token of the same document, and a document\'s last token predicts nothing', () => {
    const b = causalBatch([row(0, segment([5, 6, 7], 1), segment([8, 9], 1)), row(0)], 4, 99)
    expect([...b.tokens]).toEqual([5, 6, 8, 99, 99, 99, 99, 99])
    expect([...b.targets]).toEqual([6, 7, 9, 99, 99, 99, 99, 99])
    expect([...b.weights]).toEqual([1, 1, 1, 0, 0, 0, 0, 0])
    expect([...b.segments]).toEqual([1, 1, 2, 0, 0, 0, 0, 0])
    expect([...b.positions]).toEqual([0, 1, 0, 0, 0, 0, 0, 0])
  })

  test('only what is learnt has weight: the token that is predicted, not the one that is seen', () => {
    expect([...causalBatch([row(0, segment([1, 2, 3, 4], 1, [0, 0, 1, 1]))], 3, 0).weights]).toEqual([0, 1, 1])
  })
})

describe('prefix', () => {
  test('is drawn from one place to all but the last target, and is not predicted', () => {
    const ids = [1, 2, 3, 4, 5]
    const sizes = new Map<number, number>()
    for (let key = 0; key < 4000; key++) {
      const b = prefixBatch([row(key, segment(ids, 1))], 4, 0)
      const size = b.prefix.reduce((n, x) => n + x, 0)
      expect([...b.prefix]).toEqual([0, 1, 2, 3].map(i => (i < size ? 1 : 0)))
      expect([...b.weights]).toEqual([0, 1, 2, 3].map(i => (i < size - 1 ? 0 : 1)))
      sizes.set(size, (sizes.get(size) ?? 0) + 1)
    }
    expect([...sizes.keys()].sort()).toEqual([1, 2, 3, 4])
    // 1000 each, with a standard deviation of 27.
    for (const n of sizes.values()) expect(Math.abs(n - 1000)).toBeLessThan(140)
  })

  test('of a chat is what comes before its first turn that is learnt', () => {
    const b = prefixBatch([row(1, segment([1, 2, 3, 4, 5], 1, [0, 0, 1, 0, 1]))], 4, 0)
    expect([[...b.prefix], [...b.weights]]).toEqual([[1, 1, 0, 0], [0, 1, 0, 1]])
  })
})

describe('masked', () => {
  const ids = Array.from({ length: 1000 }, (_, i) => 10 + i % 90)
  const where = { mask: 100, vocab: 100, kept: new Set([10]) }
  test('the share is chosen; most of it becomes the mask, some another token, some stays', () => {
    let [masked, other, same, hidden] = [0, 0, 0, 0]
    for (let key = 0; key < 40; key++) {
      const b = maskedBatch([row(key, segment(ids.slice(0, 500), 0), segment(ids.slice(500), 0))], 1000, 0, { kind: 'masked' }, where)
      const free = ids.filter(id => id !== 10).length
      expect(b.weights.reduce((n, x) => n + x, 0)).toBe(Math.round(0.15 * free))
      b.weights.forEach((w, i) => {
        const id = ids[i] as number
        // What was there is found again: the inverse.
        if ((w === 1 ? b.targets[i] : b.tokens[i]) !== id) throw new Error(`place ${i} is lost`)
        if (w === 0) return
        if (id === 10) throw new Error('an edge is hidden')
        hidden++
        if (b.tokens[i] === 100) masked++
        else if (b.tokens[i] === id) same++
        else other++
      })
      expect([b.segments[499], b.segments[500], b.positions[500]]).toEqual([1, 2, 0])
    }
    // Of about 5,900; another token is now and then the same by chance.
    expect(Math.abs(masked / hidden - 0.8)).toBeLessThan(0.025)
    expect(Math.abs(other / hidden - 0.1)).toBeLessThan(0.02)
    expect(Math.abs(same / hidden - 0.1)).toBeLessThan(0.02)
  })

  test('a short row has one place chosen, and one of nothing but edges none', () => {
    expect(maskedBatch([row(1, segment([20, 21], 0))], 4, 0, { kind: 'masked' }, where).weights.reduce((a, b) => a + b)).toBe(1)
    expect(maskedBatch([row(1, segment([10, 10], 0))], 4, 0, { kind: 'masked' }, where).weights.reduce((a, b) => a + b)).toBe(0)
  })
})

describe('spans', () => {
  const sentinels = Array.from({ length: 100 }, (_, i) => 1000 + i)
  test('the text comes back from inputs and targets', () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 999 }), { minLength: 2, maxLength: 300 }), fc.nat(), (ids, key) => {
      const { inputs, targets } = corrupt(Int32Array.from(ids), { kind: 'spans' }, sentinels, 0, drawsOf(key))
      expect(restore(inputs, targets, sentinels, 0)).toEqual(ids)
    }), { numRuns: 300 })
  })

  test('as many tokens and spans as the density and the mean say, everywhere alike', () => {
    const n = 200
    const hidden = new Float64Array(n)
    for (let key = 0; key < 2000; key++) {
      const ids = Int32Array.from({ length: n }, (_, i) => i + 1)
      const { inputs, targets } = corrupt(ids, { kind: 'spans' }, sentinels, 0, drawsOf(key))
      expect([inputs.length, targets.length]).toEqual([n - 30 + 10 + 1, 30 + 10 + 1])
      for (const id of targets) if (id > 0 && id < 1000) hidden[id - 1]!++
    }
    // The first token always stays; far from the edges each is hidden in 15 % of the rows (standard deviation 0.8 %).
    expect(hidden[0]).toBe(0)
    for (let i = 30; i < 170; i++) expect(Math.abs((hidden[i] as number) / 2000 - 0.15)).toBeLessThan(0.04)
  })

  test('a row is filled to its last place, as T5 counts it', () => {
    // t5.data.preprocessors.random_spans_helper(512, 0.15, 3.0, 1, 1): (568, 114).
    expect(spanShape(512, {})).toEqual({ raw: 568, targets: 114 })
    for (const seq of [8, 57, 512]) {
      const { raw, targets } = spanShape(seq, {})
      const ids = Int32Array.from({ length: raw }, (_, i) => i % 900 + 1)
      const b = spanBatch([row(3, segment([...ids], 0))], seq, 0, { kind: 'spans' }, sentinels, 999)
      expect([b.source.length, b.labels.length, b.sourceWeights.at(-1), b.weights.at(-1), b.source.at(-1), b.labels.at(-1)]).toEqual([seq, targets, 1, 1, 999, 999])
      expect([...b.target]).toEqual([0, ...b.labels.slice(0, -1)])
    }
  })

  test('too few sentinels', () => {
    expect(() => corrupt(new Int32Array(100), { kind: 'spans' }, [1000], 0, drawsOf(1))).toThrow(/5 spans, and there are 1 sentinels/)
  })
})

describe('drawing', () => {
  test('choices and partitions are of the right size, and each as likely', () => {
    const seen = new Map<string, number>()
    for (let key = 0; key < 6000; key++) {
      const parts = partition(5, 3, drawsOf(key))
      expect([parts.length, parts.reduce((a, b) => a + b), Math.min(...parts) >= 1]).toEqual([3, 5, true])
      seen.set(parts.join(), (seen.get(parts.join()) ?? 0) + 1)
      expect(chosen(4, 4, drawsOf(key))).toEqual([0, 1, 2, 3])
    }
    expect(seen.size).toBe(6)
    for (const n of seen.values()) expect(Math.abs(n - 1000)).toBeLessThan(150)
  })
})
