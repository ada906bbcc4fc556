/** Tokens of a store by ranges, in any thread: plain reads, and a chunk's checksum the first time that anything of it is read. */
import { closeSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { DataError } from '../../core/errors.ts'
import { openToRead, readFully } from './files.ts'
import { bytesOfType, type TokenType } from './megatron.ts'

/** What a thread needs to read: plain data, the arrays shared. */
export interface TokenFiles {
  readonly tokens: string
  readonly type: TokenType
  readonly count: number
  /** The file of masks, and where each chunk's lies in it: -1 for none. */
  readonly mask: { readonly path: string; readonly starts: Float64Array } | null
  readonly chunks: {
    /** Tokens before each chunk, and of all; empty where nobody has checksums. */
    readonly starts: Float64Array
    readonly crc: Uint32Array
    readonly maskCrc: Uint32Array
    /** 1 once a chunk has been found whole, by any thread. */
    readonly checked: Uint8Array
  }
}

export class TokenReader {
  readonly #files: TokenFiles
  readonly #tokens: number
  readonly #mask: number | undefined
  #buffer: Uint8Array = new Uint8Array(1 << 14)

  constructor(files: TokenFiles) {
    this.#files = files
    this.#tokens = openToRead(files.tokens)
    this.#mask = files.mask === null ? undefined : openToRead(files.mask.path)
  }

  close(): void {
    closeSync(this.#tokens)
    if (this.#mask !== undefined) closeSync(this.#mask)
  }

  /**
   * Puts `n` ids from the `from`-th token of the store on into `into`, at `at`.
   * @throws DataError when the file is shorter than it was, or a chunk is not as it was written.
   */
  read(from: number, n: number, into: Int32Array, at: number): void {
    if (n === 0) return
    this.#check(from, n)
    const { type, tokens } = this.#files
    const width = bytesOfType[type]
    if (this.#buffer.length < n * width) this.#buffer = new Uint8Array(2 * n * width)
    const bytes = readFully(this.#tokens, this.#buffer.subarray(0, n * width), from * width, tokens)
    const view = new DataView(bytes.buffer)
    if (type === 'uint16') into.set(new Uint16Array(bytes.buffer, 0, n), at)
    else if (type === 'int32') into.set(new Int32Array(bytes.buffer, 0, n), at)
    else for (let i = 0; i < n; i++) into[at + i] = others[type](view, i)
  }

  /** The same of the mask: 1 for a token that is to be predicted. */
  readMask(from: number, n: number, into: Float32Array, at: number): void {
    const { mask, chunks } = this.#files
    if (mask === null || this.#mask === undefined || n === 0) {
      into.fill(1, at, at + n)
      return
    }
    this.#check(from, n)
    for (let chunk = chunkOf(chunks.starts, from), done = 0; done < n; chunk++) {
      const [first, end] = [chunks.starts[chunk] as number, chunks.starts[chunk + 1] as number]
      const take = Math.min(n - done, end - from - done)
      const start = mask.starts[chunk] as number
      if (start < 0) into.fill(1, at + done, at + done + take)
      else into.set(readFully(this.#mask, new Uint8Array(take), start + from + done - first, mask.path), at + done)
      done += take
    }
  }

  #check(from: number, n: number): void {
    const { starts, checked } = this.#files.chunks
    if (starts.length < 2) return
    for (let chunk = chunkOf(starts, from); chunk < checked.length && (starts[chunk] as number) < from + n; chunk++) {
      if (checked[chunk] === 0) this.checkChunk(chunk)
    }
  }

  /** @throws DataError when a chunk is not as it was written. */
  checkChunk(chunk: number): void {
    const { tokens, type, mask, chunks: { starts, crc, maskCrc, checked } } = this.#files
    const width = bytesOfType[type]
    const [first, end] = [starts[chunk] as number, starts[chunk + 1] as number]
    requireCrc(this.#tokens, tokens, first * width, (end - first) * width, crc[chunk] as number)
    const maskStart = mask?.starts[chunk] ?? -1
    if (mask !== null && this.#mask !== undefined && maskStart >= 0) requireCrc(this.#mask, mask.path, maskStart, end - first, maskCrc[chunk] as number)
    checked[chunk] = 1
  }
}

const others: { readonly [T in TokenType]: (view: DataView, i: number) => number } = {
  uint8: (v, i) => v.getUint8(i), int8: (v, i) => v.getInt8(i), int16: (v, i) => v.getInt16(2 * i, true), uint16: (v, i) => v.getUint16(2 * i, true),
  int32: (v, i) => v.getInt32(4 * i, true), int64: (v, i) => Number(v.getBigInt64(8 * i, true)),
}

/** @throws DataError when a stretch of a file has another checksum. */
export function requireCrc(file: number, path: string, at: number, bytes: number, crc: number): void {
  if (crc32(readFully(file, new Uint8Array(bytes), at, path)) === crc) return
  throw new DataError({
    code: 'store-harmed', what: `${path} is not as it was written`, details: { where: `bytes ${at} to ${at + bytes}` }, fix: 'prepare the store again, or copy it again from where it is whole',
  })
}

/** The stretch of `starts` that holds a place: the last that begins at it or before, of those that hold anything. */
export function chunkOf(starts: Float64Array, place: number): number {
  let [low, high] = [0, starts.length - 1]
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if ((starts[middle] as number) <= place) low = middle
    else high = middle
  }
  return low
}
