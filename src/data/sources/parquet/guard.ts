/**
 * What is looked at before the library is given bytes: it allocates what a header asks for, and some wrong headers keep it busy for ever.
 * Thrift's compact protocol, and the run lengths of Parquet's levels and dictionary indices.
 */

/** What is wrong with a file, in words. */
export class ParquetFault extends Error {}

/** Levels and values of a page at most; and its bytes, unpacked. */
export const largestPage: { readonly values: number; readonly bytes: number } = { values: 2 ** 24, bytes: 2 ** 28 }
const deepest = 32

/** A number of at most ten bytes, seven bits each, the low ones first: its value, and the place behind it. */
export function varint(bytes: Uint8Array, at: number): readonly [value: number, next: number] {
  let [value, scale] = [0, 1]
  for (let i = at; i < at + 10; i++) {
    const byte = bytes[i]
    if (byte === undefined) throw new ParquetFault('a header is cut off')
    value += (byte & 0x7f) * scale
    scale *= 128
    if (byte < 128) return [value, i + 1]
  }
  throw new ParquetFault('a number in a header has more than ten bytes')
}

/** The place behind the struct that begins at `at`; every list in it fits into the bytes. @throws ParquetFault */
export function structEnd(bytes: Uint8Array, at: number, depth = 0): number {
  if (depth > deepest) throw new ParquetFault('a header is nested too deeply')
  for (let i = at; ;) {
    const byte = bytes[i++]
    if (byte === undefined) throw new ParquetFault('a header is cut off')
    if ((byte & 15) === 0) return i
    if (byte >> 4 === 0) i = varint(bytes, i)[1]
    i = elementEnd(bytes, i, byte & 15, depth, false)
  }
}

const [boolTrue, boolFalse, byteKind, i16, i32, i64, double, binary, list, struct] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12]

function elementEnd(bytes: Uint8Array, at: number, kind: number, depth: number, inList: boolean): number {
  if (kind === boolTrue || kind === boolFalse) return inList ? at + 1 : at
  if (kind === byteKind) return at + 1
  if (kind === i16 || kind === i32 || kind === i64) return varint(bytes, at)[1]
  if (kind === double) return at + 8
  if (kind === struct) return structEnd(bytes, at, depth + 1)
  if (kind === binary) {
    const [length, from] = varint(bytes, at)
    if (length > bytes.length - from) throw new ParquetFault('a header is cut off')
    return from + length
  }
  if (kind !== list) throw new ParquetFault(`a header has a field of kind ${kind}`)
  const head = bytes[at] ?? 0
  let [length, from] = [head >> 4, at + 1]
  if (length === 15) [length, from] = varint(bytes, from)
  if (length > bytes.length - from) throw new ParquetFault(`a header has a list of ${length} in ${bytes.length - from} bytes`)
  for (let i = 0; i < length; i++) from = elementEnd(bytes, from, head & 15, depth, true)
  return from
}

/** Runs from `at` on give `count` values of `width` bits, none more than there are. @throws ParquetFault */
export function checkRuns(bytes: Uint8Array, at: number, end: number, width: number, count: number): void {
  if (width > 32) throw new ParquetFault(`levels or indices have ${width} bits`)
  for (let [i, seen] = [at, 0]; seen < count;) {
    if (i >= end) throw new ParquetFault('levels or indices are cut off')
    const [header, next] = varint(bytes, i)
    const packed = header % 2 === 1
    const run = packed ? (header - 1) / 2 * 8 : header / 2
    if (run === 0 || run > count - seen + (packed ? 7 : 0)) throw new ParquetFault(`levels or indices have a run of ${run} where ${count - seen} are to come`)
    seen += run
    i = next + (packed ? run / 8 * width : Math.ceil(width / 8))
    if (i > end && !(packed && seen >= count)) throw new ParquetFault('levels or indices are cut off')
  }
}
