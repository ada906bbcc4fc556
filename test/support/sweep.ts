/** Functions of one number over the whole range of a dtype, values and slopes, and how far they are from what is exact. */
import type { DType } from '../../src/core/dtype.ts'
import { bf16FromBits, f16FromBits } from '../../src/core/half-precision.ts'
import { compile, dim, expectDims, grad, input, mesh, type Backend } from '../../src/engine/index.ts'
import type { Tensor } from '../../src/graph/types.ts'
import type { Function1 } from './functions.ts'
import { formats, ulpsOff } from './ulp.ts'
import { draw } from './values.ts'

type T = Tensor<string>
export type Swept = Extract<DType, 'f64' | 'f32' | 'f16' | 'bf16'>
export interface Worst { readonly name: string; readonly of: 'value' | 'slope'; readonly ulps: number; readonly x: number; readonly got: number; readonly exact: number }

/** Every `step`-th of all halves, from a place that the seed says. */
export const halvesBy = (dtype: 'bf16' | 'f16', step: number, seed: number): Float32Array => {
  const from = Math.floor(draw(seed, 0) * step)
  return Float32Array.from({ length: Math.floor((2 ** 16 - from + step - 1) / step) }, (_, i) => (dtype === 'bf16' ? bf16FromBits : f16FromBits)(from + i * step))
}

/** So many numbers at every exponent and sign, and those between −20 and 20 where functions bend. */
export function singles(density: number, seed: number): Float32Array {
  const xs: number[] = [0, -0, Infinity, -Infinity, NaN, 2 ** -127, -(2 ** -130), 1, -1]
  for (let e = -126; e <= 127; e++) {
    for (let i = 0; i < density; i++) {
      const x = 2 ** e * (1 + draw(seed, e * density + i + 1e6))
      xs.push(x, -x)
    }
  }
  for (let i = 0; i < 400 * density; i++) xs.push(draw(seed + 1, i) * 2 - 1, draw(seed + 2, i) * 20 - 10, draw(seed + 3, i) * 240 - 120, 1 + (draw(seed + 4, i) - 0.5) / 64)
  return Float32Array.from(xs)
}

/** What programs make of the numbers, for each function: its values, and its slopes. */
export async function swept(fs: readonly Function1[], dtype: Swept, xs: Float32Array | Float64Array, backend: Backend): Promise<{ value: ArrayLike<number>; slope: ArrayLike<number> }[]> {
  const x = input('x', [dim('n', xs.length)], dtype) as T
  const program = await compile((given: T) => fs.map(({ f }) => ({
    value: f(given), slope: grad((p: T) => expectDims(f(p).sum(), []))(given),
  })), [x], { mesh: mesh({}), layout: {}, backend })
  const results = await program(xs)
  const read = []
  for (const { value, slope } of results) {
    read.push({ value: Array.from(await value.read(), Number), slope: Array.from(await slope.read(), Number) })
    value.dispose()
    slope.dispose()
  }
  program.dispose()
  return read
}

/** XLA sets numbers below the normal ones to 0, those given, those on the way and results. */
function off(got: number, exact: (x: number) => number, x: number, dtype: Swept): number {
  const least = 2 ** formats[dtype].least
  const small = (y: number): boolean => dtype !== 'f16' && Math.abs(y) < 4 * least
  const wanted = small(x) && Math.abs(x) < least ? [exact(x), exact(0), exact(-0)] : [exact(x)]
  return Math.min(...wanted.map(e => (small(got) && small(e) ? 0 : ulpsOff(got, e, dtype))))
}

export function worstOf(f: Function1, dtype: Swept, xs: ArrayLike<number>, got: { readonly value: ArrayLike<number>; readonly slope: ArrayLike<number> }): Worst[] {
  return (['value', 'slope'] as const).map(of => {
    let worst: Worst = { name: f.name, of, ulps: 0, x: 0, got: 0, exact: 0 }
    for (let i = 0; i < xs.length; i++) {
      const [x, y] = [xs[i] ?? NaN, got[of][i] ?? NaN]
      const ulps = off(y, f[of], x, dtype)
      if (ulps > worst.ulps) worst = { name: f.name, of, ulps, x, got: y, exact: f[of](x) }
    }
    return worst
  })
}
