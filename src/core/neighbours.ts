/** The numbers of a float type next to a given one. */
import type { DType } from './dtype.ts'

/** Significant bits, the power of two that the smallest number is, and the largest finite number. */
const floats: { readonly [D in DType]?: readonly [bits: number, least: number, most: number] } = {
  f64: [53, -1074, Number.MAX_VALUE], f32: [24, -149, (2 - 2 ** -23) * 2 ** 127], bf16: [8, -133, (2 - 2 ** -7) * 2 ** 127], f16: [11, -24, 65504], f8e4m3fn: [4, -9, 448], f8e5m2: [3, -16, 57344],
}
const of = (dtype: DType): readonly [bits: number, least: number, most: number] => floats[dtype] ?? [53, -1074, Number.MAX_VALUE]

/** Significant bits of a float type. */
export const bitsOf = (dtype: DType): number => of(dtype)[0]
/** The largest finite number of a float type. */
export const mostOf = (dtype: DType): number => of(dtype)[2]

const words = new DataView(new ArrayBuffer(8))
function exponent(x: number): number {
  words.setFloat64(0, x)
  const biased = words.getUint32(0) >>> 20 & 0x7ff
  return biased === 0 ? -1074 : biased - 1023
}
/** From a number of this size to the next one of the type: a power of two. */
export function spacing(x: number, dtype: DType): number {
  const [bits, least] = of(dtype)
  return 2 ** Math.max(exponent(x) - bits + 1, least)
}
/** The largest number of the type that is not above x. */
export const downTo = (x: number, dtype: DType): number => {
  const most = mostOf(dtype)
  return x >= most ? most : x < -most ? -Infinity : Math.floor(x / spacing(x, dtype)) * spacing(x, dtype)
}
/** The smallest number of the type that is not below x. */
export const upTo = (x: number, dtype: DType): number => -downTo(-x, dtype)
/** The largest number of the type below x, which is finite. */
export function below(x: number, dtype: DType): number {
  if (x === 0) return -(2 ** of(dtype)[1])
  words.setFloat64(0, x)
  words.setBigInt64(0, words.getBigInt64(0) + (x > 0 ? -1n : 1n))
  return downTo(words.getFloat64(0), dtype)
}
