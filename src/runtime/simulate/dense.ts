/** The elements of `dense<…>`. */
import { dtypes, type DType } from '../../core/dtype.ts'
import type { BufferType } from '../backend.ts'
import { elements, narrowOf, fromHost, type Scalar, type Store } from './element.ts'

/** `texts` row by row, or a single one for all if `splat`, or a string of all bytes. Undefined if they are none of these. */
export function denseStore(type: BufferType, texts: readonly string[], splat: boolean): Store | undefined {
  const length = type.shape.reduce((n, size) => n * size, 1)
  const [first = ''] = texts
  if (first.startsWith('"')) return fromBytes(type.dtype, Buffer.from(first.slice(3, -1), 'hex'), length)
  if (!texts.every(text => literal.test(text))) return undefined
  const store = elements[type.dtype].make(length)
  if (splat && texts.length === 1) return store.fill(parseScalar(first, type.dtype) as never)
  if (texts.length !== length) return undefined
  texts.forEach((text, i) => { store[i] = parseScalar(text, type.dtype) })
  return store
}

const literal = /^(?:-?\d|true$|false$)/

/** `1`, `-1.5e+00`, `true`, or a float's bits in hex. */
function parseScalar(text: string, dtype: DType): Scalar {
  const { family, bits } = elements[dtype]
  if (text === 'true' || text === 'false') return text === 'true' ? 1 : 0
  if (family === 'big') return BigInt.asIntN(64, BigInt(text))
  if (family !== 'float' || !text.startsWith('0x')) return narrowOf(dtype)(Number(text))
  const bytes = Buffer.from(text.slice(2).padStart(bits / 4, '0'), 'hex').reverse()
  return fromBytes(dtype, bytes, 1)?.[0] ?? NaN
}

function fromBytes(dtype: DType, bytes: Buffer, length: number): Store | undefined {
  // MLIR wrote bools as single bits before it wrote them as bytes.
  if (dtype === 'bool' && bytes.length === Math.ceil(length / 8) && length > 1) {
    return Uint8Array.from({ length }, (_, i) => (bytes[i >> 3] as number) >> (i & 7) & 1)
  }
  if (bytes.length !== length * dtypes[dtype].bytes) return undefined
  return fromHost(dtypes[dtype].view(new Uint8Array(bytes).buffer, 0, length), dtype)
}
