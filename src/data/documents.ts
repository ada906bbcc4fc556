/** Documents of every kind of file: the door to what reads them. Parts are found and cut into pieces in one thread, pieces become documents in any. */
export { documentsOf, recordsOf } from './sources/decode.ts'
export type { JsonRecord } from './sources/jsonl.ts'
export { openParts } from './sources/open.ts'
export type { ColumnLayout, Document, DocumentFormat, DocumentPart, LineLayout, Message, PageLayout, Piece, PieceLayout, RowLayout } from './sources/types.ts'
