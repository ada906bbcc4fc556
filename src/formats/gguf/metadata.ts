/** The metadata of a GGUF file: a value by key, each of one of thirteen types. */
import type { FileError } from '../../core/errors.ts'
import { shown } from '../../core/shown.ts'
import type { Cursor } from './cursor.ts'

export type ScalarType = 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'f32' | 'bool' | 'string' | 'u64' | 'i64' | 'f64'
export type NumberArray = Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array | Float32Array | Float64Array | BigUint64Array | BigInt64Array
/** Whole numbers of 64 bits are numbers where that is exact. */
export type ScalarValue = number | bigint | boolean | string
export type MetadataValue =
  | { readonly type: ScalarType; readonly value: ScalarValue }
  /** Truth values are 0 and 1. */
  | { readonly type: 'array'; readonly of: ScalarType; readonly value: readonly string[] | NumberArray }
export type Metadata = ReadonlyMap<string, MetadataValue>

interface NumberKind { readonly bytes: number; readonly read: (b: Buffer) => number | bigint; readonly write: (b: Buffer, x: ScalarValue) => void; readonly array: (b: ArrayBuffer) => NumberArray }
const big = (x: bigint): number | bigint => (x >= BigInt(Number.MIN_SAFE_INTEGER) && x <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(x) : x)
const whole = (x: ScalarValue): bigint => BigInt(x as number | bigint)

export const numberKinds: { readonly [T in Exclude<ScalarType, 'string'>]: NumberKind } = {
  u8: { bytes: 1, read: b => b.readUInt8(), write: (b, x) => { b.writeUInt8(Number(x)) }, array: b => new Uint8Array(b) },
  i8: { bytes: 1, read: b => b.readInt8(), write: (b, x) => { b.writeInt8(Number(x)) }, array: b => new Int8Array(b) },
  u16: { bytes: 2, read: b => b.readUInt16LE(), write: (b, x) => { b.writeUInt16LE(Number(x)) }, array: b => new Uint16Array(b) },
  i16: { bytes: 2, read: b => b.readInt16LE(), write: (b, x) => { b.writeInt16LE(Number(x)) }, array: b => new Int16Array(b) },
  u32: { bytes: 4, read: b => b.readUInt32LE(), write: (b, x) => { b.writeUInt32LE(Number(x)) }, array: b => new Uint32Array(b) },
  i32: { bytes: 4, read: b => b.readInt32LE(), write: (b, x) => { b.writeInt32LE(Number(x)) }, array: b => new Int32Array(b) },
  f32: { bytes: 4, read: b => b.readFloatLE(), write: (b, x) => { b.writeFloatLE(Number(x)) }, array: b => new Float32Array(b) },
  bool: { bytes: 1, read: b => b.readUInt8(), write: (b, x) => { b.writeUInt8(Number(x)) }, array: b => new Uint8Array(b) },
  u64: { bytes: 8, read: b => big(b.readBigUInt64LE()), write: (b, x) => { b.writeBigUInt64LE(whole(x)) }, array: b => new BigUint64Array(b) },
  i64: { bytes: 8, read: b => big(b.readBigInt64LE()), write: (b, x) => { b.writeBigInt64LE(whole(x)) }, array: b => new BigInt64Array(b) },
  f64: { bytes: 8, read: b => b.readDoubleLE(), write: (b, x) => { b.writeDoubleLE(Number(x)) }, array: b => new Float64Array(b) },
}

/** In the order of the numbers that the file has for them. */
export const valueTypes: readonly (ScalarType | 'array')[] = ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'f32', 'bool', 'string', 'array', 'u64', 'i64', 'f64']

type Refuse = (reason: string) => FileError
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
/** What a key or a tensor's name may take, as the format has it. */
const longestName = 2 ** 16 - 1

/** Text with its length before it. */
async function textAt(cursor: Cursor, what: string, refuse: Refuse, longest = Infinity): Promise<string> {
  const length = cursor.holds(8) ? cursor.countTaken(what, 1) : await cursor.count(what, 1)
  if (length > longest) throw refuse(`${what} has ${length} bytes; there may be ${longest}`)
  if (!cursor.holds(length)) await cursor.need(length, what)
  try {
    return utf8.decode(cursor.take(length))
  } catch {
    throw refuse(`${what} is not UTF-8`)
  }
}

export const nameAt = (cursor: Cursor, what: string, refuse: Refuse): Promise<string> => textAt(cursor, what, refuse, longestName)

async function scalarAt(cursor: Cursor, type: ScalarType, what: string, refuse: Refuse): Promise<ScalarValue> {
  if (type === 'string') return textAt(cursor, what, refuse)
  const { bytes, read } = numberKinds[type]
  await cursor.need(bytes, what)
  const value = read(cursor.take(bytes))
  if (type !== 'bool') return value
  if (value !== 0 && value !== 1) throw refuse(`${what} is a truth value of ${value}`)
  return value === 1
}

async function arrayAt(cursor: Cursor, what: string, refuse: Refuse): Promise<MetadataValue> {
  const of = typeOf(await cursor.u32(what), what, refuse)
  if (of === 'array') throw refuse(`${what} is an array of arrays, which no model has`)
  if (of === 'string') {
    // A text takes the eight bytes of its length at least.
    const count = await cursor.count(what, 8)
    const value: string[] = []
    for (let i = 0; i < count; i++) value.push(await textAt(cursor, what, refuse))
    return { type: 'array', of, value }
  }
  const { bytes, array } = numberKinds[of]
  const count = await cursor.count(what, bytes)
  const all = new ArrayBuffer(count * bytes)
  const into = new Uint8Array(all)
  for (let done = 0; done < into.length;) {
    const some = Math.min(into.length - done, 1 << 16)
    await cursor.need(some, what)
    into.set(cursor.take(some), done)
    done += some
  }
  if (of === 'bool' && into.some(x => x > 1)) throw refuse(`${what} has a truth value that is neither 0 nor 1`)
  return { type: 'array', of, value: array(all) }
}

function typeOf(id: number, what: string, refuse: Refuse): ScalarType | 'array' {
  const type = valueTypes[id]
  if (type === undefined) throw refuse(`${what} is of a type ${id}, which the format does not have`)
  return type
}

/** One key with its value. */
export async function entryAt(cursor: Cursor, nth: number, refuse: Refuse): Promise<readonly [string, MetadataValue]> {
  const key = await nameAt(cursor, `the key of value ${nth}`, refuse)
  const what = `the value of ${shown(key)}`
  const type = typeOf(await cursor.u32(what), what, refuse)
  return [key, type === 'array' ? await arrayAt(cursor, what, refuse) : { type, value: await scalarAt(cursor, type, what, refuse) }]
}
