/** Floats that JavaScript has no arrays of. The two of 16 bits: rounding to them, and their bits; and whole arrays of these and of those of 8 bits. */
import { isBits, isEight, type DType, type TypedArray } from './dtype.ts'
import { eightBits, eightFromBits, roundEight, type EightBits } from './eight-bit-floats.ts'

const { abs, max, sign } = Math
const float = new Float32Array(1)
const word = new Uint32Array(float.buffer)
const bitsOf = (x: number): number => { float[0] = x; return word[0] as number }
const fromBits = (bits: number): number => { word[0] = bits; return float[0] as number }

/**
 * To the nearest bf16, ties to even: the upper half of an f32. What is no f32 is cut to one whose last bit is 1, which is
 * no tie: rounded to an f32 first, it might become one.
 */
export function roundBf16(x: number): number {
  if (Number.isNaN(x)) return x
  let bits = bitsOf(x)
  const single = float[0] as number
  if (single !== x) bits = (abs(single) > abs(x) ? bits - 1 : bits) | 1
  return fromBits(bits + 0x7fff + ((bits >>> 16) & 1) & 0xffff0000)
}
/** The bits of a number that is a bf16 already. */
export const bf16Bits = (x: number): number => (Number.isNaN(x) ? 0x7fc0 : bitsOf(x) >>> 16)
export const bf16FromBits = (bits: number): number => fromBits(bits << 16)

/** The power of two that `x` lies at or above. */
const exponent = (x: number): number => (bitsOf(x) >>> 23 & 0xff) - 127
/** f16 has ten bits after the leading one, and no exponent below -14. */
const spacing = (x: number): number => 2 ** (max(exponent(x), -14) - 10)
const tieToEven = (x: number): number => (x + 2 ** 52) - 2 ** 52

/** To the nearest f16, ties to even. */
export function roundF16(x: number): number {
  if (!Number.isFinite(x) || x === 0) return x
  const size = abs(x)
  if (size >= 65520) return sign(x) * Infinity
  const step = spacing(size)
  return x < 0 ? -tieToEven(size / step) * step : tieToEven(size / step) * step
}
/** The bits of a number that is an f16 already. */
export function f16Bits(x: number): number {
  if (Number.isNaN(x)) return 0x7e00
  const signBit = x < 0 || Object.is(x, -0) ? 0x8000 : 0
  const size = abs(x)
  if (size === Infinity) return signBit | 0x7c00
  const step = spacing(size)
  // A normal number's leading one carries into the exponent, which is stored one less for it.
  return signBit | (size < 2 ** -14 ? size / step : (exponent(size) + 14 << 10) + size / step)
}
export function f16FromBits(bits: number): number {
  const exponent = bits >>> 10 & 0x1f
  const fraction = bits & 0x3ff
  const size = exponent === 31 ? (fraction === 0 ? Infinity : NaN)
    : exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25)
  return bits & 0x8000 ? -size : size
}

// Whole arrays are converted by plain loops over their words: `from` with a function takes fifty times as long, and these are a model's weights.

function bf16sOf(numbers: Float32Array): Uint16Array {
  const words = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length)
  const bits = new Uint16Array(words.length)
  for (let i = 0; i < words.length; i++) {
    const w = words[i] as number
    bits[i] = (w & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : w + 0x7fff + (w >>> 16 & 1) >>> 16
  }
  return bits
}

const [inF32, inF16] = [127, 15]
const smallestNormalF16 = inF32 - 14 << 23
const beyondF16 = inF32 + 16 << 23
/** A number added to this one ends where the smallest f16s do: the sum's last bits are theirs, rounded. */
const half = inF32 - 1 << 23

function f16sOf(numbers: Float32Array): Uint16Array {
  const words = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length)
  const bits = new Uint16Array(words.length)
  for (let i = 0; i < words.length; i++) {
    const w = words[i] as number
    const size = w & 0x7fffffff
    const signBit = w >>> 16 & 0x8000
    bits[i] = size > 0x7f800000 ? 0x7e00
      : size >= beyondF16 ? signBit | 0x7c00
        : size < smallestNormalF16 ? signBit | bitsOf(abs(numbers[i] as number) + 0.5) - half
          : signBit | size - (inF32 - inF16 << 23) + 0xfff + (size >>> 13 & 1) >>> 13
  }
  return bits
}

function fromBf16s(bits: Uint16Array): Float32Array {
  const words = new Uint32Array(bits.length)
  for (let i = 0; i < bits.length; i++) words[i] = (bits[i] as number) << 16
  return new Float32Array(words.buffer)
}

function fromF16s(bits: Uint16Array): Float32Array {
  const words = new Uint32Array(bits.length)
  const numbers = new Float32Array(words.buffer)
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i] as number
    // The power of two moves the exponent, and makes normal numbers of those below f16's normal ones.
    words[i] = (b & 0x7fff) << 13
    const size = (numbers[i] as number) * 2 ** (inF32 - inF16)
    numbers[i] = b & 0x8000 ? -size : size
    if ((b & 0x7c00) === 0x7c00) words[i] = (b & 0x3ff) === 0 ? (b & 0x8000) << 16 | 0x7f800000 : 0x7fc00000
  }
  return numbers
}

const eightsOf = (numbers: Float32Array | Float64Array, dtype: EightBits): Uint8Array => {
  const bits = new Uint8Array(numbers.length)
  for (let i = 0; i < bits.length; i++) bits[i] = eightBits(roundEight(numbers[i] as number, dtype), dtype)
  return bits
}
const fromEights = (bits: Uint8Array, dtype: EightBits): Float32Array => {
  const numbers = new Float32Array(bits.length)
  for (let i = 0; i < bits.length; i++) numbers[i] = eightFromBits(bits[i] as number, dtype)
  return numbers
}

/** Host data as numbers: floats of 16 and of 8 bits, which are held as their bits, as f32. */
export function numbersOf(data: TypedArray, dtype: DType): TypedArray {
  if (!isBits(dtype)) return data
  return isEight(dtype) ? fromEights(data as Uint8Array, dtype) : (dtype === 'bf16' ? fromBf16s : fromF16s)(data as Uint16Array)
}

/** Numbers as the bits of the nearest ones of a float type that is held so. */
export const bitsOfFloats = (numbers: Float32Array | Float64Array, dtype: 'bf16' | 'f16' | EightBits): Uint16Array | Uint8Array =>
  (isEight(dtype) ? eightsOf(numbers, dtype) : halvesOf(numbers, dtype))

/** Numbers as the bits of the nearest ones in half precision. */
export function halvesOf(numbers: Float32Array | Float64Array, dtype: 'bf16' | 'f16'): Uint16Array {
  if (numbers instanceof Float32Array) return (dtype === 'bf16' ? bf16sOf : f16sOf)(numbers)
  const bits = new Uint16Array(numbers.length)
  for (let i = 0; i < bits.length; i++) bits[i] = dtype === 'bf16' ? bf16Bits(roundBf16(numbers[i] as number)) : f16Bits(roundF16(numbers[i] as number))
  return bits
}
