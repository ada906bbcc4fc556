/** Conversions between all dtypes but those of 8 bits, judged by exact arithmetic, on both backends. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dtypes, isEight, isFloat, type DType, type TypedArray } from '../../src/core/dtype.ts'
import { compile, dim, input, mesh, openBackend, type Backend } from '../../src/engine/index.ts'
import type { Tensor } from '../../src/graph/types.ts'
import { formats, type Float } from '../support/ulp.ts'
import { draw } from '../support/values.ts'
import { results } from './run.ts'

type T = Tensor<string>
type Exact = number | bigint

/** x = n · 2ᵉ, of x above 0. */
function parts(x: Exact): { readonly n: bigint; readonly e: number } {
  if (typeof x === 'bigint') return { n: x, e: 0 }
  let [n, e] = [x, 0]
  while (!Number.isInteger(n)) { n *= 2; e-- }
  return { n: BigInt(n), e }
}
/** The nearest number of a dtype, of two the even one. */
function nearest(x: Exact, dtype: Float): number {
  if (x === 0 || x === 0n || Number.isNaN(x) || Math.abs(Number(x)) === Infinity) return Number(x)
  if (x < 0) return -nearest(-x as Exact, dtype)
  const { bits, least, most } = formats[dtype]
  const { n, e } = parts(x)
  const step = Math.max(n.toString(2).length - 1 + e, least) - bits
  const shift = BigInt(Math.max(step - e, 0))
  const [down, rest, half] = [n >> shift, n & ((1n << shift) - 1n), shift === 0n ? 0n : 1n << (shift - 1n)]
  const rounded = shift === 0n ? n << BigInt(e - step) : rest > half || (rest === half && (down & 1n) === 1n) ? down + 1n : down
  const y = Number(rounded) * 2 ** step
  return y > most ? Infinity : y
}
function converted(x: Exact, to: DType): Exact {
  if (isFloat(to)) return nearest(x, to as Float)
  if (to === 'bool') return x === 0 || x === 0n ? 0 : 1
  const [bits, uint] = [8 * dtypes[to].bytes, dtypes[to].kind === 'uint']
  if (typeof x === 'bigint') return (uint ? BigInt.asUintN : BigInt.asIntN)(bits, x)
  const [low, high] = uint ? [0n, 2n ** BigInt(bits) - 1n] : [-(2n ** BigInt(bits - 1)), 2n ** BigInt(bits - 1) - 1n]
  if (Number.isNaN(x)) return 0n
  const whole = Number.isFinite(x) ? BigInt(Math.trunc(x)) : x > 0 ? high : low
  return whole < low ? low : whole > high ? high : whole
}

/** Ties of halves and of f32, and their neighbours. */
const ties = [1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -24, 65519, 65520, 65503.5, 257, 259, 2049, 2051, 3.3961775292304601e38, 2 ** -24 * 1.5, 2 ** -25, 1000.5]
const floats: readonly number[] = [
  0, -0, 1, -1, 0.5, 2.5, -2.5, 127.9, 128, -128.9, -129, 255.9, 256, 2 ** 31, 2 ** 31 - 0.5, -(2 ** 31) - 1, 2 ** 32, 2 ** 63, -(2 ** 63), 1e30, -1e30, Infinity, -Infinity, NaN,
  ...ties.flatMap(x => [x, x * (1 + 2 ** -40), x * (1 - 2 ** -40), -x, -x * (1 + 2 ** -45)]),
  ...Array.from({ length: 200 }, (_, i) => (draw(3, i) - 0.5) * 2 ** Math.floor(draw(4, i) * 60 - 20)),
]
const whole: readonly bigint[] = [
  0n, 1n, -1n, 127n, 128n, 255n, 256n, -128n, -129n,
  ...[8, 11, 16, 17, 24, 25, 27, 30, 31, 32, 33, 38, 39, 40, 46, 47, 52, 53, 54, 55, 61, 62, 63].flatMap(k => [0n, 1n, -1n].flatMap(d => [8n, 11n, 24n, 53n].flatMap(p => {
    // A power of two, a tie after it, and numbers next to that.
    const tie = 2n ** BigInt(k) + (BigInt(k) > p ? 2n ** (BigInt(k) - p) : 0n)
    return [2n ** BigInt(k) + d, tie + d, -tie + d, tie + 2n ** BigInt(Math.max(k - Number(p) + 1, 0)) + d]
  }))),
]
// Floats of 8 bits are made of other floats alone; test/autodiff/fp8.test.ts judges them.
const types = (Object.keys(dtypes) as DType[]).filter(t => !isEight(t))
const most = 2n ** 63n
function valuesOf(from: DType): TypedArray {
  const { kind, bytes, view } = dtypes[from]
  const make = (xs: readonly Exact[]): TypedArray => { const a = view(new ArrayBuffer(xs.length * bytes)); xs.forEach((x, i) => { a[i] = x as never }); return a }
  if (from === 'bool') return Uint8Array.of(0, 1)
  if (kind === 'float') return from === 'f64' ? Float64Array.from(floats) : Float32Array.from(floats.map(x => nearest(x, from as Float)))
  const fitting = whole.filter(x => x >= -most && x < most).map(x => (kind === 'uint' ? BigInt.asUintN : BigInt.asIntN)(8 * bytes, x))
  return make(from === 'i64' ? fitting : fitting.map(Number))
}
/** XLA sets numbers of these dtypes below the normal ones to 0. */
const flushed = (x: Exact, to: DType): boolean => (to === 'f32' || to === 'bf16') && Math.abs(Number(x)) < 2 ** -126

describe.each(['cpu', 'simulate'])('%s', plugin => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin, devices: 1, cache: false }) })
  afterAll(async () => { await backend.close() })

  test.each(types)('from %s', async from => {
    const given = valuesOf(from)
    const integer = dtypes[from].kind === 'int' || dtypes[from].kind === 'uint'
    const found = await results([from], [given], x => Object.fromEntries(types.map(to => [to, x.cast(to)])) as { readonly [D in DType]: T }, backend)
    const wrong = types.flatMap(to => [...given].flatMap((x, i) => {
      const exact = from === 'bool' || integer ? BigInt(x) : x
      const [got, want] = [found[to][i] ?? NaN, converted(exact, to)]
      const same = isFloat(to) ? Object.is(Number(got), Number(want)) || (flushed(want, to) && Number(got) === 0) : BigInt(got) === BigInt(want)
      return same ? [] : [`${x} from ${from} to ${to} is ${got}, not ${want}`]
    }))
    expect(wrong).toEqual([])
  })

  test.each(['bf16', 'f16'] as const)('f64 arrays of the host given for %s', async dtype => {
    const given = Float64Array.from(floats)
    const n = dim('n', given.length)
    const x = input('x', [n], dtype) as T
    const program = await compile((x: T) => x.neg(), [x], { mesh: mesh({}), layout: {}, backend })
    const out = await program(given)
    const got = [...await out.read()].map(y => -Number(y))
    out.dispose()
    program.dispose()
    expect(floats.flatMap((y, i) => (Object.is(got[i], nearest(y, dtype)) || flushed(nearest(y, dtype), dtype) ? [] : [`${y} is ${got[i]}`]))).toEqual([])
  })
})

test('the judge', () => {
  expect([1 + 2 ** -8, 1 + 3 * 2 ** -8, 1e39].map(x => nearest(x, 'bf16'))).toEqual([1, 1 + 2 ** -6, Infinity])
  expect([65519.999, 65520, 2 ** -25, 2 ** -25 * 1.001].map(x => nearest(x, 'f16'))).toEqual([65504, Infinity, 0, 2 ** -24])
  expect([0.1, 1e300, 16777217].map(x => nearest(x, 'f32'))).toEqual([0.1, 1e300, 16777217].map(Math.fround))
})
