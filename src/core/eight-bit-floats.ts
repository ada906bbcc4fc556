/** Floats of 8 bits (Micikevicius et al. 2022, arXiv 2209.05433): four bits of exponent and three of fraction, or five and two. Rounding to them, and their bits. */
export type EightBits = 'f8e4m3fn' | 'f8e5m2'

interface Format {
  readonly fraction: number
  /** Of the smallest normal number, and what is added to one to be stored. */
  readonly least: number
  readonly bias: number
  readonly most: number
  /** Whether what is beyond `most` is an infinity; else it is no number. */
  readonly infinite: boolean
  readonly nan: number
}
const formats: { readonly [D in EightBits]: Format } = {
  f8e4m3fn: { fraction: 3, least: -6, bias: 7, most: 448, infinite: false, nan: 0x7f },
  f8e5m2: { fraction: 2, least: -14, bias: 15, most: 57344, infinite: true, nan: 0x7e },
}

/** The largest number of a format. */
export const largestOf = (dtype: EightBits): number => formats[dtype].most

const { abs, floor, log2, max } = Math
const tieToEven = (x: number): number => (x + 2 ** 52) - 2 ** 52
/** Of a positive number; `log2` may be off by one next to a power of two, where either answer rounds alike. */
const exponentOf = (size: number): number => floor(log2(size))

/** To the nearest number of the format, ties to even; what is beyond the largest one is an infinity of f8e5m2, and no number of f8e4m3fn, as XLA has it. */
export function roundEight(x: number, dtype: EightBits): number {
  if (Number.isNaN(x) || x === 0) return x
  const { fraction, least, most, infinite } = formats[dtype]
  const size = abs(x)
  const step = size === Infinity ? 1 : 2 ** (max(exponentOf(size), least) - fraction)
  const rounded = size === Infinity ? Infinity : tieToEven(size / step) * step
  const found = rounded <= most ? rounded : infinite ? Infinity : NaN
  return x < 0 ? -found : found
}

/** The bits of a number that is one of the format already. */
export function eightBits(x: number, dtype: EightBits): number {
  const { fraction, least, bias, infinite, nan } = formats[dtype]
  if (Number.isNaN(x)) return nan
  const sign = x < 0 || Object.is(x, -0) ? 0x80 : 0
  const size = abs(x)
  if (size === Infinity) return infinite ? sign | 0x7c : nan
  const exponent = exponentOf(size)
  // A normal number's leading one carries into the exponent, which is stored one less for it.
  return sign | (size < 2 ** least ? size / 2 ** (least - fraction) : (exponent + bias - 1 << fraction) + size / 2 ** (exponent - fraction))
}

function fromBits(bits: number, dtype: EightBits): number {
  const { fraction, least, bias, infinite, nan } = formats[dtype]
  const [exponent, rest] = [(bits & 0x7f) >> fraction, bits & (1 << fraction) - 1]
  const special = infinite ? exponent === 31 : (bits & 0x7f) === nan
  const size = special ? (infinite && rest === 0 ? Infinity : NaN) : exponent === 0 ? rest * 2 ** (least - fraction) : (2 ** fraction + rest) * 2 ** (exponent - bias - fraction)
  return bits & 0x80 ? -size : size
}

const tables: { readonly [D in EightBits]: Float32Array } = {
  f8e4m3fn: Float32Array.from({ length: 256 }, (_, bits) => fromBits(bits, 'f8e4m3fn')), f8e5m2: Float32Array.from({ length: 256 }, (_, bits) => fromBits(bits, 'f8e5m2')),
}
/** The number that the bits are. */
export const eightFromBits = (bits: number, dtype: EightBits): number => tables[dtype][bits & 0xff] ?? NaN
