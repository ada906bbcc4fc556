/** Writes a process's part of a checkpoint's files, and says what it gives to their checksums. */
import { join } from 'node:path'
import { partialCrc } from '../io/crc.ts'
import { writeAll, type Files } from '../io/files.ts'
import type { PlannedFile } from './plan.ts'
import type { Run } from './stage.ts'

/** Bytes that one checksum is of: what a device that needs little of a tensor reads too much at each end. */
export const chunkBytes: number = 2 ** 18
const chunksOf = (size: number): number => Math.ceil(size / chunkBytes)

/** Bytes that are given to the disk at once, so that Node's loop turns in between. */
const most = 4 * 2 ** 20

/** What a process's runs give to the checksum of each chunk, by file. */
export type Contributions = readonly Uint32Array[]

/** Makes the files with their sizes, so that every process can open them. */
export async function createFiles(files: Files, folder: string, planned: readonly PlannedFile[]): Promise<void> {
  for (const { name, size } of planned) {
    const file = await files.open(join(folder, name), 'wx')
    try { await file.truncate(size) } finally { await file.close() }
  }
}

/** Resolves when everything is on the disk. @throws the system's error */
export async function writeRuns(files: Files, folder: string, planned: readonly PlannedFile[], runs: readonly (readonly Run[])[]): Promise<Contributions> {
  const given: Uint32Array[] = []
  for (const [i, { name, size }] of planned.entries()) {
    const joined = new Uint32Array(chunksOf(size))
    given.push(joined)
    const own = runs[i] ?? []
    if (own.length === 0) continue
    const file = await files.open(join(folder, name), 'r+')
    try {
      for (const { at, bytes } of own) {
        for (let from = 0; from < bytes.byteLength; from += most) {
          const piece = bytes.subarray(from, from + most)
          const writing = writeAll(file, piece, at + from)
          // The disk takes them while their checksum is computed; what it says is heard right after.
          writing.catch(() => {})
          contribute(joined, size, piece, at + from)
          await writing
        }
      }
      await file.sync()
    } finally {
      await file.close()
    }
  }
  return given
}

function contribute(joined: Uint32Array, size: number, bytes: Uint8Array, at: number): void {
  const end = at + bytes.byteLength
  for (let begin = at; begin < end;) {
    const chunk = Math.floor(begin / chunkBytes)
    const last = Math.min(size, (chunk + 1) * chunkBytes)
    const to = Math.min(end, last)
    joined[chunk] = ((joined[chunk] ?? 0) ^ partialCrc(bytes.subarray(begin - at, to - at), last - to)) >>> 0
    begin = to
  }
}

/** Several processes' contributions together. */
export function joined(all: readonly Contributions[]): Contributions {
  const [first = [], ...others] = all
  return first.map((own, i) => own.map((crc, c) => others.reduce((n, other) => n ^ (other[i]?.[c] ?? 0), crc) >>> 0))
}

/** As bytes for an exchange, and back. */
export const packed = (given: Contributions): Uint8Array => new Uint8Array(Buffer.concat(given.map(g => new Uint8Array(g.buffer, g.byteOffset, g.byteLength))))
export function unpacked(bytes: Uint8Array, planned: readonly PlannedFile[]): Contributions {
  const all = new Uint32Array(bytes.slice().buffer)
  let at = 0
  return planned.map(({ size }) => all.slice(at, at += chunksOf(size)))
}
/** The length of each chunk of a file. */
export const chunkLength = (size: number, chunk: number): number => Math.min(chunkBytes, size - chunk * chunkBytes)
