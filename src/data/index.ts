/** Data: text → tokens → batches, the same for a seed on every mesh. */
export { type Batch, type BatchOrder, type BatchShape, type FixedOrder, type Rows, type Tokens, type TrainingOrder } from './batches.ts'
export { endOfText } from './bpe.ts'
export { documentsOf, openParts, type Document, type DocumentFormat, type DocumentPart, type Message, type Piece } from './documents.ts'
export { loadDataset, type DataProgress, type Dataset, type DatasetOptions } from './load.ts'
export { joinRows, openCsvRows, openIdx, openNpy, openNpz, openTar, type Column, type CsvColumn, type CsvRowsOptions, type MemberRows, type Members, type Rows as ArrayRows } from './sources/rows/index.ts'
export type { TextFile } from './text-file.ts'
export { parseTokenizer, readTokenizer, writeTokenizer } from './tokenizer-json.ts'
export { type StreamDecoder, type Tokenizer } from './tokenizer.ts'
