/** Numbers for tests: drawn from a seed, compared by relative error. */
import { sizeOf } from '../../src/core/dim.ts'
import { threefry2x32 } from '../../src/core/threefry.ts'
import { hostArray, isFloat, type TypedArray } from '../../src/core/dtype.ts'
import type { TensorType } from '../../src/graph/node.ts'

/** In [0, 1), a pure function of its arguments. */
export const draw = (seed: number, i: number): number => threefry2x32(seed, 11, i, 0) / 2 ** 32

/** A seed of a name (FNV-1a), so that a case draws the same numbers whichever others run with it. */
export function seedOf(name: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  return hash >>> 1
}

/** Host data of a type: floats in (low, high), (−1, 1) where nothing else is said; integers from `low`, else 0, up to below `below`. */
export function drawn(type: TensorType, seed: number, { low, high, below }: { readonly low?: number; readonly high?: number; readonly below?: number } = {}): TypedArray {
  const data = hostArray(type.dtype, sizeOf(type.shape))
  const [from, to] = isFloat(type.dtype) ? [low ?? -1, high ?? 1] : [low ?? 0, below ?? (type.dtype === 'bool' ? 2 : 4)]
  for (let i = 0; i < data.length; i++) {
    const x = from + (to - from) * draw(seed, i)
    const value = isFloat(type.dtype) ? x : Math.floor(x)
    data[i] = (type.dtype === 'i64' ? BigInt(value) : value) as never
  }
  return data
}

/** ‖a − b‖ / ‖b‖, with a floor so that zeros may be compared. NaN counts as infinitely far. */
export function relativeError(a: ArrayLike<number> | TypedArray, b: ArrayLike<number> | TypedArray): number {
  if (a.length !== b.length) return Infinity
  let [difference, size] = [0, 0]
  for (let i = 0; i < b.length; i++) {
    const [x, y] = [Number(a[i]), Number(b[i])]
    difference += (x - y) ** 2
    size += y ** 2
  }
  const error = Math.sqrt(difference) / Math.max(Math.sqrt(size), 1e-3)
  return Number.isNaN(error) ? Infinity : error
}
