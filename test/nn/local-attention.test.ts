/** Local attention and talking heads: plain attention with masks, and einsums written out. */
import { describe, expect, test } from 'vitest'
import { broadcast, dims, expectDims, input, iota, loose, mesh as meshOf, plan, vjp, type Dim, type Tensor } from '../../src/engine/index.ts'
import { attention, localAttention, talkingHeadsAttention } from '../../src/nn/index.ts'
import { given, valueOfTensor, valuesOf, type Operand, type T } from '../graph/support.ts'
import { draw } from '../support/values.ts'

const random = (shape: Parameters<typeof given>[0], seed: number): Operand => given(shape, Array.from({ length: shape.reduce((n, e) => n * e.size, 1) }, (_, i) => 2 * draw(seed, i) - 1))
/** The same along one dim more. */
const over = (x: T, dim: Dim): T => loose(broadcast<string, readonly Dim[]>(x, [dim]))
const d = dims({ batch: 2, seq: 8, kvSeq: 8, heads: 2, headDim: 3 })
const shape = [d.batch, d.seq, d.heads, d.headDim] as const
type X = Tensor<'batch' | 'seq' | 'heads' | 'headDim'>

describe('localAttention', () => {
  const [q, k, v, g] = [1, 2, 3, 4].map(seed => random(shape, seed))
  const operands = [q, k, v, g] as Operand[]
  const segments = given([d.batch, d.seq], [1, 1, 1, 2, 2, 2, 2, 2, 5, 5, 5, 5, 5, 5, 7, 7], 'i32')
  /** The same by plain attention: which block a position is in says what it sees. */
  const masked = (block: number, causal: boolean, packed: boolean) => (q: X, k: X, v: X): T => {
    const [i, j] = [iota(d.seq), iota(d.kvSeq)]
    const [rows, columns] = [over(loose(i), d.kvSeq), over(loose(j), d.seq)]
    const distance = rows.div(block).sub(columns.div(block))
    const near = distance.lessEqual(1).and(distance.greaterEqual(causal ? 0 : -1))
    const seen = causal ? near.and(rows.greaterEqual(columns)) : near
    const s = loose(segments.tensor)
    const visible = packed ? over(s, d.kvSeq).equal(over(loose(s.rename('seq', 'kvSeq' as never)), d.seq)).and(seen) : seen
    const there = (x: X): T => loose(loose(x).rename('seq', 'kvSeq' as never))
    return loose(attention<string, string, string, string, string, string, string>(loose(q), there(k), there(v), { headDim: 'headDim', kvSeq: 'kvSeq' }, { visible, isolate: packed }))
  }
  test.each([[2, true, false], [4, true, false], [8, true, false], [1, true, false], [2, false, false], [2, true, true], [4, false, true]])('blocks of %i, causal %s, packed %s: as plain attention, gradients too', (block, causal, packed) => {
    const options = { block, causal, ...(packed ? { segments: segments.tensor as Tensor<'batch' | 'seq'> } : {}) }
    const local = (q: X, k: X, v: X): T => loose(localAttention(q, k, v, { headDim: 'headDim', seq: 'seq' }, options))
    const results = [local, masked(block, causal, packed)].map(f => {
      const { value, pull } = vjp((q: X, k: X, v: X) => expectDims(f(q, k, v), shape))(q?.tensor as X, k?.tensor as X, v?.tensor as X)
      return valuesOf([value, ...pull(g?.tensor as X)], [...operands, segments])
    })
    const far = Math.max(...(results[0] ?? []).flatMap((t, i) => t.map((x, j) => Math.abs(x - (results[1]?.[i]?.[j] ?? NaN)))))
    expect(far).toBeLessThan(1e-12)
  })
  test('along a split sequence neighbours exchange one block', () => {
    const xs = ['q', 'k', 'v'].map(name => input(name, [d.batch, d.seq, d.heads, d.headDim])) as [X, X, X]
    const f = (q: X, k: X, v: X) => localAttention(q, k, v, { headDim: 'headDim', seq: 'seq' }, { block: 2 })
    const found = plan(f, xs, { mesh: meshOf({ line: 2 }), layout: { seq: 'line' } }).collectives
    expect(new Set(found.map(c => c.kind))).toEqual(new Set(['permute']))
  })
  test('refuses blocks that do not divide the sequence', () => {
    expect(() => localAttention(q?.tensor as X, k?.tensor as X, v?.tensor as X, { headDim: 'headDim', seq: 'seq' }, { block: 3 })).toThrow(/blocks of 3 do not divide "seq" of size 8/)
  })
})

describe('talkingHeadsAttention', () => {
  const e = dims({ batch: 2, seq: 3, kvSeq: 4, keyHeads: 2, heads: 3, valueHeads: 4, headDim: 5, valueDim: 2 })
  const all = {
    q: random([e.batch, e.seq, e.keyHeads, e.headDim], 5), k: random([e.batch, e.kvSeq, e.keyHeads, e.headDim], 6), v: random([e.batch, e.kvSeq, e.valueHeads, e.valueDim], 7), scores: random([e.keyHeads, e.heads], 8), shares: random([e.heads, e.valueHeads], 9),
  }
  const heads = { headDim: 'headDim', kvSeq: 'kvSeq', keyHeads: 'keyHeads', heads: 'heads' } as const
  test('is the paper\'s equations', () => {
    // The compiler knows the result's dims.
    const typed: Tensor<'batch' | 'seq' | 'valueHeads' | 'valueDim'> = expectDims(talkingHeadsAttention(
      all.q.tensor as Tensor<'batch' | 'seq' | 'keyHeads' | 'headDim'>, all.k.tensor as Tensor<'batch' | 'kvSeq' | 'keyHeads' | 'headDim'>, all.v.tensor as Tensor<'batch' | 'kvSeq' | 'valueHeads' | 'valueDim'>,
      { scores: all.scores.tensor as Tensor<'keyHeads' | 'heads'>, shares: all.shares.tensor as Tensor<'heads' | 'valueHeads'> }, heads), [e.batch, e.seq, e.valueHeads, e.valueDim])
    const found = valueOfTensor(typed, ...Object.values(all))
    const at = (o: Operand, ...i: readonly (readonly [number, number])[]): number => o.data[i.reduce((n, [index, size]) => n * size + index, 0)] ?? NaN
    const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)
    const sum = (n: number, f: (i: number) => number): number => range(n).reduce((s, i) => s + f(i), 0)
    const wanted: number[] = []
    for (const b of range(2)) for (const s of range(3)) {
      const logits = (h: number, t: number): number => sum(2, i => sum(5, x => at(all.q, [b, 2], [s, 3], [i, 2], [x, 5]) * at(all.k, [b, 2], [t, 4], [i, 2], [x, 5])) / Math.sqrt(5) * at(all.scores, [i, 2], [h, 3]))
      const share = (h: number, t: number): number => Math.exp(logits(h, t)) / sum(4, u => Math.exp(logits(h, u)))
      for (const o of range(4)) for (const y of range(2)) wanted.push(sum(4, t => sum(3, h => share(h, t) * at(all.shares, [h, 3], [o, 4])) * at(all.v, [b, 2], [t, 4], [o, 4], [y, 2])))
    }
    expect(Math.max(...wanted.map((x, i) => Math.abs(x - (found[i] ?? NaN))))).toBeLessThan(1e-12)
  })
  test('with weights that mix nothing it is attention', () => {
    const f = dims({ batch: 2, seq: 3, kvSeq: 4, keyHeads: 2, heads: 2, valueHeads: 2, headDim: 5 })
    const [q, k, v] = [random([f.batch, f.seq, f.keyHeads, f.headDim], 10), random([f.batch, f.kvSeq, f.keyHeads, f.headDim], 11), random([f.batch, f.kvSeq, f.keyHeads, f.headDim], 12)]
    const [one, other] = [given([f.keyHeads, f.heads], [1, 0, 0, 1]), given([f.heads, f.valueHeads], [1, 0, 0, 1])]
    const visible = given([f.seq, f.kvSeq], [1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0], 'bool')
    const order = [f.batch, f.seq, f.keyHeads, f.headDim] as const
    const talked = talkingHeadsAttention<string, string, string, string, string, string, string, string, string, string>(q.tensor, k.tensor, loose(v.tensor.rename('keyHeads', 'valueHeads' as never)), { scores: one.tensor, shares: other.tensor }, heads, { visible: visible.tensor })
    const plain = attention<string, string, string, string, string, string, string>(q.tensor, k.tensor, v.tensor, heads, { visible: visible.tensor })
    const [a, b] = valuesOf([expectDims(talked.rename('valueHeads', 'keyHeads' as never), order as never), expectDims(plain, order as never)], [q, k, v, one, other, visible])
    expect(Math.max(...(a ?? []).map((x, i) => Math.abs(x - (b?.[i] ?? NaN))))).toBeLessThan(1e-12)
  })
})
