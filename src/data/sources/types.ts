/** What documents, pieces of files and the parts they come from are. */
import type { Plain } from '../../core/plain.ts'

/** One turn of a chat. */
export interface Message {
  readonly role: string
  readonly content: string
  /** Tools that an assistant calls, and which of its calls a tool answers: templates that know of tools show them. */
  readonly tool_calls?: readonly Plain[]
  readonly tool_call_id?: string
  readonly name?: string
}

/** One document: `at` is where the user finds it, `corpus.jsonl:17` (file and line, or row). `record` counts from 0 within its part. */
export interface Document { readonly record: number; readonly at: string; readonly content: string | readonly Message[] }

/** How the records of a file become documents: plain data, so that it can be sent to a worker thread and written into a manifest. */
export type DocumentFormat =
  /** One document a file, or split at a separator line such as `<|endoftext|>` (which itself separates wherever it stands). */
  | { readonly format: 'text'; readonly separator?: string }
  /**
   * A JSON object a line. `field` holds the text, or `messages` a chat `[{ role, content }, …]`; with neither given, the first that a
   * record has of `text`, `messages`, and `prompt` with `completion`.
   */
  | { readonly format: 'jsonl'; readonly field?: string; readonly messages?: string }
  /** A column of text, `text` unless `field` says otherwise, or of chats: a list of structs of `role` and `content`. */
  | { readonly format: 'parquet'; readonly field?: string; readonly messages?: string }
  /** Its first record names the columns; `text` is read unless `field` says otherwise. `delimiter` is one ASCII character. */
  | { readonly format: 'csv'; readonly field?: string; readonly delimiter?: string }
  /** Files with the same name up to the first dot are a record; `field` is the extension of the member that is the text, `txt` unless given. */
  | { readonly format: 'tar'; readonly field?: string }

/** Lines: the number of the first, from 1. */
export interface LineLayout { readonly line: number }
/** Records of a CSV file: the line its first begins at, and the place of the column among how many. */
export interface RowLayout extends LineLayout { readonly column: number; readonly columns: number }
/** A run of pages of a Parquet column: where its dictionary lies, and how its values are to be read. */
export interface PageLayout {
  readonly row: number
  readonly rows: number
  readonly dictionary?: readonly [from: number, to: number]
  readonly codec: string
  readonly optional: boolean
}
/** A whole row group of a nested Parquet column: read by way of the file's footer. */
export interface ColumnLayout { readonly row: number; readonly rows: number; readonly group: number }
/** What a piece needs beside its bytes. */
export type PieceLayout = LineLayout | RowLayout | PageLayout | ColumnLayout

/**
 * A stretch of a part that any thread can turn into documents by itself: plain data. `data` where it had to be read in order (compressed, a
 * pipe); else from the file by range. `first` is the record number of its first document.
 */
export interface Piece {
  readonly part: string
  readonly format: DocumentFormat
  readonly index: number
  readonly first: number
  /** Bytes of the part, after decompression: `from` is the first of the piece, `to` the one behind it. */
  readonly from: number
  readonly to: number
  readonly data?: Uint8Array
  readonly layout?: PieceLayout
  /** What the file was when it was cut: one that has changed since is refused. */
  readonly version?: string
}

/** A file, an archive, an address: read apart from the others. Pieces are the same ones however often they are asked for, in order, about `bytes` big; `after` skips those up to an index (resuming). Memory stays flat. */
export interface DocumentPart {
  readonly name: string
  /** As it lies on the disk; undefined for a pipe, and for an address that does not tell. */
  readonly bytes: number | undefined
  /**
   * Equal for equal content. Of files over 64 MiB it is made of the size and of 64 stretches of 64 KiB spread over them, the ends among them; of addresses, of what the
   * server says of them (ETag, or date and size). A pipe's is never that of another.
   * @throws DataError when it cannot be read.
   */
  fingerprint(): Promise<string>
  /** @throws DataError with file, line and fix, while they are gone through. */
  pieces(options?: { readonly after?: number; readonly bytes?: number }): AsyncIterable<Piece>
}
