/** Lines of a file that grows, from wherever one has read to. */
import { constants } from 'node:fs'
import { lstat, open, type FileHandle } from 'node:fs/promises'
import { crc32 } from 'node:zlib'

/** Bytes that are read at once. */
const most = 1 << 20
/** Bytes before a place that say whether it is still the same place. */
const mark = 64

/** Opens a file, but not what a link leads to, which may lie anywhere. */
const opened = (path: string): Promise<FileHandle | undefined> => open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch(() => undefined)

/** All of a file's text; empty where there is none. One of more than 16 MiB is none of ours. */
export async function textOf(path: string): Promise<string> {
  const size = (await infoOf(path))?.size ?? 0
  return size > 1 << 24 ? '' : (await bytesOf(path, 0, size)).toString()
}

/** Its length and when it was changed; undefined where there is none. */
export async function infoOf(path: string): Promise<{ readonly size: number; readonly changed: number } | undefined> {
  const found = await lstat(path).catch(() => undefined)
  return found?.isFile() === true ? { size: found.size, changed: found.mtimeMs } : undefined
}

/** What stands right before a place, as a number: a file that was cut and written anew has something else there. */
export async function markAt(path: string, at: number): Promise<number> {
  const bytes = await bytesOf(path, Math.max(0, at - mark), at)
  return crc32(bytes)
}

/** @returns fewer where the file is shorter */
export async function bytesOf(path: string, from: number, to: number): Promise<Buffer> {
  const file = await opened(path)
  if (file === undefined) return Buffer.alloc(0)
  try {
    const bytes = Buffer.allocUnsafe(Math.max(0, to - from))
    let length = 0
    while (length < bytes.length) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length, from + length)
      if (bytesRead === 0) break
      length += bytesRead
    }
    return bytes.subarray(0, length)
  } finally {
    await file.close()
  }
}

/** Whole lines from a place on, with where each begins. A last one that has no end yet is left for later. A line of more than a mebibyte is none of ours and is passed over. */
export async function* linesFrom(path: string, from: number, to: number = Infinity): AsyncGenerator<{ readonly text: string; readonly at: number; readonly next: number }> {
  let at = from
  while (at < to) {
    const bytes = await bytesOf(path, at, Math.min(at + most, to))
    const end = bytes.lastIndexOf(10)
    if (end < 0) {
      if (bytes.length < most) return
      at += most
      continue
    }
    for (let begin = 0; begin <= end;) {
      const stop = bytes.indexOf(10, begin)
      yield { text: bytes.toString('utf8', begin, stop), at: at + begin, next: at + stop + 1 }
      begin = stop + 1
      if (at + begin >= to) return
    }
    at += end + 1
  }
}

/** Fields of a line; undefined where it is torn, or is no object. */
export function fieldsIn(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const found = JSON.parse(text) as Readonly<Record<string, unknown>> | null
    return typeof found === 'object' && found !== null && !Array.isArray(found) ? found : undefined
  } catch {
    return undefined
  }
}
