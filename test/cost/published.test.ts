/** Steps that others published: data as their sources have it, and a few of them predicted as the bench predicts all. */
import { describe, expect, test } from 'vitest'
import { meanError } from '../../bench/foresight/held.ts'
import { plannedRow, type GptRow } from '../../bench/foresight/planned-gpt.ts'
import { drawnByKind } from '../../bench/foresight/fit.ts'
import { asSaid, fittedFactors, scaled } from '../../bench/foresight/published/factors.ts'
import { machineOfRow } from '../../bench/foresight/published/machines.ts'
import { flopsOf, predicted, rescaled } from '../../bench/foresight/published/section.ts'
import { publishedTables, type Published, type Table } from '../../bench/foresight/published/tables.ts'
import { contractionMs, productFlops } from '../../src/cost/price.ts'

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
    expect(weights('MaxText', '32B')).toBeCloseTo(32.5, 1)
    expect(weights('MaxText', '64B')).toBeCloseTo(64.8, 1)
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

describe('what is planned', () => {
  const multiplied = (r: Published): number => plannedRow(r).tasks.reduce((sum, t) => sum + t.times * (t.kind === 'product' ? productFlops(t.product) : 0), 0)
  const rowOf = (start: string, what: string): Published => {
    const found = named(start).rows.find(r => r.what.startsWith(what))
    if (found === undefined) throw new Error(`there is no row ${what}`)
    return found
  }
  const large = rowOf('Megatron', '22B, all again')
  const deep = rowOf('Megatron', '175B, all again')
  test('is as many operations as the hardware did, where layers are computed again as a whole; a twelfth of a layer forward less, where only what is needed is', () => {
    expect(multiplied(large) / flopsOf(large, 'hardware')).toBeCloseTo(1, 3)
    const { embed, layers, seq, batch, tensor } = large
    expect(multiplied(large) - multiplied({ ...large, recompute: 'needed' })).toBeCloseTo(layers * 2 * batch * seq * 4 * embed * embed / tensor, -3)
  })
  test('idles a part as long in an interleaved schedule, and sends more often', () => {
    const plain = plannedRow({ ...deep, rounds: 1 })
    const sends = ({ tasks }: typeof plain): number => tasks.reduce((sum, t) => sum + (t.kind === 'collective' && t.collective === 'permute' ? t.times : 0), 0)
    expect(sends(plannedRow(deep)) / sends(plain)).toBeCloseTo(3 * (64 + 7 / 3) / (64 + 7), 2)
    const attention = ({ tasks }: typeof plain): number => tasks.reduce((sum, t) => sum + (t.kind === 'product' && t.product.k === 128 ? t.times : 0), 0)
    expect(attention(plannedRow(deep)) / attention(plain)).toBeCloseTo((64 + 7 / 3) / (64 + 7), 5)
  })
  test('sends an eighth from stage to stage where eight devices have the same, and gathers it there', () => {
    const { tasks } = plannedRow(deep)
    const part = 2 * deep.seq * deep.embed / 8
    const sent = tasks.flatMap(t => (t.kind === 'collective' && t.collective === 'permute' ? [t.bytes] : []))
    expect(sent.length).toBeGreaterThan(0)
    for (const bytes of sent) expect(bytes).toBe(part)
    expect(tasks.some(t => t.kind === 'collective' && t.collective === 'all-gather' && t.axes.join() === 'model' && t.bytes === part)).toBe(true)
  })
  test('has the products that a kernel of attention makes, whatever ours would: two there, five back, and two again where the layer is, or the kernel', () => {
    const short = rowOf('MPT, A100 80', '125m, 512 tokens')
    const attended = (r: Published): readonly number[] => ['attention', 'attentionBack'].map(name =>
      plannedRow(r).tasks.reduce((sum, t) => sum + (t.kind === 'memory' ? t.times * t.operations.reduce((n, [op, , count]) => n + (op === name ? count : 0), 0) : 0), 0))
    // One product of a query with the half of the keys that it sees, two operations for each number of a head, and of a block of 128 with all of those that it is in.
    const one = short.batch / short.data * short.seq * (short.seq + 128) * short.embed * short.layers
    expect(attended({ ...short, recompute: 'nothing' }).map(n => n / one)).toEqual([expect.closeTo(2, 5), expect.closeTo(5, 5)])
    expect(attended({ ...short, recompute: 'layers' }).map(n => n / one)).toEqual([expect.closeTo(4, 5), expect.closeTo(5, 5)])
    expect(attended({ ...short, recompute: 'nothing', attends: { block: 128, back: 7, again: true } }).map(n => n / one)).toEqual([expect.closeTo(4, 5), expect.closeTo(7, 5)])
  })
  test('has products of attention that are computed again beside what is kept: eight in all', () => {
    const multipliedBy = (r: Published): number => plannedRow(r).tasks.reduce((sum, t) => sum + (t.kind === 'product' && [t.product.m, t.product.n, t.product.k].filter(side => side === r.seq).length > 1 ? t.times * productFlops(t.product) : 0), 0)
    const { embed, layers, seq, batch, tensor } = large
    expect(multipliedBy({ ...large, sequence: true, recompute: 'scores' }) / (2 * batch * layers * seq * seq * embed / tensor)).toBeCloseTo(8, 5)
  })
  test('waits for the stage with most to do: of the run, that of six layers, or the last of five and the logits, and of no stage that has both', () => {
    const run = rowOf('BLOOM', 'the run')
    const { embed, seq, vocab, tensor, microbatch, perStage = [] } = run
    expect([perStage.length, perStage[0], perStage[1], perStage[11]]).toEqual([12, 5, 6, 5])
    const ofLayers = (layers: number): number => multiplied({ ...run, perStage: Array.from({ length: 12 }, () => layers) })
    const logits = 128 * 3 * 2 * microbatch * seq * embed * vocab / tensor
    const [five, six] = [ofLayers(5), ofLayers(6) - logits]
    expect(multiplied(run) / Math.max(five, six)).toBeCloseTo(1, 6)
    expect(multiplied({ ...run, perStage: [...Array.from({ length: 11 }, () => 7), 1] }) / (ofLayers(7) - logits)).toBeCloseTo(1, 6)
  })
  test('has what FSDP copies of gradients: eighteen bytes of a weight and microbatch where they are reduced in f32, ten fewer in bf16', () => {
    const row = { ...rowOf('MPT, A100 80', '125m, 2048'), embed: 256, heads: 4, layers: 2, vocab: 1024, microbatch: 2, batch: 32 }
    const { fsdp: _, ...plain } = row
    const weights = flopsOf({ ...row, recompute: 'nothing' }, 'model') * row.data / row.batch / row.seq / 6 - 2 * row.layers * row.embed * row.seq + row.seq * row.embed
    const read = (r: GptRow): number => plannedRow(r).tasks.reduce((sum, t) => sum + (t.kind === 'memory' ? t.times * t.bytes : 0), 0)
    const [narrow, wide] = [{ ...plain, fsdp: 'bf16' }, { ...plain, fsdp: 'f32' }] as const
    // Norms and biases are few beside these.
    expect((read(wide) - read(narrow)) / weights).toBeCloseTo(2 * 10, 0)
    const reduced = (r: GptRow): number => plannedRow(r).tasks.reduce((sum, t) => sum + (t.kind === 'collective' && t.collective === 'reduce-scatter' ? t.times * t.bytes : 0), 0)
    expect(reduced(wide) / reduced(narrow)).toBeCloseTo(2, 5)
  })
  test('is MaxText of 2023: in a layer one gathering of what both parts read and two sums on the way there, one of each on the way back, and two of each at the ends, of parts of `embed`', () => {
    const row = rowOf('MaxText', '32B on 1')
    const small = { ...row, embed: 512, heads: 4, headDim: 64, hidden: 1024, vocab: 1024, layers: 2, seq: 256, batch: row.batch / 8, microbatch: row.microbatch / 8 }
    const { embed, heads, headDim = 0, hidden = 0, layers, seq, vocab, tensor } = small
    const tokens = small.microbatch * seq
    // Looking rows up is a product there and one back, beside the logits' three; what is kept is not multiplied again.
    expect(multiplied(small) * tensor).toBeCloseTo(6 * tokens * layers * (4 * embed * heads * headDim + 2 * embed * hidden) + (6 + 4) * tokens * vocab * embed, -3)
    const along = (name: string): number => plannedRow(small).tasks.reduce((sum, t) => sum + (t.kind === 'collective' && t.collective === name && t.axes.join() === 'model' && t.bytes > 1e4 ? t.times : 0), 0)
    expect([along('reduce-scatter'), along('all-gather')]).toEqual([3 * layers + 2, 2 * layers + 2])
  })
  test('has no rows looked up where others wait for logits', () => {
    const often = plannedRow(deep).tasks.filter(t => t.kind === 'memory' && t.times >= 64 && t.operations.some(([op]) => op === 'scatter'))
    expect(often).toEqual([])
  })
})

describe('factors', () => {
  const [row] = named('MPT, H100').rows
  if (row === undefined) throw new Error('rows are missing')
  const machine = machineOfRow('8xh100', row)
  test('of one change no price, and none makes a rate that is above its peak', () => {
    const product = { m: 8192, n: 8192, k: 8192, batch: 1, dtype: 'bf16' } as const
    expect(contractionMs(scaled(machine, asSaid), product)).toBe(contractionMs(machine, product))
    expect(contractionMs(scaled(machine, { ...asSaid, product: 1.3 }), product)).toBeGreaterThanOrEqual(1000 * productFlops(product) / 989e12)
  })
  test('are found where they are, and stay where nothing tells them', () => {
    const found = fittedFactors(v => 100 * Math.abs((v['product'] ?? 1) / 0.8 - 1), 6)
    expect(found['product']).toBeGreaterThan(0.78)
    expect(found['product']).toBeLessThan(0.83)
    for (const other of ['memory', 'attention', 'latency', 'between']) expect(Math.abs(Math.log(found[other] ?? NaN)), other).toBeLessThan(0.15)
  })
  test('are fitted to one row of each part, whichever the seed draws', () => {
    const list = Array.from({ length: 50 }, (_, i) => i)
    const of = (seed: number): readonly number[] => drawnByKind(list, 5, seed, n => String(n).padStart(3, '0')).sample
    for (const seed of [1, 2, 3]) expect(of(seed).map(n => Math.floor(n / 10))).toEqual([0, 1, 2, 3, 4])
    expect(of(1)).toEqual(of(1))
    expect(of(1)).not.toEqual(of(2))
    expect(drawnByKind(list, 5, 1, String).rest.length).toBe(45)
  })
})

describe('machines', () => {
  test('whose host waits for each kernel launch none ahead', () => {
    const [run] = named('BLOOM').rows
    if (run === undefined) throw new Error('rows are missing')
    const [ahead, waiting] = [machineOfRow('megatron', run).overhead, machineOfRow('bigscience', run).overhead]
    expect(waiting).toEqual({ ...ahead, kernelUs: ahead.kernelUs + ahead.launchUs, launchUs: 0 })
  })
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
    expect(meanError(held)).toBeLessThan(3)
    // Slices joined by the hosts' network take longer, as they did.
    const [one = NaN, two = NaN, other = NaN, others = NaN] = held.map(h => h.predictedMs)
    expect(two).toBeGreaterThan(one)
    expect(others).toBeGreaterThan(other)
    expect(meanError(rescaled(held))).toBeLessThan(meanError(held))
  })
})
