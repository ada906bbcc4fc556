/** A column of text in pieces of some pages, and the documents of a piece. */
import { fault } from '../faults.ts'
import type { ByteSource } from '../source.ts'
import type { Cut } from '../cut.ts'
import type { Document, PageLayout, Piece } from '../types.ts'
import { chunkOf, columnOf, groupRows, isText, notText, readFooter, spoilt, type Chunk } from './footer.ts'
import { ParquetFault } from './guard.ts'
import { dataOf, dictionaryOf, pageAt, valuesIn, type Leaf, type PageAt } from './pages.ts'

/** Over a network a column chunk of this size is fetched in one go; its pages are not looked for. */
const inOneGo = 2 ** 26

/** Pieces of whole pages, about `bytes` big when unpacked. @throws DataError */
export async function* columnCuts(source: ByteSource, field: string, bytes: number): AsyncGenerator<Cut> {
  const footer = await readFooter(source)
  const column = columnOf(footer, source.name, field)
  if (column.children.length > 0 || column.element.repetition_type === 'REPEATED' || !isText(column)) throw notText(source.name, field, column)
  let row = 0
  try {
    for (const [group, rows] of groupRows(footer).entries()) {
      if (rows === 0) continue
      const chunk = chunkOf(footer, group, [field])
      const whole = chunk.unpacked <= 2 * bytes || (!source.near && chunk.to - chunk.from <= inOneGo)
      yield* whole ? [cutOf(chunk, row, rows, chunk.from, chunk.to)] : runs(source, chunk, row, rows, bytes)
      row += rows
    }
  } catch (cause) {
    throw spoilt(source.name, `from row ${row} on`, cause)
  }
}

const cutOf = (chunk: Chunk, row: number, rows: number, from: number, to: number, dictionary?: readonly [number, number]): Cut => ({
  first: row, from, to, layout: { row, rows, codec: chunk.codec, optional: chunk.definition > 0, ...(dictionary === undefined ? {} : { dictionary }) },
})

/** Goes from page header to page header. */
async function* runs(source: ByteSource, chunk: Chunk, row: number, rows: number, bytes: number): AsyncGenerator<Cut> {
  let dictionary: readonly [number, number] | undefined
  let [from, first, size, seen] = [chunk.from, row, 0, row]
  for (let at = chunk.from; at < chunk.to;) {
    const page = await pageIn(source, at, chunk.to)
    if (page.to > chunk.to) throw new ParquetFault('a page ends behind its column')
    if (page.header.type === 'DICTIONARY_PAGE') {
      dictionary = [at, page.to]
      from = page.to
    } else if (page.header.type !== 'INDEX_PAGE') {
      seen += valuesIn(page.header)
      size += page.header.uncompressed_page_size
    }
    at = page.to
    if (seen > row + rows) throw new ParquetFault('a row group has more values than rows')
    if (size >= bytes || (at >= chunk.to && seen > first)) {
      yield cutOf(chunk, first, seen - first, from, at, dictionary)
      ;[from, first, size] = [at, seen, 0]
    }
  }
  if (seen !== row + rows) throw new ParquetFault(`a row group of ${rows} rows has ${seen - row} values`)
}

/** Headers may hold the least and the greatest text, so their length is not known. */
async function pageIn(source: ByteSource, at: number, end: number): Promise<PageAt> {
  for (let length = 2 ** 12; ; length *= 8) {
    const to = Math.min(end, at + length)
    const page = pageAt(await source.read(at, to), 0, to === end || length > 2 ** 24)
    if (page !== undefined) return { header: page.header, from: at, content: at + page.content, to: at + page.to }
  }
}

/** @throws DataError */
export async function columnDocuments(source: ByteSource, piece: Piece): Promise<Iterable<Document>> {
  const { dictionary } = piece.layout as PageLayout
  return documents(await source.read(piece.from, piece.to), dictionary === undefined ? undefined : await source.read(...dictionary), piece)
}

function* documents(bytes: Buffer, dictionary: Buffer | undefined, piece: Piece): Generator<Document> {
  const { rows, codec, optional } = piece.layout as PageLayout
  const leaf: Leaf = { codec, definition: optional ? 1 : 0, repetition: 0 }
  let [words, row] = [undefined as readonly string[] | undefined, 0]
  for (const { at, page, data } of pagesOf(piece, dictionary, bytes)) {
    let found: { readonly definition: readonly number[]; readonly values: readonly string[] }
    try {
      if (page.header.type === 'DICTIONARY_PAGE') {
        words = dictionaryOf(data, page, leaf)
        continue
      }
      if (page.header.type === 'INDEX_PAGE') continue
      if (row + valuesIn(page.header) > rows) throw new ParquetFault('a row group has more values than rows')
      found = dataOf(data, page, leaf, words)
    } catch (cause) {
      throw spoilt(piece.part, at, cause)
    }
    const { definition, values } = found
    const count = valuesIn(page.header)
    for (let [i, next] = [0, 0]; i < count; i++, row++) {
      // null is a text without a character.
      const content = definition.length === 0 || definition[i] === 1 ? values[next++] ?? '' : ''
      yield { record: piece.first + row, at: `${piece.part}, row ${piece.first + row}`, content }
    }
  }
  if (row !== rows) throw fault({ code: 'bad-parquet', what: `${rows} rows are announced, ${row} are there`, at: `${piece.part}, from row ${piece.first} on`, fix: 'it is damaged: fetch or write it again' })
}

function* pagesOf(piece: Piece, dictionary: Buffer | undefined, bytes: Buffer): Generator<{ readonly at: string; readonly page: PageAt; readonly data: Buffer }> {
  const parts: readonly (readonly [data: Buffer, base: number])[] = [...dictionary === undefined ? [] : [[dictionary, (piece.layout as PageLayout).dictionary?.[0] ?? 0] as const], [bytes, piece.from]]
  for (const [data, base] of parts) {
    for (let from = 0; from < data.length;) {
      const at = `byte ${base + from}`
      let page: PageAt | undefined
      try {
        page = pageAt(data, from, true)
        if (page === undefined) return
        if (page.to > data.length) throw new ParquetFault('a page ends behind its column')
      } catch (cause) {
        throw spoilt(piece.part, at, cause)
      }
      yield { at, page, data }
      from = page.to
    }
  }
}
