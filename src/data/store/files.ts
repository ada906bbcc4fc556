/** Reading and writing whole stretches of files: a call may move fewer bytes than it was asked to, and that is no error. */
import { fstatSync, openSync, readSync } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { DataError } from '../../core/errors.ts'
import { isSystemError } from '../../io/atomic.ts'

/** Linux moves no more in one call. */
const most = 2 ** 30

const shorter = (path: string, at: number, need: number, size: number): DataError => new DataError({
  code: 'store-cut-off', what: `${path} is shorter than it was`, details: { needed: `bytes ${at} to ${at + need}`, size: `${size}` }, fix: 'prepare the store again, or copy it again from where it is whole',
})

/** Fills `into` from a place of an open file. @throws DataError where the file ends before. */
export function readFully<A extends Uint8Array>(file: number, into: A, at: number, path: string): A {
  for (let done = 0; done < into.length;) {
    const n = readSync(file, into, done, Math.min(into.length - done, most), at + done)
    if (n === 0) throw shorter(path, at, into.length, fstatSync(file).size)
    done += n
  }
  return into
}

/** Writes all of `data` to a place of a file. @throws the system's error. */
export async function writeFully(file: FileHandle, data: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < data.length;) done += (await file.write(data, done, Math.min(data.length - done, most), at + done)).bytesWritten
}

/** Opens a file of a store to read ranges of it. @throws DataError where it cannot be. */
export function openToRead(path: string): number {
  try { return openSync(path, 'r') } catch (cause) {
    if (!isSystemError(cause)) throw cause
    throw new DataError({ code: 'store-file', what: `cannot read ${path}`, details: { reason: cause.message }, fix: 'give the folder that `meshwork data prepare` wrote', cause })
  }
}

/** Makes what happened in a folder (new files, renames) last beyond a power cut. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try { await folder.sync() } finally { await folder.close() }
}

/** A file that is written from its start on, in large writes; `at` is where the next byte goes. */
export class Appender {
  readonly #file: FileHandle
  readonly #pending: Uint8Array[] = []
  #waiting = 0
  at = 0
  constructor(file: FileHandle) { this.#file = file }

  async append(data: Uint8Array): Promise<void> {
    this.#pending.push(data)
    this.#waiting += data.length
    if (this.#waiting >= 1 << 20) await this.flush()
  }

  async flush(): Promise<void> {
    const all = Buffer.concat(this.#pending)
    this.#pending.length = 0
    this.#waiting = 0
    await writeFully(this.#file, all, this.at)
    this.at += all.length
  }
}
