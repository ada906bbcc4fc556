/** Numbers of one dtype as those of another, on the host. */
import { dtypes, isBits, isFloat, type DType, type TypedArray } from '../core/dtype.ts'
import { bitsOfFloats, numbersOf } from '../core/half-precision.ts'
import type { StoredTensor } from '../formats/index.ts'

/** Floats become any other float, rounded once; nothing else changes its kind. */
export const canCast = (from: DType, to: DType): boolean => from === to || (isFloat(from) && isFloat(to))

export function castHost(data: TypedArray, from: DType, to: DType): TypedArray {
  if (from === to) return data
  const numbers = numbersOf(data, from) as Float32Array | Float64Array
  return isBits(to) ? bitsOfFloats(numbers, to) : to === 'f64' ? Float64Array.from(numbers) : Float32Array.from(numbers)
}

/** Bytes as elements; they must lie as their width asks. */
export const elementsOf = (bytes: Uint8Array<ArrayBuffer>, dtype: DType): TypedArray => dtypes[dtype].view(bytes.buffer, bytes.byteOffset, bytes.byteLength / dtypes[dtype].bytes)

/** A tensor of halves or f32, read as f32. */
export const widened = <T extends Pick<StoredTensor, 'dtype' | 'tag' | 'read'>>(tensor: T): T => {
  const { dtype } = tensor
  if (dtype === undefined || dtype === 'f32') return tensor
  const width = dtypes[dtype].bytes
  return {
    ...tensor, dtype: 'f32', tag: 'F32',
    async read(into, at) {
      const [from, to] = [Math.floor(at / 4), Math.ceil((at + into.byteLength) / 4)]
      const bytes = new Uint8Array((to - from) * width)
      await tensor.read(bytes, from * width)
      const wide = castHost(elementsOf(bytes, dtype), dtype, 'f32')
      into.set(new Uint8Array(wide.buffer as ArrayBuffer, wide.byteOffset).subarray(at - 4 * from, at - 4 * from + into.byteLength))
    },
  }
}
