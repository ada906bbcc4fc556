/** Random numbers: the published vectors, the moments, and the same bits on every mesh. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { threefry2x32 } from '../../src/core/threefry.ts'
import {
  bernoulli, compile, dim, dims, exponential, fold, full, gumbel, input, keyOf, mesh, normal, openBackend, randomIntegers, scan, splitKey, truncatedNormal, uniform, type AnyTensor, type Backend, type Key, type Layout, type Scalar,
} from '../../src/engine/index.ts'
import { downTo, mostOf } from '../../src/core/neighbours.ts'
import type { DType } from '../../src/core/dtype.ts'
import { make, rewrite } from '../../src/graph/make.ts'
import { reachable, shapeOf, type Node } from '../../src/graph/node.ts'
import { dropout, randomBits } from '../../src/nn/index.ts'
import { tensor } from '../../src/graph/tensor.ts'
import { given, valueOfTensor } from './support.ts'

/** Random123's kat_vectors, threefry2x32 with 20 rounds: key, counter, first word. */
const vectors = [
  [0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x6b200159],
  [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x1cb996fc],
  [0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3, 0xc4923a9c],
] as const
const { n } = dims({ n: vectors.length })
const columns = [0, 1, 2, 3].map(i => vectors.map(v => v[i] ?? 0))
const published = vectors.map(v => v[4])
const seeded = (seed: number): Key => keyOf(full(seed, [], 'i32'))
/** The value of a tensor where every draw of its shape has these words. */
function withWords(t: AnyTensor, words: readonly number[]): number[][] {
  const given_ = given(t.shape, words, 'u32')
  const order = reachable([t.node])
  const drawn = order.filter(m => m.op === 'threefry' && shapeOf(m).length > 0)
  expect(drawn.length).toBeGreaterThan(0)
  const [replaced] = rewrite([t.node], order, new Map(drawn.map((m): [Node, Node] => [m, given_.tensor.node])))
  return [valueOfTensor(tensor(replaced ?? t.node), given_)]
}

describe('Threefry-2x32-20', () => {
  test('in plain words', () => {
    expect(vectors.map(([k0, k1, c0, c1]) => threefry2x32(k0, k1, c0, c1))).toEqual(published)
  })
  test('as an op of the reference', () => {
    const words = columns.map(c => given([n], c, 'u32'))
    expect(valueOfTensor(tensor(make('threefry', words.map(w => w.tensor.node), {})), ...words)).toEqual(published)
  })
  test('as StableHLO', async () => {
    const backend = await openBackend({ plugin: 'simulate', devices: 1 })
    const words = columns.map((_, i) => input(`word${i}`, [n], 'u32'))
    const program = await compile((...w: typeof words) => tensor<'n'>(make('threefry', w.map(t => t.node), {})), words, { mesh: mesh({}), layout: {}, backend })
    const result = await program(...columns.map(c => Uint32Array.from(c)))
    expect([...await result.read()]).toEqual(published)
    result.dispose()
    await backend.close()
  })
})

describe('keys', () => {
  const { rows, cols, turns } = dims({ rows: 4, cols: 6, turns: 3 })
  const seed = input('seed', [], 'i32')
  const lone = (text: string): number => text.split('\n').filter(l => l.includes('optimization_barrier')).length

  test('of one depth are computed as one vector, that XLA does not repeat where they are used', async () => {
    const draws = (seed: Scalar) => {
      const key = keyOf(seed)
      const near = Array.from({ length: 5 }, (_, i) => randomBits(fold(key, i), [rows, cols]))
      const far = randomBits(fold(fold(fold(key, 1), seed), 2), [rows])
      return { near, far, here: randomBits(key, [cols]), walked: scan(turns, full(0, [rows], 'u32'), splitKey(key, turns), (sum, k) => [sum.add(randomBits(fold(k, 1), [rows])), {}])[0] }
    }
    const backend = await openBackend({ plugin: 'simulate', devices: 1 })
    const program = await compile(draws, [seed], { mesh: mesh({}), layout: {}, backend })
    // keyOf; the folds of it; those of a fold; those of that; and in the loop.
    expect(lone(program.text)).toBe(5)
    const got = await program(new Int32Array([7]))
    const known = draws(full(7, [], 'i32'))
    for (const [a, t] of [...got.near.map((a, i) => [a, known.near[i]] as const), [got.far, known.far] as const, [got.here, known.here] as const, [got.walked, known.walked] as const]) {
      expect([...await a.read()]).toEqual(valueOfTensor(t ?? seed))
    }
    await backend.close()
  })

  test('that need other devices are left where they are', async () => {
    const x = input('x', [rows], 'i32')
    const backend = await openBackend({ plugin: 'simulate', devices: 2 })
    const program = await compile(x => randomBits(fold(fold(keyOf(full(1, [], 'i32')), 3), x.sum()), [cols]), [x], { mesh: mesh({ x: 2 }), layout: { rows: 'x' }, backend })
    const got = await program(new Int32Array([1, 2, 3, 4]))
    expect([...await got.read()]).toEqual(valueOfTensor(randomBits(fold(fold(seeded(1), 3), 10), [cols])))
    await backend.close()
  })
})

describe('distributions', () => {
  const { many } = dims({ many: 1 << 15 })
  const moment = (v: readonly number[], k: number, centre = 0): number => v.reduce((s, x) => s + (x - centre) ** k, 0) / v.length

  test('uniform lies in [0, 1), evenly', () => {
    const v = valueOfTensor(uniform(seeded(1), [many]))
    expect(v.every(x => x >= 0 && x < 1)).toBe(true)
    expect(Math.abs(moment(v, 1) - 1 / 2)).toBeLessThan(0.006)
    expect(Math.abs(moment(v, 2, 0.5) - 1 / 12)).toBeLessThan(0.002)
    const buckets = new Array<number>(32).fill(0)
    for (const x of v) buckets[Math.floor(x * 32)]!++
    // χ² of 31 degrees of freedom passes 61 once in a thousand draws.
    expect(buckets.reduce((s, count) => s + (count - 1024) ** 2 / 1024, 0)).toBeLessThan(61)
    // 24 bits each: whole multiples of 2⁻²⁴.
    expect(v.every(x => Number.isInteger(x * 2 ** 24))).toBe(true)
  })

  test('normal has the moments of a bell', () => {
    const v = valueOfTensor(normal(seeded(2), [many]))
    expect(v.every(Number.isFinite)).toBe(true)
    expect(Math.abs(moment(v, 1))).toBeLessThan(0.02)
    expect(Math.abs(moment(v, 2) - 1)).toBeLessThan(0.03)
    expect(Math.abs(moment(v, 3))).toBeLessThan(0.06)
    expect(Math.abs(moment(v, 4) - 3)).toBeLessThan(0.2)
  })

  test('dropout zeroes its share and keeps the mean', () => {
    const v = valueOfTensor(dropout(seeded(3), full(1, [many]), 0.25))
    expect(new Set(v)).toEqual(new Set([0, 1 / 0.75]))
    expect(Math.abs(v.filter(x => x === 0).length / v.length - 0.25)).toBeLessThan(0.01)
    const x = input('x', [many])
    expect(dropout(seeded(3), x, 0)).toBe(x)
  })

  test('keys, folds and places draw independently', () => {
    const key = seeded(4)
    const draws = [uniform(key, [many]), uniform(seeded(5), [many]), uniform(fold(key, 0), [many]), uniform(fold(key, 1), [many]), uniform(fold(fold(key, 1), 1), [many])]
      .map(t => valueOfTensor(t).map(x => x - 0.5))
    for (const [i, a] of draws.entries()) {
      for (const b of draws.slice(i + 1)) expect(Math.abs(a.reduce((s, x, k) => s + x * (b[k] ?? 0), 0)) * 12 / many.size).toBeLessThan(0.025)
      expect(Math.abs(a.slice(1).reduce((s, x, k) => s + x * (a[k] ?? 0), 0)) * 12 / many.size).toBeLessThan(0.025)
    }
  })

  test('all 64 bits of a seed count, and of what is folded; a number that fits 32 gives the same in every dtype', () => {
    const bits = (key: Key): string => valueOfTensor(randomBits(key, [dim('n', 4)])).join()
    const wide = (seed: number) => full(seed, [], 'i64')
    const seeds = [0, 7, 2 ** 32, 2 ** 32 + 7, 3 * 2 ** 40, -1, 2 ** 62, -(2 ** 63)]
    expect(new Set([...seeds.map(s => bits(keyOf(wide(s)))), ...seeds.map(s => bits(fold(seeded(1), wide(s))))]).size).toBe(2 * seeds.length)
    for (const seed of [0, 7, 2 ** 31 - 1]) {
      expect([bits(keyOf(wide(seed))), bits(keyOf(full(seed, [], 'u32')))]).toEqual([bits(seeded(seed)), bits(seeded(seed))])
      const folded = bits(fold(seeded(1), seed))
      expect([bits(fold(seeded(1), wide(seed))), bits(fold(seeded(1), full(seed, [], 'i32')))]).toEqual([folded, folded])
    }
  })

  test('a word follows from its place alone: the same along a longer first dim', () => {
    const short = valueOfTensor(randomBits(seeded(6), [dim('rows', 3), dim('cols', 4)]))
    const long = valueOfTensor(randomBits(seeded(6), [dim('rows', 5), dim('cols', 4)]))
    expect(long.slice(0, short.length)).toEqual(short)
    expect(new Set(long).size).toBe(long.length)
  })
})

describe('on every mesh', () => {
  const d = dims({ a: 8, b: 4, c: 6 })
  const { a, b, c } = d
  const program = (seed: Parameters<typeof keyOf>[0]) => {
    const key = keyOf(seed)
    return { bits: randomBits(key, [a, b, c]), uniform: uniform(fold(key, 1), [b, a]), normal: normal(fold(key, seed), [a, b]), dropped: dropout(fold(key, 2), full(1, [c, a]), 0.5) }
  }
  const split: readonly (readonly [{ readonly [axis: string]: number }, Layout])[] = [
    [{ x: 2 }, { a: 'x' }], [{ x: 2 }, { b: 'x' }], [{ x: 2 }, { c: 'x' }], [{ x: 4 }, { a: 'x' }], [{ x: 8 }, { a: 'x' }],
    [{ x: 2, y: 2 }, { a: 'x', b: 'y' }], [{ x: 2, y: 2 }, { a: ['y', 'x'] }], [{ x: 2, y: 2 }, { c: 'y' }], [{ x: 2, y: 2, z: 2 }, { a: 'z', b: 'x', c: 'y' }],
  ]
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 8 }) })
  afterAll(async () => { await backend.close() })

  const run = async (sizes: { readonly [axis: string]: number }, layout: Layout): Promise<(readonly (number | bigint)[])[]> => {
    const compiled = await compile(program, [input('seed', [], 'i32')], { mesh: mesh(sizes), layout, backend, dims: d })
    expect(compiled.collectives).toEqual([])
    const result = await compiled(17)
    const arrays = [result.bits, result.uniform, result.normal, result.dropped]
    const read = await Promise.all(arrays.map(async r => [...await r.read()]))
    for (const r of arrays) r.dispose()
    compiled.dispose()
    return read
  }

  test.each(split)('%j %j: the same bits, no collective', async (sizes, layout) => {
    expect(await run(sizes, layout)).toEqual(await run({ x: 1 }, {}))
  })
})

describe('no draw that cannot be', () => {
  const { n } = dims({ n: 4 })
  test.each([['bf16', 0, 1], ['f16', 0, 1], ['f32', 1000, 1001], ['bf16', -1, 1], ['f16', 3, 5], ['f32', -3e38, 3e38], ['f64', -1e-3, 1], ['f16', 1024, 70_000], ['f32', -2, -1]] as readonly (readonly [DType, number, number])[])(
    '%s in [%d, %d): the last word gives the last number', async (dtype, low, high) => {
      // A key of which every word is all ones is not found, so words are given in the place of what Threefry makes.
      const drawn = uniform(seeded(1), [n], { dtype, low, high })
      const words = [0, 1, 0x7fffffff, 0xffffffff]
      const [values = []] = withWords(drawn, words)
      expect(values.every(x => x >= low && x < high)).toBe(true)
      expect(values).toEqual([...values].sort((a, b) => a - b))
      expect(values[3]).toBeGreaterThan(Math.min(low + (high - low) * 0.98, mostOf(dtype) * 0.98))
      expect(values.map(x => downTo(x, dtype))).toEqual(values)
    })
  test('uniform where there is next to nothing', () => {
    expect(() => uniform(seeded(1), [n], { low: 1001, high: 1002, dtype: 'bf16' })).toThrow('no bf16 lies in [1001, 1002)')
    expect(new Set(valueOfTensor(uniform(seeded(1), [n], { low: 1000, high: 1001, dtype: 'bf16' })))).toEqual(new Set([1000]))
  })
  test('others at the ends of their words', () => {
    const ends = [0, 0xffffffff, 0, 0xffffffff]
    for (const t of [normal(seeded(1), [n]), gumbel(seeded(1), [n]), exponential(seeded(1), [n]), truncatedNormal(seeded(1), [n]), truncatedNormal(seeded(1), [n], { low: 0, high: Infinity })]) {
      const [values = []] = withWords(t, ends)
      expect(values.every(Number.isFinite)).toBe(true)
    }
    expect(withWords(exponential(seeded(1), [n]), ends)[0]?.every(x => x > 0)).toBe(true)
    expect(withWords(bernoulli(seeded(1), 0, [n]), ends)).toEqual([[0, 0, 0, 0]])
    expect(withWords(bernoulli(seeded(1), 1, [n]), ends)).toEqual([[1, 1, 1, 1]])
    expect(withWords(bernoulli(seeded(1), 1e-12, [n]), ends)).toEqual([[0, 0, 0, 0]])
    expect(withWords(bernoulli(seeded(1), 1 - 2 ** -32, [n]), ends)).toEqual([[1, 0, 1, 0]])
    expect(withWords(randomIntegers(seeded(1), [n], -(2 ** 31), 2 ** 31), ends)).toEqual([[-(2 ** 31), 2 ** 31 - 1, -(2 ** 31), 2 ** 31 - 1]])
    expect(withWords(randomIntegers(seeded(1), [n], 7, 7 + 3 * 2 ** 29), ends)).toEqual([[7, 6 + 3 * 2 ** 29, 7, 6 + 3 * 2 ** 29]])
  })
})
