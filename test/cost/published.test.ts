/** Steps that others published: data as their sources have it, and a few of them predicted as the bench predicts all. */
import { describe, expect, test } from 'vitest'
import { meanError } from '../../bench/foresight/held.ts'
import { machineOfRow } from '../../bench/foresight/published/machines.ts'
import { flopsOf, predicted, rescaled } from '../../bench/foresight/published/section.ts'
import { publishedTables, type Table } from '../../bench/foresight/published/tables.ts'

const tables = await publishedTables()
const named = (start: string): Table => {
  const found = tables.find(t => t.name.startsWith(start))
  if (found === undefined) throw new Error(`there is no table ${start}`)
  return found
}

describe('tables', () => {
  test('have all rows, each with a step that takes some time', () => {
    expect(tables.map(t => t.rows.length)).toEqual([8, 22, 61, 78, 70, 16])
    for (const { rows, source } of tables) {
      expect(source).not.toBe('')
      for (const r of rows) expect(r.ms > 100 && r.ms < 1e6 && r.batch % (r.microbatch * r.data) === 0, r.what).toBe(true)
    }
  })
  test('have models of the sizes that their names say', () => {
    const weights = (start: string, what: string): number => {
      const r = named(start).rows.find(x => x.what.startsWith(what))
      if (r === undefined) throw new Error(`there is no row ${what}`)
      // Six operations of each weight and token, when attention's are taken off.
      return (flopsOf(r, 'model') * r.tensor * r.data * r.stages / r.batch / r.seq - 12 * r.layers * r.heads * (r.headDim ?? r.embed / r.heads) * r.seq) / 6 / 1e9
    }
    expect(weights('MPT, H100', '7b, 2048')).toBeCloseTo(6.65, 1)
    expect(weights('MPT, H100', '70b, 2048')).toBeCloseTo(64.8, 0)
    expect(weights('MaxText', '32B')).toBeCloseTo(31.4, 0)
    expect(weights('MaxText', '1024B on 1 × 2048') / 1000).toBeCloseTo(1, 1)
    expect(weights('Megatron', '530B')).toBeCloseTo(530, -1)
    expect(weights('BLOOM', 'the run')).toBeCloseTo(176, 0)
  })
  test('have the utilisation that they were published with', () => {
    const mpt = named('MPT, A100 80').rows.find(r => r.what.startsWith('7b, 2048 tokens, 8 GPUs'))
    const bloom = named('BLOOM').rows.at(-1)
    if (mpt === undefined || bloom === undefined) throw new Error('rows are missing')
    // llm-foundry counts positions and biases, too.
    expect(flopsOf(mpt, 'model') / mpt.ms / 1e9 / 312).toBeCloseTo(0.64, 1)
    expect(flopsOf(bloom, 'hardware') / bloom.ms / 1e9).toBeCloseTo(149.8, -1)
  })
})

describe('machines', () => {
  test('are joined by the network where slices end', () => {
    const [one, two] = [named('MaxText').rows[0], named('MaxText').rows[1]]
    if (one === undefined || two === undefined) throw new Error('rows are missing')
    expect(machineOfRow('v5p', one).domain).toBe(8960)
    expect(machineOfRow('v5p', two).domain).toBe(64)
  })
})

describe('predictions', () => {
  test('of machines that know none of the rows are off by no more than the bench says', () => {
    const table = named('MaxText')
    const held = table.rows.slice(0, 4).map(r => predicted(table, r))
    expect(meanError(held)).toBeLessThan(8)
    // Slices joined by the hosts' network take longer, as they did.
    const [one = NaN, two = NaN, other = NaN, others = NaN] = held.map(h => h.predictedMs)
    expect(two).toBeGreaterThan(one)
    expect(others).toBeGreaterThan(other)
    expect(meanError(rescaled(held))).toBeLessThan(meanError(held))
  })
})
