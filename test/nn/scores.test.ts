/** Options of attention, each against plain loops in f64: scale, soft cap, bias, sliding windows, grouped heads, biases of projections; gradients by finite differences. */
import { describe, expect, test } from 'vitest'
import { DimError } from '../../src/core/errors.ts'
import { dims, expectDims, full, input, iota, type AnyTensor } from '../../src/engine/index.ts'
import { attention, seeing, selfAttention, softCapped, type AttentionOptions, type Seeing, type Visibility } from '../../src/nn/index.ts'
import { gradientError } from '../autodiff/differences.ts'
import { given, valueOfTensor, type Operand, type T } from '../graph/support.ts'
import { draw } from '../support/values.ts'

const d = dims({ batch: 2, seq: 5, kvSeq: 5, kvHeads: 2, group: 3, headDim: 4, embed: 6, heads: 2 })
type Shape = Parameters<typeof given>[0]
const random = (shape: Shape, seed: number, scale = 1): Operand => given(shape, Array.from({ length: shape.reduce((n, e) => n * e.size, 1) }, (_, i) => scale * (2 * draw(seed, i) - 1)))
const near = (found: readonly number[], expected: readonly number[]): void => {
  expect(found.length).toBe(expected.length)
  found.forEach((n, i) => { expect(n).toBeCloseTo(expected[i] ?? NaN, 12) })
}
const number = (o: Operand, i: number): number => o.data[i] ?? NaN
const code = (f: () => unknown): string => { try { f(); return 'none' } catch (e) { return e instanceof DimError ? `${e.code}: ${e.problem.what}` : String(e) } }

const q = random([d.batch, d.seq, d.kvHeads, d.group, d.headDim], 1, 2)
const k = random([d.batch, d.kvSeq, d.kvHeads, d.headDim], 2, 2)
const v = random([d.batch, d.kvSeq, d.kvHeads, d.headDim], 3)
const bias = random([d.kvHeads, d.group, d.seq, d.kvSeq], 4)

interface Plain { readonly scale?: number; readonly softCap?: number; readonly bias?: boolean; readonly sees?: (i: number, j: number, batch: number) => boolean }
/** Attention with grouped heads in plain loops; a query that sees nothing gets 0. */
function plain({ scale = 0.5, softCap, bias: added = false, sees = () => true }: Plain): number[] {
  const found: number[] = []
  for (let b = 0; b < 2; b++) for (let i = 0; i < 5; i++) for (let h = 0; h < 2; h++) for (let g = 0; g < 3; g++) {
    const scores = Array.from({ length: 5 }, (_, j) => {
      let s = 0
      for (let e = 0; e < 4; e++) s += number(q, (((b * 5 + i) * 2 + h) * 3 + g) * 4 + e) * number(k, ((b * 5 + j) * 2 + h) * 4 + e)
      s *= scale
      if (softCap !== undefined) s = softCap * Math.tanh(s / softCap)
      return added ? s + number(bias, ((h * 3 + g) * 5 + i) * 5 + j) : s
    })
    const shares = scores.map((s, j) => (sees(i, j, b) ? Math.exp(s) : 0))
    const sum = shares.reduce((a, x) => a + x, 0)
    for (let e = 0; e < 4; e++) found.push(shares.reduce((a, p, j) => a + (sum === 0 ? 0 : p / sum) * number(v, ((b * 5 + j) * 2 + h) * 4 + e), 0))
  }
  return found
}
type Options = AttentionOptions<string>
const attended = (options: Options, [x, y, z]: readonly (T | undefined)[] = []): AnyTensor => expectDims(attention(x ?? q.tensor, y ?? k.tensor, z ?? v.tensor, { headDim: 'headDim' as string, kvSeq: 'kvSeq' as string }, options), q.tensor.shape)
const segments = given([d.batch, d.seq], [0, 0, 1, 1, 1, 3, 2, 2, 2, 2], 'i32')
const prefix = given([d.batch, d.seq], [1, 1, 0, 0, 0, 1, 1, 1, 0, 0], 'bool')
const seen = (how: Seeing): Visibility => seeing(d.seq, d.kvSeq, how)
const segmentOf = (b: number, i: number): number => number(segments, b * 5 + i)

const cases: readonly (readonly [string, Plain, Options])[] = [
  ['all', {}, {}],
  ['a scale', { scale: 0.3 }, { scale: 0.3 }],
  ['a soft cap', { softCap: 0.7 }, { softCap: 0.7 }],
  ['a bias after the cap', { softCap: 0.7, bias: true }, { softCap: 0.7, bias: bias.tensor }],
  ['causal', { sees: (i, j) => j <= i }, { visible: seen({}) }],
  ['a sliding window', { sees: (i, j) => j <= i && i - j < 2 }, { visible: seen({ window: 2 }) }],
  ['a window of one sees itself', { sees: (i, j) => i === j }, { visible: seen({ window: 1 }) }],
  ['a window wider than the sequence', { sees: (i, j) => j <= i }, { visible: seen({ window: 9 }) }],
  ['a window to both sides', { sees: (i, j) => Math.abs(i - j) < 2 }, { visible: seen({ causal: false, window: 2 }) }],
  ['a window that the program knows', { sees: (i, j) => j <= i && i - j < 3 }, { visible: seen({ window: full(3, [], 'i32') }) }],
  ['documents', { sees: (i, j, b) => j <= i && segmentOf(b, i) === segmentOf(b, j) }, { visible: seen({ segments: segments.tensor }) }],
  ['documents, a window, a cap and a bias', { softCap: 0.7, bias: true, sees: (i, j, b) => j <= i && i - j < 2 && segmentOf(b, i) === segmentOf(b, j) }, { softCap: 0.7, bias: bias.tensor, visible: seen({ segments: segments.tensor, window: 2 }) }],
  ['a prefix in documents', { sees: (i, j, b) => (j <= i || number(prefix, b * 5 + j) === 1) && segmentOf(b, i) === segmentOf(b, j) }, { visible: seen({ segments: segments.tensor, prefix: prefix.tensor }) }],
  ['a prefix in a window', { sees: (i, j, b) => (j <= i || number(prefix, b * 5 + j) === 1) && Math.abs(i - j) < 3 }, { visible: seen({ prefix: prefix.tensor, window: 3 }) }],
]
describe.each(cases)('attention of grouped heads: %s', (_, how, options) => {
  test('is what loops make of it', () => { near(valueOfTensor(attended(options), q, k, v, bias, segments, prefix), plain(how)) })
  test('its gradient is that of what it is', () => {
    const floats = [q, k, v, ...(how.bias === true ? [bias] : [])]
    const error = gradientError(x => attended(how.bias === true && x[3] !== undefined ? { ...options, bias: x[3] } : options, x.slice(0, 3)), options.visible === undefined ? floats : [...floats, segments, prefix], 5)
    expect(error).toBeLessThan(1e-6)
  })
})

test('a bias over fewer dims than the scores has a gradient summed over the others', () => {
  for (const isolate of [false, true]) {
    const slopes = random([d.group, d.kvSeq], 7)
    const error = gradientError(([x, y, z, b]) => attended({ softCap: 2, visible: seen({}), isolate, ...(b === undefined ? {} : { bias: b }) }, [x, y, z]), [q, k, v, slopes], 6)
    expect(error, String(isolate)).toBeLessThan(1e-6)
  }
})

test('projections with biases', () => {
  const x = random([d.batch, d.seq, d.embed], 8)
  const names = ['query', 'key', 'value'] as const
  const weights = Object.fromEntries([...names.map((n, i) => [n, random([d.heads, d.headDim, d.embed], 10 + i)] as const), ['out', random([d.embed, d.heads, d.headDim], 13)] as const])
  const biases = Object.fromEntries([...names.map((n, i) => [`${n}Bias`, random([d.heads, d.headDim], 20 + i)] as const), ['outBias', random([d.embed], 23)] as const])
  const all = { ...weights, ...biases }
  const tensors = Object.fromEntries(Object.entries(all).map(([n, o]) => [n, o.tensor])) as never
  const of = (n: string, i: number): number => number(all[n] ?? x, i)
  const project = (n: string, b: number, i: number, h: number, e: number): number => Array.from({ length: 6 }, (_, c) => number(x, (b * 5 + i) * 6 + c) * of(n, (h * 4 + e) * 6 + c)).reduce((s, y) => s + y, of(`${n}Bias`, h * 4 + e))
  const expected: number[] = []
  for (let b = 0; b < 2; b++) for (let i = 0; i < 5; i++) for (let c = 0; c < 6; c++) {
    let sum = of('outBias', c)
    for (let h = 0; h < 2; h++) {
      const shares = Array.from({ length: i + 1 }, (_, j) => Math.exp(Array.from({ length: 4 }, (_, e) => project('query', b, i, h, e) * project('key', b, j, h, e)).reduce((s, y) => s + y, 0) / 2))
      const total = shares.reduce((s, y) => s + y, 0)
      for (let e = 0; e < 4; e++) sum += of('out', (c * 2 + h) * 4 + e) * shares.reduce((s, p, j) => s + p / total * project('value', b, j, h, e), 0)
    }
    expected.push(sum)
  }
  near(valueOfTensor(expectDims(selfAttention(x.tensor, tensors, d as never) as AnyTensor, x.tensor.shape), x, ...Object.values(all)), expected)
})

test('soft caps', () => {
  const x = random([d.embed], 9, 5)
  near(valueOfTensor(softCapped(x.tensor, 2), x), Array.from(x.data, n => 2 * Math.tanh(n / 2)))
})

test('refuses options that are none', () => {
  const f = (options: Options): string => code(() => attended(options))
  expect(f({ scale: 0 })).toBe('option: attention: scale is 0')
  expect(f({ softCap: -1 })).toBe('option: attention: softCap is -1')
  expect(code(() => seeing(d.seq, d.kvSeq, { window: 0 }))).toBe('option: attention: window is 0')
  expect(code(() => seeing(d.seq, d.kvSeq, { window: 1.5 }))).toBe('option: attention: window is 1.5')
  expect(code(() => seeing(d.seq, d.kvSeq, { window: iota(d.seq) as never }))).toBe('option: attention: window is i32 over seq')
  expect(f({ bias: input('b', [d.embed]) as never })).toContain('no-broadcast')
})
