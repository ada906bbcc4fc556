/** Pieces to documents, in any thread. */
import { withBytes } from './byte-source.ts'
import { csvDocuments } from './csv.ts'
import { jsonlDocuments, jsonlRecords, type JsonRecord } from './jsonl.ts'
import type { ByteSource } from './source.ts'
import { tarDocuments } from './tar.ts'
import { textDocuments } from './text.ts'
import type { Document, DocumentFormat, Piece } from './types.ts'
import { bufferOf } from './utf8.ts'

const decoders: { readonly [K in Exclude<DocumentFormat['format'], 'parquet'>]: (bytes: Buffer, piece: Piece) => Iterable<Document> } = {
  text: textDocuments, jsonl: jsonlDocuments, csv: csvDocuments, tar: tarDocuments,
}

/**
 * The documents of a piece, in order. Runs in any thread. A text that is null, or has no character, is a document of no characters.
 * @throws DataError with file, line and fix, while they are gone through; also where the file has changed since the piece was cut.
 */
export function documentsOf(piece: Piece): AsyncIterable<Document> | Iterable<Document> {
  const { format } = piece.format
  return piece.data === undefined || format === 'parquet' ? fromFile(piece) : decoders[format](bufferOf(piece.data), piece)
}

/** The objects of a piece of JSONL, in order, with all of their fields. @throws DataError for a line that is no object; also where the file has changed since the piece was cut */
export async function* recordsOf(piece: Piece): AsyncGenerator<JsonRecord> {
  const bytes = piece.data === undefined ? await withBytes(piece.part, piece.version, source => source.read(piece.from, piece.to)) : bufferOf(piece.data)
  yield* jsonlRecords(bytes, piece)
}

async function* fromFile(piece: Piece): AsyncGenerator<Document> {
  yield* await withBytes(piece.part, piece.version, source => read(source, piece))
}

async function read(source: ByteSource, piece: Piece): Promise<Iterable<Document>> {
  const { format } = piece
  if (format.format !== 'parquet') return decoders[format.format](await source.read(piece.from, piece.to), piece)
  // Its reader is the largest, and few texts need it.
  if (format.messages !== undefined) return (await import('./parquet/chat.ts')).chatDocuments(source, piece, format.messages)
  return (await import('./parquet/column.ts')).columnDocuments(source, piece)
}
