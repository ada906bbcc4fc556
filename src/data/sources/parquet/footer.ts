/** The footer of a Parquet file: which columns there are, and where the parts of one lie. */
import type { ColumnMetaData, FileMetaData, SchemaTree } from 'hyparquet'
import { parquetMetadata, parquetSchema } from 'hyparquet'
import { getMaxDefinitionLevel, getMaxRepetitionLevel, getTreePath } from 'hyparquet/src/schema.js'
import { didYouMean } from '../../../core/nearest.ts'
import { fault, reasonOf } from '../faults.ts'
import type { ByteSource } from '../source.ts'
import { ParquetFault, structEnd } from './guard.ts'
import type { Leaf } from './pages.ts'
import { DataError } from '../../../core/errors.ts'

/** 64 MiB describe a million column chunks. */
const largestFooter = 2 ** 26
const deepest = 32

export interface Footer { readonly meta: FileMetaData; readonly schema: SchemaTree; readonly size: number }

/** One column of one row group. */
export interface Chunk extends Leaf { readonly from: number; readonly to: number; readonly unpacked: number }

/** Errors of the library as one of ours. */
export const spoilt = (name: string, at: string, cause: unknown): Error => cause instanceof DataError ? cause : fault({
  code: 'bad-parquet', what: cause instanceof ParquetFault ? cause.message : 'it cannot be read as Parquet', at: `${name}, ${at}`, details: cause instanceof ParquetFault ? {} : { reason: reasonOf(cause) },
  fix: 'it is damaged, cut off or no Parquet: open it with pyarrow or DuckDB, and fetch or write it again', cause,
})

/** @throws DataError when it has none that can be read. */
export async function readFooter(source: ByteSource): Promise<Footer> {
  const { name, size } = source
  if (!source.ranged || size === undefined) throw fault({ code: 'no-ranges', what: `${name} can only be read from its start, and Parquet's index is at the end`, fix: 'download it, and give the file' })
  const tail = await source.read(Math.max(0, size - 8), size)
  if (size < 12 || tail.toString('latin1', 4, 8) !== 'PAR1') {
    const encrypted = tail.toString('latin1', 4, 8) === 'PARE'
    throw fault({ code: 'bad-parquet', what: encrypted ? `${name} is encrypted` : `${name} does not end as Parquet does`, details: { size: `${size} bytes` }, fix: encrypted ? 'decrypt it first' : 'it is cut off, or no Parquet: fetch it again' })
  }
  const length = tail.readUInt32LE(0)
  const at = `byte ${size - 8 - length}`
  try {
    if (length > size - 12 || length > largestFooter) throw new ParquetFault(`its footer says it has ${length} bytes`)
    const bytes = await source.read(size - 8 - length, size)
    structEnd(bytes.subarray(0, length), 0)
    const meta = parquetMetadata(new Uint8Array(bytes), { geoparquet: false })
    checkDepth(meta)
    return { meta, schema: parquetSchema(meta), size: size - 8 - length }
  } catch (cause) {
    throw spoilt(name, at, cause)
  }
}

/** The schema is a tree, written in order: its library builds it by recursion. */
function checkDepth({ schema }: FileMetaData): void {
  const open: number[] = []
  for (const { num_children = 0 } of schema) {
    while (open.at(-1) === 0) open.pop()
    if (open.length > 0) open[open.length - 1] = (open.at(-1) ?? 0) - 1
    open.push(num_children)
    if (open.length > deepest) throw new ParquetFault(`its columns are nested more than ${deepest} deep`)
  }
}

const name = (tree: SchemaTree): string => tree.element.name.slice(0, 40)

/** A top-level column. @throws DataError when there is none of the name, or two. */
export function columnOf({ schema }: Footer, file: string, field: string): SchemaTree {
  const found = schema.children.filter(child => child.element.name === field)
  const [column] = found
  if (column === undefined) throw fault({ code: 'no-field', what: `there is no column "${field}"`, at: file, fix: `say which column holds the text; ${didYouMean(field, schema.children.slice(0, 12).map(name))}` })
  if (found.length > 1) throw fault({ code: 'two-columns', what: `two columns are called "${field}"`, at: file, fix: 'rename one of them' })
  return column
}

/** Whether a leaf holds text. */
export function isText({ element }: SchemaTree): boolean {
  const logical = element.logical_type?.type
  return element.type === 'BYTE_ARRAY' && [undefined, 'UTF8', 'JSON', 'ENUM'].includes(element.converted_type) && [undefined, 'STRING', 'JSON', 'ENUM'].includes(logical)
}

export const notText = (file: string, field: string, { element, children }: SchemaTree): DataError => fault({
  code: 'not-text', what: `the column "${field}" holds ${children.length > 0 ? 'lists or structs' : element.logical_type?.type ?? element.converted_type ?? element.type ?? 'nothing'}, no text`, at: file,
  fix: children.length > 0 ? 'say which column holds the text, or the messages of a chat' : 'say which column holds the text',
})

/** Where the part of a leaf lies that a row group has. @throws ParquetFault */
export function chunkOf({ meta, schema, size }: Footer, group: number, path: readonly string[]): Chunk {
  const found = meta.row_groups[group]?.columns.find(c => c.meta_data?.path_in_schema.length === path.length && c.meta_data.path_in_schema.every((p, i) => p === path[i]))
  const data: ColumnMetaData | undefined = found?.meta_data
  if (found?.file_path) throw new ParquetFault('its columns lie in other files')
  if (found === undefined || data === undefined) throw new ParquetFault(`row group ${group} lacks the column ${path.join('.')}, or has it encrypted`)
  if (found.crypto_metadata !== undefined) throw new ParquetFault('the column is encrypted')
  const starts = [data.dictionary_page_offset, data.data_page_offset].filter(offset => offset !== undefined).map(Number).filter(offset => offset > 0)
  const from = Math.min(...starts)
  const to = from + Number(data.total_compressed_size)
  if (!(from >= 4 && to >= from && to <= size)) throw new ParquetFault(`row group ${group} says its column lies in bytes ${from} to ${to} of ${size}`)
  const nodes = getTreePath(schema, [...path])
  return { from, to, unpacked: Number(data.total_uncompressed_size), codec: String(data.codec), definition: getMaxDefinitionLevel(nodes), repetition: getMaxRepetitionLevel(nodes) }
}

/** Rows of each group. @throws ParquetFault when their sum is not what the file says. */
export function groupRows({ meta }: Footer): readonly number[] {
  const rows = meta.row_groups.map(g => Number(g.num_rows))
  const sum = rows.reduce((n, r) => n + r, 0)
  if (rows.some(r => !(r >= 0)) || sum !== Number(meta.num_rows) || !Number.isSafeInteger(sum)) throw new ParquetFault(`it says it has ${String(meta.num_rows)} rows, its groups ${sum}`)
  return rows
}
