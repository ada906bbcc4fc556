/** Values of the reference evaluator: floats always in f64, whatever the graph says, so that it can judge f32. */
import { sizeOf, type Dim } from '../../core/dim.ts'
import { isFloat, type DType, type TypedArray } from '../../core/dtype.ts'
import type { TensorType } from '../node.ts'

export type Data = Float64Array | Int32Array | Uint32Array | Uint8Array | Int8Array
export interface Value extends TensorType { readonly data: Data }

export function allocate(dtype: DType, length: number): Data {
  if (isFloat(dtype)) return new Float64Array(length)
  if (dtype === 'u32') return new Uint32Array(length)
  if (dtype === 'bool' || dtype === 'u8') return new Uint8Array(length)
  if (dtype === 'i8') return new Int8Array(length)
  // Values are doubles here, so i64 is exact only up to 2⁵³.
  return dtype === 'i64' ? new Float64Array(length) : new Int32Array(length)
}

export const empty = (type: TensorType): Value => ({ ...type, data: allocate(type.dtype, sizeOf(type.shape)) })

/** A value from host data in the type's row-major order. */
export function valueOf(type: TensorType, data: ArrayLike<number> | TypedArray): Value {
  const v = empty(type)
  if (data.length !== v.data.length) throw new Error(`${data.length} elements given for ${v.data.length}`)
  for (let i = 0; i < data.length; i++) v.data[i] = Number(data[i])
  return v
}

/** Steps through `walked`, row-major, giving for each position the offset into a tensor of shape `of`; dims it lacks count as 0. */
export function offsets(walked: readonly Dim[], of: readonly Dim[]): Int32Array {
  const strides = walked.map(d => {
    const at = of.findIndex(e => e.name === d.name)
    return at < 0 ? 0 : sizeOf(of.slice(at + 1))
  })
  const total = sizeOf(walked)
  const result = new Int32Array(total)
  const index = new Array<number>(walked.length).fill(0)
  for (let i = 0, offset = 0; i < total; i++) {
    result[i] = offset
    for (let k = walked.length - 1; k >= 0; k--) {
      const [stride = 0, at = 0, size = 1] = [strides[k], index[k], walked[k]?.size]
      offset += stride
      if (at + 1 < size) { index[k] = at + 1; break }
      offset -= stride * size
      index[k] = 0
    }
  }
  return result
}
