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

export interface Found { readonly value: ArrayLike<number>; readonly slope: ArrayLike<number> }
/** What one program makes of the numbers of each function: its values, and its slopes. */
export async function swept(fs: readonly Function1[], dtype: Swept, xs: readonly (Float32Array | Float64Array)[], backend: Backend): Promise<Found[]> {
  const inputs = xs.map((x, i) => input(`x${i}`, [dim(`n${i}`, x.length)], dtype) as T)
  const program = await compile((given: readonly T[]) => fs.map(({ f }, i) => {
    const x = given[i] ?? inputs[0] as T
    return { value: f(x), slope: grad((p: T) => expectDims(f(p).sum(), []))(x) }
  }), [inputs], { mesh: mesh({}), layout: {}, backend })
  const found: Found[] = []
  for (const { value, slope } of await program([...xs])) {
    found.push({ value: Array.from(await value.read(), Number), slope: Array.from(await slope.read(), Number) })
    value.dispose()
    slope.dispose()
  }
  program.dispose()
  return found
}

/** XLA sets numbers below the normal ones to 0, those given, those on the way and results. */
function off(got: number, exact: number, least: number, dtype: Swept, floor: number): number {
  const small = (y: number): boolean => dtype !== 'f16' && Math.abs(y) < least * 16
  return small(got) && small(exact) ? 0 : ulpsOff(got, exact, dtype, floor)
}

/** The number at which a program is furthest from what is exact, `exact` of the i-th number. */
export function worstOf(f: Function1, of: 'value' | 'slope', dtype: Swept, xs: ArrayLike<number>, got: ArrayLike<number>, exact: (i: number) => number): Worst {
  const least = 2 ** formats[dtype].least
  // Where a slope goes through 0 no digits of it are left; what is then right is its distance from 0.
  const floor = of === 'slope' && f.turns === true ? 1 / 4 : 0
  let worst: Worst = { name: f.name, of, ulps: 0, x: 0, got: 0, exact: 0 }
  for (let i = 0; i < xs.length; i++) {
    const [x, y] = [xs[i] ?? NaN, got[i] ?? NaN]
    const wanted = [exact(i), ...(dtype !== 'f16' && x !== 0 && Math.abs(x) < least ? [f[of](0), f[of](-0)] : [])]
    const ulps = Math.min(...wanted.map(e => off(y, e, least, dtype, floor)))
    if (!(ulps <= worst.ulps)) worst = { name: f.name, of, ulps, x, got: y, exact: wanted[0] ?? NaN }
  }
  return worst
}
