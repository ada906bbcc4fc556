/** Division, remainders and powers: of integers by exact arithmetic, of floats as NumPy has them, on both backends. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dtypes, type DType, type TypedArray } from '../../src/core/dtype.ts'
import { openBackend, type Backend } from '../../src/engine/index.ts'
import { results } from './run.ts'

type Integer = 'i8' | 'u8' | 'i32' | 'u32' | 'i64'
const wrap = (dtype: Integer, x: bigint): bigint => (dtypes[dtype].kind === 'uint' ? BigInt.asUintN : BigInt.asIntN)(8 * dtypes[dtype].bytes, x)
const abs = (x: bigint): bigint => (x < 0n ? -x : x)
/** ⌊a / b⌋ of whole numbers without bounds. */
const floored = (a: bigint, b: bigint): bigint => { const q = abs(a) / abs(b); return (a < 0n) === (b < 0n) ? q : abs(a) % abs(b) === 0n ? -q : -q - 1n }
/** What docs/language.md says of division by zero: all ones, and the dividend is left. */
const exact = (dtype: Integer, a: bigint, b: bigint): { [name: string]: bigint } => {
  const q = b === 0n ? wrap(dtype, -1n) : floored(a, b)
  return {
    floorDiv: wrap(dtype, q), mod: b === 0n ? a : wrap(dtype, a - q * b), div: b === 0n ? wrap(dtype, -1n) : wrap(dtype, a / b), rem: b === 0n ? a : a % b,
  }
}
const powerOf = (dtype: Integer, a: bigint, b: bigint): bigint => (b >= 0n ? wrap(dtype, a ** b) : a === 1n ? 1n : a === -1n ? (b % 2n === 0n ? 1n : -1n) : 0n)

const range = (dtype: Integer): readonly [bigint, bigint] => {
  const bits = BigInt(8 * dtypes[dtype].bytes)
  return dtypes[dtype].kind === 'uint' ? [0n, 2n ** bits - 1n] : [-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n]
}
function pairs(dtype: Integer): [bigint, bigint][] {
  const [low, high] = range(dtype)
  const few = [low, low + 1n, low + 2n, low / 2n, -100n, -7n, -3n, -2n, -1n, 0n, 1n, 2n, 3n, 7n, 64n, 100n, high / 2n, high / 2n + 1n, high - 1n, high, 2n ** 53n + 1n, -(2n ** 53n) - 1n]
  const values = high < 256n ? Array.from({ length: 256 }, (_, i) => low + BigInt(i)) : few.filter(x => x >= low && x <= high)
  return values.flatMap(a => values.map((b): [bigint, bigint] => [a, b]))
}
const column = (dtype: DType, values: readonly (bigint | number)[]): TypedArray => {
  const array = dtypes[dtype].view(new ArrayBuffer(values.length * dtypes[dtype].bytes))
  values.forEach((x, i) => { array[i] = (dtype === 'i64' ? x : Number(x)) as never })
  return array
}

const numpy = JSON.parse(readFileSync(new URL('golden/division.json', import.meta.url), 'utf8')) as { readonly [dtype: string]: readonly string[] }
const same = (x: number, y: number): boolean => Object.is(x, y)

describe.each(['cpu', 'simulate'])('%s', plugin => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin, devices: 1, cache: false }) })
  afterAll(async () => { await backend.close() })

  test.each(['i8', 'u8', 'i32', 'u32', 'i64'] as const)('%s divides', async dtype => {
    const all = pairs(dtype)
    const found = await results([dtype, dtype], [column(dtype, all.map(p => p[0])), column(dtype, all.map(p => p[1]))],
      (a, b) => ({ floorDiv: a.floorDiv(b), mod: a.mod(b), div: a.div(b), rem: a.rem(b) }), backend)
    const wrong = all.flatMap(([a, b], i) => Object.entries(exact(dtype, a, b)).filter(([name, y]) => BigInt(found[name as 'mod'][i] ?? 0) !== y)
      .map(([name, y]) => `${a} ${name} ${b} = ${found[name as 'mod'][i]}, not ${y}`))
    expect(wrong).toEqual([])
  })

  test.each(['i8', 'u8', 'i32', 'u32', 'i64'] as const)('%s powers', async dtype => {
    const all = pairs(dtype).filter(([, b]) => abs(b) < 300n)
    const found = await results([dtype, dtype], [column(dtype, all.map(p => p[0])), column(dtype, all.map(p => p[1]))], (a, b) => ({ pow: a.pow(b) }), backend)
    expect(all.flatMap(([a, b], i) => (BigInt(found.pow[i] ?? 0) === powerOf(dtype, a, b) ? [] : [`${a} ** ${b} = ${found.pow[i]}, not ${powerOf(dtype, a, b)}`]))).toEqual([])
  })

  test.each(['f64', 'f32', 'f16'] as const)('%s divides as in NumPy', async dtype => {
    const rows = (numpy[dtype] ?? []).map(r => r.split(' ').map(Number) as [number, number, number, number])
    expect(rows.length).toBeGreaterThan(300)
    const floats = dtype === 'f64' ? Float64Array : Float32Array
    const found = await results([dtype, dtype], [floats.from(rows.map(r => r[0])), floats.from(rows.map(r => r[1]))], (a, b) => ({ floorDiv: a.floorDiv(b), mod: a.mod(b) }), backend)
    const wrong = rows.flatMap(([a, b, q, r], i) => (same(Number(found.floorDiv[i]), q) && same(Number(found.mod[i]), r) ? []
      : [`${a} by ${b}: ${found.floorDiv[i]} and ${found.mod[i]}, not ${q} and ${r}`]))
    expect(wrong).toEqual([])
  })

  test('a known exponent', async () => {
    const x = Int32Array.of(-3, -1, 0, 1, 2, 3)
    const found = await results(['i32'], [x], a => ({ square: a.pow(2), large: a.pow(65), inverse: a.pow(-1) }), backend)
    const powers = (b: bigint): number[] => [...x].map(a => Number(powerOf('i32', BigInt(a), b)))
    expect(found).toEqual({ square: powers(2n), large: powers(65n), inverse: powers(-1n) })
  })

  test('bf16: the quotient and what it leaves are the dividend', async () => {
    const values = [1, 0.7, -1, 6, 0.1, -0.3, 100, 3.5, -257, 1e-3].map(x => Math.fround(x))
    const all = values.flatMap(a => values.map((b): [number, number] => [a, b]))
    const widen = (k: 0 | 1): Float32Array => Float32Array.from(all, p => p[k])
    const found = await results(['f32', 'f32'], [widen(0), widen(1)], (a, b) => {
      const [x, y] = [a.cast('bf16'), b.cast('bf16')]
      return { x: x.cast('f64'), y: y.cast('f64'), q: x.floorDiv(y).cast('f64'), r: x.mod(y).cast('f64') }
    }, backend)
    all.forEach((_, i) => {
      const [x = 0, y = 0, q = 0, r = 0] = [found.x, found.y, found.q, found.r].map(c => Number(c[i]))
      expect(Math.abs(q - Math.floor(x / y))).toBeLessThanOrEqual(Math.abs(q) * 2 ** -8)
      expect(r === 0 || Math.sign(r) === Math.sign(y)).toBe(true)
      if (Math.abs(q) < 256) expect(Math.abs(q * y + r - x)).toBeLessThanOrEqual(Math.abs(y) * 2 ** -8)
    })
  })
})
