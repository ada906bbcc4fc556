/** Documents of files: the door to what reads them. Parts are found and cut into pieces in one thread, pieces become documents in any. */
export { documentsOf, openParts, type Document, type DocumentFormat, type DocumentPart, type Message, type Piece } from './store/local-parts.ts'
