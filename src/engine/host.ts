/**
 * What the host may give for a tensor, by one rule for numbers, arrays and what a Source makes: a value must be one that the dtype has.
 * Floats are rounded to it; a whole number out of range, a fraction or NaN where whole numbers are wanted is refused; of truth values,
 * 0 is false and every other number true.
 */
import { formatShape, sizeOf, type Dim } from '../core/dim.ts'
import { dtypes, hostArray, isFloat, isBits, type DType, type TypedArray } from '../core/dtype.ts'
import { DimError, type Problem, type Site } from '../core/errors.ts'
import { bitsOfFloats } from '../core/half-precision.ts'

/** A number or a truth value stands for a tensor of one element. `bigint` is for integers. */
export type HostValue = TypedArray | number | bigint | boolean

/** What the data is for, and how errors speak of it. */
export interface Wanted {
  readonly dtype: DType
  readonly shape: readonly Dim[]
  /** `argument 0.x`. */
  readonly what: string
  readonly at?: (() => Site | undefined) | undefined
}

const refused = ({ what, shape, dtype, at }: Wanted, code: string, problem: string, more: Partial<Problem> = {}): DimError =>
  new DimError({ code, what: `${what}: ${problem}`, details: { shape: formatShape(shape), dtype }, at: at?.(), ...more })

/** @returns data of the dtype's host array, of as many elements as the shape has: the given array itself where nothing is to be changed. @throws DimError */
export function hostValues(given: HostValue, wanted: Wanted): TypedArray {
  const elements = sizeOf(wanted.shape)
  if (typeof given !== 'object') {
    if (elements !== 1) throw refused(wanted, 'element-count', `one ${typeof given === 'boolean' ? 'truth value' : 'number'} given, ${elements} elements wanted`, { fix: 'give an array of them all' })
    return scalar(given, wanted)
  }
  const data = plain(given, wanted)
  if (data.length !== elements) throw refused(wanted, 'element-count', `${data.length} elements given, ${elements} wanted`)
  return wanted.dtype === 'bool' ? truths(data as Uint8Array) : data
}

/** The range of each integer dtype. */
const rangeOf = (dtype: DType): readonly [bigint, bigint] => {
  const bits = BigInt(8 * dtypes[dtype].bytes)
  return dtypes[dtype].kind === 'int' ? [-(1n << bits - 1n), (1n << bits - 1n) - 1n] : [0n, (1n << bits) - 1n]
}

function scalar(given: number | bigint | boolean, wanted: Wanted): TypedArray {
  const { dtype } = wanted
  if (dtype === 'bool') {
    if (Number.isNaN(given)) throw refused(wanted, 'value', 'NaN is neither true nor false')
    return Uint8Array.of(Number(given) === 0 ? 0 : 1)
  }
  if (typeof given === 'boolean') throw refused(wanted, 'dtype', `${given} given for ${dtype}`, { fix: `give ${given ? 1 : 0}, or make the argument a bool` })
  if (isFloat(dtype)) {
    if (typeof given === 'bigint') throw refused(wanted, 'dtype', `the bigint ${given} given for ${dtype}`, { fix: 'give a number' })
    return isBits(dtype) ? bitsOfFloats(Float64Array.of(given), dtype) : dtype === 'f64' ? Float64Array.of(given) : Float32Array.of(given)
  }
  const whole = typeof given === 'bigint' ? given : Number.isInteger(given) ? BigInt(given) : undefined
  const [least, most] = rangeOf(dtype)
  if (whole === undefined) throw refused(wanted, 'value', `${given} is no whole number`, { fix: 'round it first' })
  if (whole < least || whole > most) throw refused(wanted, 'value', `${given} is out of range`, { fix: `${dtype} holds ${least} to ${most}` })
  const out = hostArray(dtype, 1)
  if (out instanceof BigInt64Array) out[0] = whole
  else out[0] = Number(whole)
  return out
}

/** The kind of a typed array, whatever realm or class it is of: a Buffer is a Uint8Array. */
const kindOf = (x: unknown): string | undefined => (ArrayBuffer.isView(x) ? (x as { readonly [Symbol.toStringTag]?: string })[Symbol.toStringTag] : undefined)

/** Of the dtype's kind, in memory of its own kind: neither detached nor shared with another thread that may change it meanwhile. */
function plain(given: TypedArray, wanted: Wanted): TypedArray {
  const { dtype } = wanted
  const kind = kindOf(given)
  const native = kindOf(hostArray(dtype, 0))
  const kinds = isBits(dtype) ? ['Float32Array', 'Float64Array', native] : [native]
  if (!kinds.includes(kind)) {
    throw refused(wanted, 'dtype', `${kind ?? (given as object | null)?.constructor.name ?? 'null'} given for ${dtype}`, { fix: `give it as ${kinds[0]}` })
  }
  if (given.length === 0 && isDetached(given)) throw refused(wanted, 'detached', 'the array\'s memory was given away (transferred to another thread)', { fix: 'give it before, or a copy' })
  const own = given.buffer instanceof SharedArrayBuffer ? given.slice() : given
  return isBits(dtype) && (own instanceof Float32Array || own instanceof Float64Array) ? bitsOfFloats(own, dtype) : own
}

function isDetached({ buffer }: TypedArray): boolean {
  try {
    new Uint8Array(buffer)
    return false
  } catch {
    return true
  }
}

/** Bytes of 0 and 1: the given ones where they are all, which a look at four at a time tells. */
function truths(given: Uint8Array): Uint8Array {
  const head = Math.min(given.length, (4 - given.byteOffset % 4) % 4)
  const words = (given.length - head) >> 2
  const odd = (from: number, to: number): boolean => {
    for (let i = from; i < to; i++) if ((given[i] as number) > 1) return true
    return false
  }
  const oddWords = (): boolean => {
    if (words === 0) return false
    const four = new Uint32Array(given.buffer, given.byteOffset + head, words)
    for (let i = 0; i < four.length; i++) if (((four[i] as number) & 0xfefefefe) !== 0) return true
    return false
  }
  const clean = !odd(0, head) && !oddWords() && !odd(head + 4 * words, given.length)
  return clean ? given : given.map(x => (x === 0 ? 0 : 1))
}
