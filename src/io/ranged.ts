/** Files read by ranges, never as a whole and never by a memory map: a mapped file that shrinks would kill the process. */
import { FileError } from '../core/errors.ts'
import { isSystemError } from './atomic.ts'
import { crc } from './crc.ts'
import { readAll, type Files } from './files.ts'

export interface Ranged extends AsyncDisposable {
  readonly path: string
  /** Bytes of the whole. */
  readonly size: number
  /** Fills `into` with the bytes from `at` on. @throws FileError where they are not there, cannot be read, or are not what was written */
  read(into: Uint8Array, at: number): Promise<void>
  close(): Promise<void>
}

export const cannotRead = (path: string, cause: unknown, fix = 'check the file and its disk'): FileError => new FileError({
  code: 'read', what: `cannot read ${path}`, details: { reason: cause instanceof Error ? cause.message : String(cause) }, fix, ...cause instanceof Error ? { cause } : {},
})

/** Bytes of a file that are not what they should be. */
export const damaged = (path: string, reason: string, cause?: unknown): FileError => new FileError({
  code: 'damaged', what: `${path} is damaged`, details: { reason }, fix: 'write or copy it again', cause,
})

/** Opens a file to be read by ranges. @throws FileError where there is none, it is no regular file, or it cannot be opened */
export async function openRanged(files: Files, path: string): Promise<Ranged> {
  // The kind of file is asked first, because opening a pipe would wait until somebody writes into it.
  const info = await files.info(path).catch((cause: unknown) => { throw cannotRead(path, cause) })
  if (info === undefined) throw cannotRead(path, 'there is no such file', 'check the path')
  if (info.kind !== 'file') throw cannotRead(path, info.kind === 'folder' ? 'it is a folder' : 'it is a pipe, a device or a socket, in which nothing can be looked up', 'give the path of a file')
  const file = await files.open(path, 'r').catch((cause: unknown) => { throw cannotRead(path, cause) })
  const close = (): Promise<void> => file.close()
  return {
    path, size: info.size, close, [Symbol.asyncDispose]: close,
    async read(into, at) {
      const found = await readAll(file, into, at).catch((cause: unknown) => { throw isSystemError(cause) ? cannotRead(path, cause) : cause })
      if (found < into.byteLength) throw damaged(path, `it ends at byte ${at + found}, and ${at + into.byteLength} were to be read`)
    },
  }
}

/** Checksums of a file's bytes, by chunks of one size; the last may be shorter. */
export interface Chunks { readonly size: number; readonly crcs: Uint32Array }

/** Bytes that one read takes at most, so that the disk and the checksums are busy at the same time, and memory stays bounded. */
const longestRead = 4 * 2 ** 20

/** The same file, of which no byte is handed out before the chunk that it lies in has shown its checksum. */
export function verified(file: Ranged, { size: chunk, crcs }: Chunks): Ranged {
  const perRead = Math.max(1, Math.floor(longestRead / chunk))
  /** The last chunk of which only a part was wanted: the next tensor often begins in it. */
  let kept: { readonly index: number; readonly bytes: Uint8Array } | undefined
  const lengthOf = (index: number): number => Math.min(chunk, file.size - index * chunk)
  const check = (index: number, bytes: Uint8Array): void => {
    if (crc(bytes) !== crcs[index]) throw damaged(file.path, `bytes ${index * chunk} to ${index * chunk + bytes.byteLength - 1} do not have the checksum that was written`)
  }
  const whole = async (index: number): Promise<Uint8Array> => {
    if (kept?.index === index) return kept.bytes
    const bytes = new Uint8Array(lengthOf(index))
    await file.read(bytes, index * chunk)
    check(index, bytes)
    kept = { index, bytes }
    return bytes
  }
  return {
    path: file.path, size: file.size, close: () => file.close(), [Symbol.asyncDispose]: () => file.close(),
    async read(into, at) {
      const end = at + into.byteLength
      if (end > file.size) throw damaged(file.path, `it ends at byte ${file.size}, and ${end} were to be read`)
      // One read is under way while the checksums of the one before are computed.
      let before = Promise.resolve()
      for (let index = Math.floor(at / chunk); index * chunk < end;) {
        const begin = index * chunk
        if (begin < at || begin + lengthOf(index) > end) {
          const bytes = await whole(index)
          const [from, to] = [Math.max(at, begin), Math.min(end, begin + bytes.byteLength)]
          into.set(bytes.subarray(from - begin, to - begin), from - at)
          index++
          continue
        }
        // Chunks that are wanted whole are read where they belong, and checked there.
        let next = index
        while (next < index + perRead && next * chunk + lengthOf(next) <= end && next * chunk < end) next++
        const run = into.subarray(begin - at, Math.min(end, next * chunk) - at)
        const reading = file.read(run, begin)
        // Where the one before fails, nobody waits for this one.
        reading.catch(() => {})
        await before
        const first = index
        before = reading.then(() => {
          for (let i = first; i < next; i++) check(i, run.subarray((i - first) * chunk, (i - first) * chunk + lengthOf(i)))
        })
        before.catch(() => {})
        index = next
      }
      await before
    },
  }
}
