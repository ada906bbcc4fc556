/** Norms, rotary embeddings and low-rank adaptation, each against plain loops in f64; gradients by finite differences; halves. */
import { describe, expect, test } from 'vitest'
import { dims, input, iota, type AnyTensor } from '../../src/engine/index.ts'
import { DimError } from '../../src/core/errors.ts'
import { lora, rmsNorm, rotary, type Rotary } from '../../src/nn/index.ts'
import { gradientError } from '../autodiff/differences.ts'
import { given, valueOfTensor, type Operand, type T } from '../graph/support.ts'
import { draw } from '../support/values.ts'

const d = dims({ batch: 2, seq: 3, heads: 2, embed: 6, hidden: 4, rank: 2 })
// The dims of these operands are unknown to the compiler: so are the names.
const embed: string = 'embed'
type Shape = Parameters<typeof given>[0]
const random = (shape: Shape, seed: number): Operand => given(shape, Array.from({ length: shape.reduce((n, e) => n * e.size, 1) }, (_, i) => 2 * draw(seed, i) - 1))
const near = (found: readonly number[], expected: readonly number[], digits = 12): void => {
  expect(found.length).toBe(expected.length)
  found.forEach((n, i) => expect(n).toBeCloseTo(expected[i] ?? NaN, digits))
}
const number = (o: Operand, i: number): number => o.data[i] ?? NaN
const code = (f: () => unknown): string => { try { f(); return 'none' } catch (e) { return e instanceof DimError ? `${e.code}: ${e.problem.what}` : String(e) } }

describe('rmsNorm', () => {
  test.each([[[d.batch, d.seq, d.embed], 1], [[d.embed, d.batch], 2]] as const)('of dims in any order: %j', (shape, inner) => {
    const [x, gain] = [random(shape, 1), random([d.embed], 2)]
    const stride = inner === 1 ? 1 : d.batch.size
    const expected = Array.from(x.data, (value, i) => {
      const e = Math.floor(i / stride) % d.embed.size
      const row = Array.from({ length: d.embed.size }, (_, k) => number(x, i + (k - e) * stride))
      return value / Math.sqrt(row.reduce((s, n) => s + n * n, 0) / row.length + 1e-6) * number(gain, e)
    })
    near(valueOfTensor(rmsNorm(x.tensor, embed, gain.tensor), x, gain), expected)
  })
  test('its gradient is that of what it is, with an ε that counts, too', () => {
    for (const epsilon of [1e-6, 0.5]) {
      expect(gradientError(([x, gain]) => (x === undefined || gain === undefined ? given([], []).tensor : rmsNorm(x, embed, gain, epsilon)), [random([d.batch, d.embed], 3), random([d.embed], 4)], 5)).toBeLessThan(1e-6)
    }
  })
  test('of halves is of their dtype, and refuses what does not fit', () => {
    const x = input('x', [d.batch, d.embed], 'bf16') as AnyTensor as T
    expect(rmsNorm(x, embed, input('gain', [d.embed]) as AnyTensor as T).dtype).toBe('bf16')
    expect(code(() => rmsNorm(x, 'embd' as string, input('gain', [d.embed]) as AnyTensor as T))).toBe('no-such-dim: rmsNorm: the tensor has no dim "embd"')
    expect(code(() => rmsNorm(x, embed, input('gain', [d.batch]) as AnyTensor as T))).toBe('unexpected-dims: the tensor has other dims than expected')
    expect(code(() => rmsNorm(x, embed, input('gain', [d.embed]) as AnyTensor as T, -1))).toBe('option: rmsNorm: epsilon is -1')
  })
})

describe('rotary', () => {
  const pairOf = (pairs: Rotary['pairs'], n: number, j: number): { readonly pair: number; readonly partner: number; readonly sign: number } =>
    pairs === 'neighbours' ? { pair: Math.floor(j / 2), partner: j % 2 === 0 ? j + 1 : j - 1, sign: j % 2 === 0 ? -1 : 1 }
      : { pair: j % (n / 2), partner: (j + n / 2) % n, sign: j < n / 2 ? -1 : 1 }
  test.each(['halves', 'neighbours'] as const)('turns %s, wherever the dims lie', pairs => {
    const n = d.embed.size
    for (const base of [10000, 50]) {
      const x = random([d.batch, d.seq, d.embed], 6)
      const expected = Array.from(x.data, (value, i) => {
        const [j, position] = [i % n, Math.floor(i / n) % d.seq.size]
        const { pair, partner, sign } = pairOf(pairs, n, j)
        const angle = position * base ** (-2 * pair / n)
        return value * Math.cos(angle) + sign * number(x, i - j + partner) * Math.sin(angle)
      })
      near(valueOfTensor(rotary(x.tensor, embed, iota(d.seq) as AnyTensor as T, { base, pairs }), x), expected)
    }
  })
  test('products depend on how far positions are apart, and lengths stay', () => {
    const [q, k] = [random([d.embed], 7), random([d.embed], 8)]
    for (const pairs of ['halves', 'neighbours'] as const) {
      const product = (a: Operand, i: number, b: Operand, j: number): number => {
        const at = [given([], [i]), given([], [j])] as const
        const [x, y] = [rotary(a.tensor, embed, at[0].tensor, { pairs }), rotary(b.tensor, embed, at[1].tensor, { pairs })]
        return valueOfTensor(x.dot(y, embed), q, k, ...at)[0] ?? NaN
      }
      expect(product(q, 4, k, 1)).toBeCloseTo(product(q, 9, k, 6), 12)
      expect(Math.abs(product(q, 4, k, 1) - product(q, 4, k, 2))).toBeGreaterThan(1e-3)
      expect(product(q, 7, q, 7)).toBeCloseTo(Array.from(q.data).reduce((s, n) => s + n * n, 0), 12)
    }
  })
  test('of positions that are given, one for each example: a cache is read so', () => {
    const x = random([d.batch, d.embed], 9)
    const positions = given([d.batch], [5, 2], 'i32')
    const n = d.embed.size
    const expected = Array.from(x.data, (value, i) => {
      const { pair, partner, sign } = pairOf('halves', n, i % n)
      const angle = (i < n ? 5 : 2) * 10000 ** (-2 * pair / n)
      return value * Math.cos(angle) + sign * number(x, i - i % n + partner) * Math.sin(angle)
    })
    near(valueOfTensor(rotary(x.tensor, embed, positions.tensor), x, positions), expected)
  })
  test('its gradient turns back', () => {
    for (const pairs of ['halves', 'neighbours'] as const) {
      expect(gradientError(([x]) => rotary(x ?? given([], []).tensor, embed, iota(d.seq) as AnyTensor as T, { pairs }), [random([d.seq, d.heads, d.embed], 10)], 11)).toBeLessThan(1e-6)
    }
  })
  test('refuses what has no pairs, and options that are none', () => {
    const x = input('x', [d.batch, d.seq]) as AnyTensor as T
    const positions = iota(d.batch) as AnyTensor as T
    expect(code(() => rotary(x, 'seq' as string, positions))).toBe('option: rotary: dim "seq" of size 3 has no pairs')
    expect(code(() => rotary(x, 'batch' as string, iota(d.seq) as AnyTensor as T, { base: -1 }))).toBe('option: rotary: base is -1')
    expect(code(() => rotary(x, 'batch' as string, iota(d.seq) as AnyTensor as T, { pairs: 'both' as never }))).toBe('option: rotary: pairs is "both"')
    expect(code(() => rotary(x.cast('i32'), 'batch' as string, iota(d.seq) as AnyTensor as T))).toContain('dtype: rotary')
    expect(code(() => rotary(x, 'hidden' as string, positions))).toBe('no-such-dim: rotary: the tensor has no dim "hidden"')
  })
})

describe('lora', () => {
  test('is a contraction with w + scale · down · up', () => {
    const operands = [random([d.batch, d.embed], 12), random([d.embed, d.hidden], 13), random([d.embed, d.rank], 14), random([d.rank, d.hidden], 15)] as const
    const [x, w, down, up] = operands
    const [e, h, r] = [d.embed.size, d.hidden.size, d.rank.size]
    const sum = (n: number, f: (i: number) => number): number => Array.from({ length: n }, (_, i) => f(i)).reduce((s, v) => s + v, 0)
    const expected = Array.from({ length: d.batch.size * h }, (_, i) => {
      const [row, column] = [Math.floor(i / h), i % h]
      return sum(e, k => number(x, row * e + k) * (number(w, k * h + column) + 1.5 * sum(r, m => number(down, k * r + m) * number(up, m * h + column))))
    })
    const y = lora(x.tensor, w.tensor, { down: down.tensor, up: up.tensor }, { over: [embed], rank: d.rank as never, scale: 1.5 })
    expect(y.shape.map(s => s.name)).toEqual(['batch', 'hidden'])
    near(valueOfTensor(y, ...operands), expected)
  })
  test('over several dims, as the weight that joins heads', () => {
    const operands = [random([d.batch, d.heads, d.hidden], 16), random([d.heads, d.hidden, d.embed], 17), random([d.heads, d.hidden, d.rank], 18), random([d.rank, d.embed], 19)] as const
    const [x, w, down, up] = operands
    const how = { over: ['heads' as string, 'hidden' as string], rank: d.rank as never }
    const merged = w.tensor.add(down.tensor.dot(up.tensor, 'rank'))
    near(valueOfTensor(lora(x.tensor, w.tensor, { down: down.tensor, up: up.tensor }, how), ...operands), valueOfTensor(x.tensor.dot(merged, 'heads', 'hidden'), ...operands))
  })
})
