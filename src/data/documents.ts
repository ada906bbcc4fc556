/** Documents of every kind of file: the door to what reads them. Parts are found and cut into pieces in one thread, pieces become documents in any. */
export { documentsOf } from './sources/decode.ts'
export { openParts } from './sources/open.ts'
export type { ColumnLayout, Document, DocumentFormat, DocumentPart, LineLayout, Message, PageLayout, Piece, PieceLayout, RowLayout } from './sources/types.ts'
