/** Columns of numbers in a CSV file, by row: every 64th row's place is remembered, the rows between are read again. */
import { dtypes, hostArray, type DType, type TypedArray } from '../../../core/dtype.ts'
import { didYouMean } from '../../../core/nearest.ts'
import { csvFault, delimiterOf, headerOf, wrongWidth } from '../csv.ts'
import { CsvRecord } from '../csv-record.ts'
import { linesIn } from '../cut.ts'
import { fault, largestRecord, tooLong } from '../faults.ts'
import type { ByteSource } from '../source.ts'
import { markLength, textReader } from '../utf8.ts'
import { checkRows } from './array.ts'
import { openUnpacked } from './spool.ts'
import type { Column, Rows } from './types.ts'

export type CsvDType = Exclude<DType, 'bf16' | 'f16' | 'i64' | 'bool'>
/** Fields next to each other: where they begin, by name or by place from 0, and how many; without a count it is one number, not a list. */
export interface CsvColumn { readonly from: string | number; readonly count?: number; readonly dtype?: CsvDType }
export interface CsvRowsOptions<N extends string = string> {
  readonly delimiter?: string
  /** Whether the first record names the columns. Without it they go by their places. */
  readonly header?: boolean
  /** Columns of the rows; without it each of the file's is one, in f32. */
  readonly columns?: { readonly [C in N]: CsvColumn }
}

const step = 64
interface Mark { readonly from: number; readonly line: number }
interface Index { readonly names: readonly string[] | undefined; readonly width: number; readonly count: number; readonly marks: readonly Mark[]; readonly end: number }
interface Field { readonly name: string; readonly from: number; readonly count: number; readonly dtype: CsvDType }

/** @throws DataError when it cannot be read, lacks a column, or has a record of another width. Numbers are looked at when they are read. */
export async function openCsvRows<N extends string = string>(name: string, options: CsvRowsOptions<N> = {}): Promise<Rows<N>> {
  const delimiter = delimiterOf(options)
  const source = await openUnpacked(name)
  try {
    const index = await indexed(source, delimiter, options.header ?? true)
    const fields = fieldsOf(name, index, options)
    return {
      count: index.count,
      columns: Object.fromEntries(fields.map(f => [f.name, { dtype: f.dtype, shape: columnCount(f, options) }])) as { readonly [C in N]: Column },
      name,
      async read(rows) {
        checkRows(rows, index.count)
        const arrays = fields.map(f => hostArray(f.dtype, rows.length * f.count) as Exclude<TypedArray, BigInt64Array>)
        const blocks = new Map<number, number[]>()
        rows.forEach((row, i) => {
          const block = Math.floor(row / step)
          blocks.set(block, [...blocks.get(block) ?? [], i])
        })
        for (const [block, places] of blocks) await readBlock(source, index, delimiter, block, places, rows, fields, arrays)
        return Object.fromEntries(fields.map((f, i) => [f.name, arrays[i] as TypedArray])) as { readonly [C in N]: TypedArray }
      },
      fingerprint: () => source.fingerprint(),
      close: () => source.close(),
    }
  } catch (cause) {
    await source.close()
    throw cause
  }
}

const columnCount = ({ name, count }: Field, { columns }: CsvRowsOptions): readonly number[] => columns?.[name]?.count === undefined ? [] : [count]

function fieldsOf(name: string, { names, width }: Index, { columns }: CsvRowsOptions): readonly Field[] {
  const all = names ?? Array.from({ length: width }, (_, i) => String(i))
  const twice = (column: string): void => {
    if (all.indexOf(column) !== all.lastIndexOf(column)) throw fault({ code: 'two-columns', what: `two columns are called "${column}"`, at: `${name}:1`, fix: 'rename one of them, or name the columns by their places' })
  }
  if (columns === undefined) {
    return all.map((column, from) => {
      twice(column)
      return { name: column, from, count: 1, dtype: 'f32' }
    })
  }
  return Object.entries<CsvColumn>(columns).map(([column, { from: begin, count = 1, dtype = 'f32' }]) => {
    const from = typeof begin === 'number' ? begin : all.indexOf(begin)
    if (typeof begin === 'string' && from >= 0) twice(begin)
    if (!Number.isInteger(from) || from < 0 || from + count > width || count < 1) throw fault({ code: 'no-field', what: `there is no column ${typeof begin === 'string' ? `"${begin}"` : begin}${count > 1 ? `, and ${count - 1} behind it` : ''}`, at: name, details: { columns: String(width) }, fix: didYouMean(String(begin), all.slice(0, 12)) })
    return { name: column, from, count, dtype }
  })
}

/** Goes through the file once. */
async function indexed(source: ByteSource, delimiter: string, header: boolean): Promise<Index> {
  const record = new CsvRecord(delimiter)
  const marks: Mark[] = []
  let names: readonly string[] | undefined
  let [window, base, line, count, width]: [Buffer, number, number, number, number | undefined] = [Buffer.alloc(0), 0, 1, 0, undefined]
  const through = (last: boolean): void => {
    let at = 0
    for (;;) {
      const begin = base + at === 0 ? markLength(window) : at
      let end: number
      try {
        end = record.read(window, begin, last)
      } catch (cause) {
        throw csvFault(cause, window, source.name, line, begin)
      }
      if (end < 0) break
      if (!record.empty) {
        width ??= record.count
        if (record.count !== width) throw wrongWidth(`${source.name}:${line}`, record.count, width)
        if (header && names === undefined) names = headerOf(record, window, `${source.name}:${line}`)
        else if (count++ % step === 0) marks.push({ from: base + begin, line })
      }
      line += linesIn(window, at, end)
      at = end
    }
    base += at
    window = Buffer.from(window.subarray(at))
    if (window.length > largestRecord) throw tooLong('a record', `${source.name}:${line}`)
  }
  for await (const chunk of source.stream()) {
    window = window.length === 0 ? chunk : Buffer.concat([window, chunk])
    through(false)
  }
  through(true)
  if (width === undefined) throw fault({ code: 'empty-data', what: `${source.name} has no record`, fix: 'give a file with numbers in it' })
  return { names, width, count, marks, end: base + window.length }
}

async function readBlock(source: ByteSource, { marks, end }: Index, delimiter: string, block: number, places: readonly number[], rows: readonly number[], fields: readonly Field[], arrays: readonly Exclude<TypedArray, BigInt64Array>[]): Promise<void> {
  const mark = marks[block]
  if (mark === undefined) throw new RangeError(`block ${block} is asked for, and there are ${marks.length}`)
  const bytes = await source.read(mark.from, marks[block + 1]?.from ?? end)
  const record = new CsvRecord(delimiter)
  const wanted = new Map<number, number[]>()
  for (const place of places) {
    const nth = (rows[place] as number) % step
    wanted.set(nth, [...wanted.get(nth) ?? [], place])
  }
  let [at, line, nth] = [0, mark.line, 0]
  while (at < bytes.length) {
    const next = record.read(bytes, at, true)
    const here = `${source.name}:${line}`
    if (!record.empty) {
      const to = wanted.get(nth++)
      if (to !== undefined) {
        const read = textReader(bytes, () => here)
        fields.forEach((field, f) => {
          for (let k = 0; k < field.count; k++) {
            const value = numberOf(record.text(field.from + k, read), field, here)
            for (const place of to) (arrays[f] as Float64Array)[place * field.count + k] = value
          }
        })
      }
    }
    line += linesIn(bytes, at, next)
    at = next
  }
}

const words: { readonly [text: string]: number } = { nan: NaN, inf: Infinity, '+inf': Infinity, '-inf': -Infinity, infinity: Infinity, '-infinity': -Infinity }

function numberOf(text: string, { name, dtype }: Field, at: string): number {
  const trimmed = text.trim()
  const plain = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(trimmed) ? Number(trimmed) : words[trimmed.toLowerCase()]
  if (plain === undefined) throw fault({ code: 'not-a-number', what: trimmed === '' ? `a value of "${name}" is missing` : `a value of "${name}" is ${JSON.stringify(trimmed.slice(0, 40))}, no number`, at, fix: 'mend the record, or leave the column out' })
  const { kind, bytes } = dtypes[dtype]
  if (kind === 'float') return plain
  const [least, most] = kind === 'uint' ? [0, 2 ** (8 * bytes) - 1] : [-(2 ** (8 * bytes - 1)), 2 ** (8 * bytes - 1) - 1]
  if (!Number.isInteger(plain) || plain < least || plain > most) throw fault({ code: 'not-a-number', what: `a value of "${name}" is ${trimmed}, which ${dtype} has not`, at, fix: 'give the column another dtype' })
  return plain
}
