/** Distances between floats, in units of the last place of what is exact. */
import type { DType } from '../../src/core/dtype.ts'

export type Float = Extract<DType, 'f64' | 'f32' | 'f16' | 'bf16'>
/** Bits after the leading one, the exponent of the least normal number, and the largest finite one. */
export const formats: { readonly [D in Float]: { readonly bits: number; readonly least: number; readonly most: number } } = {
  f64: { bits: 52, least: -1022, most: Number.MAX_VALUE }, f32: { bits: 23, least: -126, most: (2 - 2 ** -23) * 2 ** 127 },
  bf16: { bits: 7, least: -126, most: (2 - 2 ** -7) * 2 ** 127 }, f16: { bits: 10, least: -14, most: 65504 },
}

/** From one number of the dtype to the next, at `exact`; below the normal numbers as at the least of them. */
export function ulp(exact: number, dtype: Float): number {
  const { bits, least } = formats[dtype]
  let exponent = Math.floor(Math.log2(Math.abs(exact)))
  // The logarithm may be rounded up to the next whole number.
  if (2 ** exponent > Math.abs(exact)) exponent--
  return 2 ** (Math.max(exponent, least) - bits)
}

/** How far a number of the dtype is from the exact one, in last places of that, or of `floor` if it is smaller. */
export function ulpsOff(got: number, exact: number, dtype: Float, floor = 0): number {
  if (Number.isNaN(exact) || Number.isNaN(got)) return Number.isNaN(exact) && Number.isNaN(got) ? 0 : Infinity
  if (got === exact) return 0
  const { most, bits } = formats[dtype]
  const last = most * 2 ** -bits / 2
  // Infinity counts as the number that would come after the largest.
  const near = (x: number): number => (Math.abs(x) > most + last * 2 ? Math.sign(x) * (most + last) : x)
  return Math.abs(near(got) - near(exact)) / (Math.abs(exact) > most ? last : ulp(Math.max(Math.abs(exact), floor), dtype))
}
