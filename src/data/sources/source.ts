/** Where bytes come from: a file, a pipe, an address. */

export interface ByteSource {
  readonly name: string
  /** Bytes; undefined where they are not known before they end. */
  readonly size: number | undefined
  /** What it is now: another one once it has changed. Undefined where that cannot be told. */
  readonly version: string | undefined
  /** Whether `read` works; else it is read once, in order. */
  readonly ranged: boolean
  /** Whether reading a stretch again costs next to nothing. */
  readonly near: boolean
  /** The bytes [from, to), all of them. @throws DataError when there are fewer, or they cannot be read. */
  read(from: number, to: number): Promise<Buffer>
  /** The same into a part of an array, at once where the source is near. */
  readInto(target: Uint8Array, from: number): Promise<void> | undefined
  /** All bytes in order. A chunk holds until the next one is asked for. @throws DataError */
  stream(): AsyncIterable<Buffer>
  /** Equal for equal content. */
  fingerprint(): Promise<string>
  close(): Promise<void>
}
