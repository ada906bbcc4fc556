/** Byte arrays of a Parquet page, in each encoding they have, as text. */
import { isAscii, isUtf8 } from 'node:buffer'
import { deltaBinaryUnpack } from 'hyparquet/src/delta.js'
import { readRleBitPackedHybrid } from 'hyparquet/src/encoding.js'
import { checkRuns, largestPage, ParquetFault, varint } from './guard.ts'

type Values = (page: Buffer, at: number, count: number, dictionary: readonly string[] | undefined) => string[]

const viewOf = (bytes: Buffer): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** @throws ParquetFault when it is not UTF-8 or not within the page. */
function textAt(page: Buffer, from: number, to: number): string {
  if (to > page.length || to < from) throw new ParquetFault('a value ends behind its page')
  const bytes = page.subarray(from, to)
  if (isAscii(bytes)) return page.toString('latin1', from, to)
  if (!isUtf8(bytes)) throw new ParquetFault('a value is not UTF-8 text')
  return page.toString('utf8', from, to)
}

const plain: Values = (page, at, count) => {
  if (count * 4 > page.length - at) throw new ParquetFault(`a page of ${page.length} bytes says it has ${count} values`)
  const values = new Array<string>(count)
  for (let [i, from] = [0, at]; i < count; i++) {
    if (from + 4 > page.length) throw new ParquetFault('a value ends behind its page')
    const to = from + 4 + page.readUInt32LE(from)
    values[i] = textAt(page, from + 4, to)
    from = to
  }
  return values
}

const byDictionary: Values = (page, at, count, dictionary) => {
  if (dictionary === undefined) throw new ParquetFault('a page refers to a dictionary that is not there')
  if (count === 0) return []
  const width = page[at] ?? 0
  const indices = new Array<number>(count).fill(0)
  if (width > 0) {
    checkRuns(page, at + 1, page.length, width, count)
    readRleBitPackedHybrid({ view: viewOf(page), offset: at + 1 }, width, indices, page.length - at - 1)
  }
  return indices.slice(0, count).map(i => dictionary[i] ?? missing(i, dictionary.length))
}
const missing = (index: number, length: number): never => { throw new ParquetFault(`a page has value ${index} of a dictionary of ${length}`) }

/** Whole numbers as differences, in blocks: the numbers, and the place behind them. */
function deltas(page: Buffer, at: number, count: number): readonly [numbers: Int32Array, next: number] {
  const [size, a] = varint(page, at)
  const [parts, b] = varint(page, a)
  const [total] = varint(page, b)
  if (size === 0 || size % 128 !== 0 || size > 2 ** 20 || parts === 0 || size % parts !== 0 || size / parts % 32 !== 0) throw new ParquetFault(`blocks of ${size} numbers in ${parts} parts are not allowed`)
  if (total !== count) throw new ParquetFault(`a page has ${total} lengths for ${count} values`)
  const numbers = new Int32Array(count)
  const reader = { view: viewOf(page), offset: at }
  deltaBinaryUnpack(reader, count, numbers)
  return [numbers, reader.offset]
}

const byLengths: Values = (page, at, count) => {
  if (count === 0) return []
  const [lengths, data] = deltas(page, at, count)
  let from = data
  return Array.from(lengths, length => textAt(page, from, from += length))
}

const byPrefixes: Values = (page, at, count) => {
  if (count === 0) return []
  const [prefixes, a] = deltas(page, at, count)
  const [suffixes, data] = deltas(page, a, count)
  let [from, before, total] = [data, Buffer.alloc(0), 0]
  return Array.from(suffixes, (length, i) => {
    const shared = prefixes[i] as number
    if (shared < 0 || shared > before.length || length < 0 || from + length > page.length) throw new ParquetFault('a value ends behind its page')
    total += shared + length
    if (total > largestPage.bytes) throw new ParquetFault('a page has too much text')
    before = Buffer.concat([before.subarray(0, shared), page.subarray(from, from += length)])
    return textAt(before, 0, before.length)
  })
}

export const encodings: { readonly [name: string]: Values } = {
  PLAIN: plain, PLAIN_DICTIONARY: byDictionary, RLE_DICTIONARY: byDictionary, DELTA_LENGTH_BYTE_ARRAY: byLengths, DELTA_BYTE_ARRAY: byPrefixes,
}

/** Levels of `most` at most, for `count` values. */
export function levels(page: Buffer, at: number, end: number, most: number, count: number): number[] {
  const width = 32 - Math.clz32(most)
  checkRuns(page, at, end, width, count)
  const found = new Array<number>(count)
  readRleBitPackedHybrid({ view: viewOf(page), offset: at }, width, found, end - at)
  return found
}
