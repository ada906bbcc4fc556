/** CSV as documents: a column of text, found by the name in the first record. */
import { UsageError, type DataError } from '../../core/errors.ts'
import { didYouMean } from '../../core/nearest.ts'
import { CsvFault, CsvRecord } from './csv-record.ts'
import { linesIn, type Scanner } from './cut.ts'
import { fault, largestRecord } from './faults.ts'
import type { Document, DocumentFormat, Piece, RowLayout } from './types.ts'
import { markLength, textReader } from './utf8.ts'

type Format = Extract<DocumentFormat, { readonly format: 'csv' }>

/** The delimiter of a format. @throws DataError when it is not one ASCII character, or is one that has another meaning. */
export function delimiterOf({ delimiter = ',' }: { readonly delimiter?: string }): string {
  if (delimiter.length === 1 && delimiter.charCodeAt(0) < 128 && !'"\r\n'.includes(delimiter)) return delimiter
  throw new UsageError({ code: 'delimiter', what: `${JSON.stringify(delimiter)} cannot be the delimiter of a CSV file`, fix: 'it is one ASCII character, such as , or ; or \\t' })
}

export const csvFault = (cause: unknown, bytes: Buffer, name: string, line: number, from: number): unknown => cause instanceof CsvFault ? fault({
  code: 'bad-csv', what: cause.message, at: `${name}:${line + linesIn(bytes, from, cause.offset)}`, details: { 'record begins at': `line ${line}` },
  fix: 'quotes within a quoted field are doubled, as in "he said ""no"""', cause,
}) : cause

export const wrongWidth = (at: string, has: number, columns: number): DataError => fault({
  code: 'bad-csv', what: `a record has ${has} field${has === 1 ? '' : 's'}, the first line ${columns}`, at,
  fix: 'put a field with a delimiter or a line end in it into quotes, or give another delimiter',
})

/** The names in the first record. */
export function headerOf(record: CsvRecord, bytes: Buffer, at: string): readonly string[] {
  const read = textReader(bytes, () => at)
  return Array.from({ length: record.count }, (_, i) => record.text(i, read))
}

export class CsvScanner implements Scanner {
  readonly most: number = largestRecord
  readonly record: string = 'a record'
  records = 0
  seen = 0
  opened = 0
  readonly #name: string
  readonly #field: string
  readonly #record: CsvRecord
  #line = 1
  #columns: { readonly column: number; readonly columns: number } | undefined

  constructor(name: string, format: Format) {
    this.#name = name
    this.#field = format.field ?? 'text'
    this.#record = new CsvRecord(delimiterOf(format))
  }

  get started(): boolean { return this.#columns !== undefined }
  layout(): RowLayout | undefined { return this.#columns === undefined ? undefined : { line: this.#line, ...this.#columns } }
  place(): string { return `${this.#name}:${this.#line}` }

  end(window: Buffer, base: number, from: number, last: boolean): number {
    for (let at = from; ;) {
      this.seen = at
      this.opened = base + at
      const begin = base + at === 0 ? markLength(window) : at
      const end = this.#read(window, begin, last)
      if (end < 0) return -1
      const line = this.#line
      this.#line += linesIn(window, at, end)
      at = end
      if (this.#record.empty) continue
      if (this.#columns === undefined) this.#columns = this.#header(window.subarray(begin, end), line)
      else this.records++
      this.seen = end
      this.opened = base + end
      return end
    }
  }

  #read(window: Buffer, at: number, last: boolean): number {
    try {
      return this.#record.read(window, at, last)
    } catch (cause) {
      throw csvFault(cause, window, this.#name, this.#line, at)
    }
  }

  #header(bytes: Buffer, line: number): { readonly column: number; readonly columns: number } {
    // Places are of the record's own bytes.
    this.#record.read(bytes, 0, true)
    const at = `${this.#name}:${line}`
    const names = headerOf(this.#record, bytes, at)
    const column = names.indexOf(this.#field)
    if (column < 0) {
      throw fault({ code: 'no-field', what: `there is no column "${this.#field}"`, at, details: { columns: names.slice(0, 12).map(n => n.slice(0, 40)).join(', ') }, fix: `say which column holds the text; ${didYouMean(this.#field, names.slice(0, 12).map(n => n.slice(0, 40)))}` })
    }
    if (names.includes(this.#field, column + 1)) throw fault({ code: 'two-columns', what: `two columns are called "${this.#field}"`, at, fix: 'rename one of them' })
    return { column, columns: names.length }
  }
}

/** @throws DataError for a record with more or fewer fields than the first, and for quotes that are not right. */
export function* csvDocuments(bytes: Buffer, piece: Piece): Generator<Document> {
  const layout = piece.layout as RowLayout
  const record = new CsvRecord(delimiterOf(piece.format as Format))
  const read = textReader(bytes, offset => `${piece.part}:${layout.line + linesIn(bytes, 0, offset)}`)
  for (let [at, line, nth] = [0, layout.line, piece.first]; at < bytes.length;) {
    let end: number
    try {
      end = record.read(bytes, at, true)
    } catch (cause) {
      throw csvFault(cause, bytes, piece.part, line, at)
    }
    if (!record.empty) {
      if (record.count !== layout.columns) throw wrongWidth(`${piece.part}:${line}`, record.count, layout.columns)
      yield { record: nth++, at: `${piece.part}:${line}`, content: record.text(layout.column, read) }
    }
    line += linesIn(bytes, at, end)
    at = end
  }
}
