/** The pages of one column of text, one after another. */
import type { PageHeader } from 'hyparquet'
import { parquetHeader } from 'hyparquet/src/column.js'
import * as zlib from 'node:zlib'
import { unpacked } from './codecs.ts'
import { largestPage, ParquetFault, structEnd } from './guard.ts'
import { encodings, levels } from './values.ts'

/** What a column needs to be read by. */
export interface Leaf { readonly codec: string; readonly definition: number; readonly repetition: number }

export interface PageAt { readonly header: PageHeader; readonly from: number; readonly content: number; readonly to: number }

/** The page that begins at `at`, or undefined where the bytes end within its header. @throws ParquetFault */
export function pageAt(bytes: Buffer, at: number, last: boolean): PageAt | undefined {
  let content: number
  try {
    content = structEnd(bytes, at)
  } catch (cause) {
    if (last || !(cause instanceof ParquetFault) || !cause.message.includes('cut off')) throw cause
    return undefined
  }
  const header = parquetHeader({ view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: at })
  const size = header.compressed_page_size
  if (!Number.isInteger(size) || size < 0 || !Number.isInteger(header.uncompressed_page_size) || header.uncompressed_page_size < 0 || header.uncompressed_page_size > largestPage.bytes) {
    throw new ParquetFault(`a page says it has ${size} bytes, ${header.uncompressed_page_size} unpacked`)
  }
  const count = valuesIn(header)
  if (!Number.isInteger(count) || count < 0 || count > largestPage.values) throw new ParquetFault(`a page says it has ${count} values`)
  return { header, from: at, content, to: content + size }
}

/** Values, nulls included; none for a page that is neither values nor a dictionary. */
export const valuesIn = (header: PageHeader): number => header.data_page_header?.num_values ?? header.data_page_header_v2?.num_values ?? header.dictionary_page_header?.num_values ?? 0

/** Levels, empty where there can be none, and the values that are not null. */
export interface PageData { readonly count: number; readonly repetition: readonly number[]; readonly definition: readonly number[]; readonly values: readonly string[] }

// Node has it from 20.15 on.
const crc32 = (zlib as { crc32?: (bytes: Uint8Array) => number }).crc32

function checked(bytes: Buffer, { header, content, to }: PageAt): Buffer {
  if (to > bytes.length) throw new ParquetFault('a page is cut off')
  const data = bytes.subarray(content, to)
  if (header.crc !== undefined && crc32 !== undefined && crc32(data) >>> 0 !== header.crc >>> 0) throw new ParquetFault('the checksum of a page is wrong')
  return data
}

export function dictionaryOf(bytes: Buffer, page: PageAt, { codec }: Leaf): readonly string[] {
  const { encoding, num_values } = page.header.dictionary_page_header ?? {}
  const read = encodings[encoding === 'PLAIN_DICTIONARY' ? 'PLAIN' : encoding ?? '']
  if (read === undefined || num_values === undefined) throw new ParquetFault('a dictionary has no encoding that there is')
  return read(unpacked(checked(bytes, page), codec, page.header.uncompressed_page_size), 0, num_values, undefined)
}

/** @throws ParquetFault, or what a codec or the library throws. */
export function dataOf(bytes: Buffer, at: PageAt, leaf: Leaf, dictionary: readonly string[] | undefined): PageData {
  const { header } = at
  const data = checked(bytes, at)
  const v2 = header.data_page_header_v2
  if (v2 !== undefined && header.type === 'DATA_PAGE_V2') {
    const [repeated, defined] = [v2.repetition_levels_byte_length, v2.definition_levels_byte_length]
    const start = repeated + defined
    if (!(repeated >= 0 && defined >= 0 && start <= data.length && start <= header.uncompressed_page_size)) throw new ParquetFault('the levels of a page are larger than the page')
    const page = unpacked(data.subarray(start), v2.is_compressed === false ? 'UNCOMPRESSED' : leaf.codec, header.uncompressed_page_size - start)
    const head = Buffer.from(Uint8Array.from(data.subarray(0, start)).buffer)
    const repetition = leaf.repetition === 0 ? [] : levels(head, 0, repeated, leaf.repetition, v2.num_values)
    const definition = leaf.definition === 0 ? [] : levels(head, repeated, start, leaf.definition, v2.num_values)
    return assembled(page, 0, v2.num_values, v2.encoding, repetition, definition, leaf, dictionary)
  }
  const v1 = header.data_page_header
  if (v1 === undefined || header.type !== 'DATA_PAGE') throw new ParquetFault('a page is of no kind that there is')
  const page = unpacked(data, leaf.codec, header.uncompressed_page_size)
  let start = 0
  const read = (most: number): number[] => {
    if (most === 0) return []
    const end = start + 4 + (page.length >= start + 4 ? page.readUInt32LE(start) : Infinity)
    if (end > page.length) throw new ParquetFault('the levels of a page are larger than the page')
    const found = levels(page, start + 4, end, most, v1.num_values)
    start = end
    return found
  }
  const repetition = read(leaf.repetition)
  const definition = read(leaf.definition)
  return assembled(page, start, v1.num_values, v1.encoding, repetition, definition, leaf, dictionary)
}

function assembled(page: Buffer, at: number, count: number, encoding: string, repetition: readonly number[], definition: readonly number[], leaf: Leaf, dictionary: readonly string[] | undefined): PageData {
  if (definition.some(d => d > leaf.definition)) throw new ParquetFault('a level is above the highest')
  const present = definition.length === 0 ? count : definition.reduce((n, d) => n + (d === leaf.definition ? 1 : 0), 0)
  const read = encodings[encoding]
  if (read === undefined) throw new ParquetFault(`values are written in the encoding ${encoding}`)
  return { count, repetition, definition, values: read(page, at, present, dictionary) }
}
