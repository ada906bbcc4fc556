/** How the interpreter holds arrays: floats of 16 and of 8 bits as f32 numbers of their precision, the others as the host does. */
import { isBits, type DType, type TypedArray } from '../../core/dtype.ts'
import { roundEight } from '../../core/eight-bit-floats.ts'
import { bitsOfFloats, numbersOf, roundBf16, roundF16 } from '../../core/half-precision.ts'

/** One device's array. It is never written again once the op that made it is done, so devices and values may share it. */
export type Store = Float64Array | Float32Array | BigInt64Array | Int32Array | Uint32Array | Int8Array | Uint8Array
/** An element of a store: a bigint for i64, otherwise a number; 0 or 1 for bool. */
export type Scalar = number | bigint
/** A store whose element type the code at hand need not know. */
export interface Cells { readonly length: number; [index: number]: Scalar }
/** Which arithmetic an element type takes. */
export type Family = 'float' | 'int' | 'big' | 'bool'

interface Element {
  readonly family: Family
  readonly bits: number
  readonly make: (length: number) => Store
  /** The element that a result of arithmetic becomes: rounded or wrapped around. */
  readonly narrow: (x: never) => Scalar
}

const floats = { make: (n: number) => new Float32Array(n), family: 'float' } as const
export const elements: { readonly [K in DType]: Element } = {
  f64: { family: 'float', bits: 64, make: n => new Float64Array(n), narrow: (x: number) => x },
  f32: { ...floats, bits: 32, narrow: Math.fround },
  bf16: { ...floats, bits: 16, narrow: roundBf16 },
  f16: { ...floats, bits: 16, narrow: roundF16 },
  f8e4m3fn: { ...floats, bits: 8, narrow: (x: number) => roundEight(x, 'f8e4m3fn') },
  f8e5m2: { ...floats, bits: 8, narrow: (x: number) => roundEight(x, 'f8e5m2') },
  i64: { family: 'big', bits: 64, make: n => new BigInt64Array(n), narrow: (x: bigint) => BigInt.asIntN(64, x) },
  i32: { family: 'int', bits: 32, make: n => new Int32Array(n), narrow: (x: number) => x | 0 },
  u32: { family: 'int', bits: 32, make: n => new Uint32Array(n), narrow: (x: number) => x >>> 0 },
  i8: { family: 'int', bits: 8, make: n => new Int8Array(n), narrow: (x: number) => x << 24 >> 24 },
  u8: { family: 'int', bits: 8, make: n => new Uint8Array(n), narrow: (x: number) => x & 0xff },
  bool: { family: 'bool', bits: 1, make: n => new Uint8Array(n), narrow: (x: number) => x },
}
export const isUnsigned = (dtype: DType): boolean => dtype === 'u32' || dtype === 'u8'
/** `narrow` for code that handles scalars of any kind. */
export const narrowOf = (dtype: DType): ((x: Scalar) => Scalar) => elements[dtype].narrow as (x: Scalar) => Scalar

export function toHost(store: Store, dtype: DType): TypedArray {
  return isBits(dtype) ? bitsOfFloats(store as Float32Array, dtype) : store.slice()
}

/** Takes the array over, so give it one of its own. */
export function fromHost(data: TypedArray, dtype: DType): Store {
  if (isBits(dtype)) return numbersOf(data, dtype) as Float32Array
  // A bool is any byte on the host, and 0 or 1 here.
  return dtype === 'bool' ? (data as Uint8Array).map(x => (x === 0 ? 0 : 1)) : data as Store
}

/** Makes a freshly computed store hold elements of its type: only floats of 16 and of 8 bits need it. */
export function settle(store: Store, dtype: DType): Store {
  if (!isBits(dtype)) return store
  const narrow = elements[dtype].narrow as (x: number) => number
  for (let i = 0; i < store.length; i++) store[i] = narrow(store[i] as number)
  return store
}
