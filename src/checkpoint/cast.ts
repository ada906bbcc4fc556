/** Numbers of one dtype as those of another, on the host. */
import { dtypes, isFloat, isHalf, type DType, type TypedArray } from '../core/dtype.ts'
import { halvesOf, numbersOf } from '../core/half-precision.ts'

/** Floats become any other float, rounded once; nothing else changes its kind. */
export const canCast = (from: DType, to: DType): boolean => from === to || (isFloat(from) && isFloat(to))

export function castHost(data: TypedArray, from: DType, to: DType): TypedArray {
  if (from === to) return data
  const numbers = numbersOf(data, from) as Float32Array | Float64Array
  return isHalf(to) ? halvesOf(numbers, to) : to === 'f64' ? Float64Array.from(numbers) : Float32Array.from(numbers)
}

/** Bytes as elements; they must lie as their width asks. */
export const elementsOf = (bytes: Uint8Array<ArrayBuffer>, dtype: DType): TypedArray => dtypes[dtype].view(bytes.buffer, bytes.byteOffset, bytes.byteLength / dtypes[dtype].bytes)
