/** Buckets of distances: those of transformers' T5, for each distance. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { dims } from '../../src/engine/index.ts'
import { relativeBuckets } from '../../src/nn/relative.ts'
import { valueOfTensor } from '../graph/support.ts'

const cases = JSON.parse(readFileSync(new URL('../models/fixtures/t5-buckets.json', import.meta.url), 'utf8')) as { count: number; farthest: number; bothWays: boolean; buckets: number[] }[]
test.each(cases)('$count buckets, $farthest, both ways $bothWays', ({ buckets, ...options }) => {
  // One query in the middle of its keys.
  const far = options.farthest + 3
  const d = dims({ seq: far + 1, kvSeq: buckets.length })
  const found = valueOfTensor(relativeBuckets(d.seq, d.kvSeq, options))
  expect(found.slice(far * buckets.length, (far + 1) * buckets.length)).toEqual(buckets)
})
test('refuses what is none', () => {
  const d = dims({ seq: 2, kvSeq: 2 })
  expect(() => relativeBuckets(d.seq, d.kvSeq, { count: 5, farthest: 10, bothWays: true })).toThrow(/5 buckets[^]*even/)
  expect(() => relativeBuckets(d.seq, d.kvSeq, { count: 8, farthest: 2, bothWays: true })).toThrow(/farthest is 2[^]*above 2/)
})
