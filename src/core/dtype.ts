/** The dtype table: what each element type is called in every format Meshwork reads or writes, and how it lies in memory. */

export type DType = 'f64' | 'f32' | 'bf16' | 'f16' | 'f8e4m3fn' | 'f8e5m2' | 'i64' | 'i32' | 'u32' | 'i8' | 'u8' | 'bool'
export type TypedArray = Float64Array | Float32Array | Uint16Array | BigInt64Array | Int32Array | Uint32Array | Int8Array | Uint8Array

interface DTypeInfo {
  /** Bytes an element takes on the host and on a device. */
  readonly bytes: number
  readonly kind: 'float' | 'int' | 'uint' | 'bool'
  /** The element type in StableHLO text. */
  readonly hlo: string
  /** The tag in a safetensors header. */
  readonly safetensors: string
  /** A host array over `buffer`; floats of 16 and of 8 bits are held as their bits. */
  readonly view: (buffer: ArrayBuffer, byteOffset?: number, length?: number) => TypedArray
}

export const dtypes: { readonly [K in DType]: DTypeInfo } = {
  f64: { bytes: 8, kind: 'float', hlo: 'f64', safetensors: 'F64', view: (b, o, n) => new Float64Array(b, o, n) },
  f32: { bytes: 4, kind: 'float', hlo: 'f32', safetensors: 'F32', view: (b, o, n) => new Float32Array(b, o, n) },
  bf16: { bytes: 2, kind: 'float', hlo: 'bf16', safetensors: 'BF16', view: (b, o, n) => new Uint16Array(b, o, n) },
  f16: { bytes: 2, kind: 'float', hlo: 'f16', safetensors: 'F16', view: (b, o, n) => new Uint16Array(b, o, n) },
  f8e4m3fn: { bytes: 1, kind: 'float', hlo: 'f8E4M3FN', safetensors: 'F8_E4M3', view: (b, o, n) => new Uint8Array(b, o, n) },
  f8e5m2: { bytes: 1, kind: 'float', hlo: 'f8E5M2', safetensors: 'F8_E5M2', view: (b, o, n) => new Uint8Array(b, o, n) },
  i64: { bytes: 8, kind: 'int', hlo: 'i64', safetensors: 'I64', view: (b, o, n) => new BigInt64Array(b, o, n) },
  i32: { bytes: 4, kind: 'int', hlo: 'i32', safetensors: 'I32', view: (b, o, n) => new Int32Array(b, o, n) },
  u32: { bytes: 4, kind: 'uint', hlo: 'ui32', safetensors: 'U32', view: (b, o, n) => new Uint32Array(b, o, n) },
  i8: { bytes: 1, kind: 'int', hlo: 'i8', safetensors: 'I8', view: (b, o, n) => new Int8Array(b, o, n) },
  u8: { bytes: 1, kind: 'uint', hlo: 'ui8', safetensors: 'U8', view: (b, o, n) => new Uint8Array(b, o, n) },
  bool: { bytes: 1, kind: 'bool', hlo: 'i1', safetensors: 'BOOL', view: (b, o, n) => new Uint8Array(b, o, n) },
}

export const isFloat = (dtype: DType): boolean => dtypes[dtype].kind === 'float'
/** bf16 and f16. */
export const isHalf = (dtype: DType): dtype is 'bf16' | 'f16' => isFloat(dtype) && dtypes[dtype].bytes === 2

/** Floats of 8 bits, which are moved, converted and contracted, and no more: sums and products of them are f32. */
export const isEight = (dtype: DType): dtype is 'f8e4m3fn' | 'f8e5m2' => isFloat(dtype) && dtypes[dtype].bytes === 1
/** Floats that the host has no arrays of: it holds their bits. */
export const isBits = (dtype: DType): dtype is 'bf16' | 'f16' | 'f8e4m3fn' | 'f8e5m2' => isFloat(dtype) && dtypes[dtype].bytes <= 2

/** A zeroed host array of `length` elements. */
export const hostArray = (dtype: DType, length: number): TypedArray => dtypes[dtype].view(new ArrayBuffer(length * dtypes[dtype].bytes), 0, length)
