/** The user's text files: every way in which one can be unfit is one clear error. */
import { isUtf8 } from 'node:buffer'
import { open, readdir, stat, type FileHandle } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { DataError } from '../core/errors.ts'
import { nearest } from '../core/nearest.ts'
import { isSystemError } from '../io/atomic.ts'
import { shellPath } from '../io/shell.ts'

/** A JavaScript string has at most 2^29 characters. */
const largest = 2 ** 29 - 25

/** A text file by its path, or with what was read from it: a pipe gives its text only once. */
export type TextFile = string | { readonly path: string; readonly bytes: Buffer }

/**
 * Checks a text file. What can be read again is let go; of a pipe or the like, the text is kept.
 * @throws DataError as `readTextFile`
 */
export async function checkedTextFile(path: string): Promise<TextFile> {
  const bytes = await readTextFile(path)
  return await isRegular(path) ? path : { path, bytes }
}

/**
 * The bytes of a text file, known to be UTF-8 with something in it.
 * @throws DataError when it is missing, a folder, unreadable, too large, empty or not UTF-8.
 */
export async function readTextFile(file: TextFile): Promise<Buffer> {
  if (typeof file !== 'string') return file.bytes
  const path = file
  const bytes = await readAll(path).catch(async (cause: unknown) => { throw cause instanceof DataError ? cause : await unreadable(path, cause) })
  if (!isUtf8(bytes)) {
    const offset = firstBadByte(bytes)
    const regular = await isRegular(path)
    const utf16 = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)
    throw new DataError({
      code: 'not-utf8', what: `${path} is not UTF-8 text`,
      details: { at: `byte ${offset} (0x${(bytes[offset] ?? 0).toString(16).padStart(2, '0')})` },
      fix: `convert it${utf16 ? '' : ', if it is Latin-1'}: iconv -f ${utf16 ? 'UTF-16' : 'LATIN1'} -t UTF-8 ${regular ? `${shellPath(path)} > utf8.txt` : 'on its way through the pipe'}`,
    })
  }
  if (bytes.length === 0 && !await isRegular(path)) {
    throw new DataError({
      code: 'empty-text', what: `no text came from ${path}, which is no file on a disk`,
      fix: 'a pipe gives its text once, and to one process: give it once, or write the text into a file and give that',
    })
  }
  if (isBlank(bytes)) {
    const what = `${path} ${bytes.length === 0 ? 'is empty' : 'holds nothing but white space'}`
    throw new DataError({ code: 'empty-text', what, fix: 'give a file with text in it' })
  }
  return bytes
}

const isRegular = (path: string): Promise<boolean> => stat(path).then(s => s.isFile(), () => false)

/** No more than a text may have: a device may never end. */
async function readAll(path: string): Promise<Buffer> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    // Standard input may be a socket, which has no path that could be opened.
    if (isSystemError(cause) && cause.code === 'ENXIO' && stdinPaths.includes(path)) return undefined
    throw cause
  })
  if (file === undefined) return readStdin(path)
  try {
    const known = await file.stat()
    if (known.isFile() && known.size > largest) throw tooLarge(path)
    return await readToEnd(file, path, known.isFile() ? known.size : 0)
  } finally {
    await file.close()
  }
}

const stdinPaths: readonly string[] = ['/dev/stdin', '/dev/fd/0', '/proc/self/fd/0']
async function readStdin(path: string): Promise<Buffer> {
  const parts: Buffer[] = []
  let total = 0
  for await (const part of process.stdin as AsyncIterable<Buffer>) {
    parts.push(part)
    total += part.length
    if (total > largest) throw tooLarge(path)
  }
  return Buffer.concat(parts)
}

async function readToEnd(file: FileHandle, path: string, expected: number): Promise<Buffer> {
  const parts: Buffer[] = []
  for (let total = 0, next = Math.max(expected + 1, 1 << 16); ; next = 1 << 20) {
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(next), 0, next)
    if (bytesRead === 0) return parts.length === 1 ? parts[0] ?? buffer : Buffer.concat(parts)
    parts.push(buffer.subarray(0, bytesRead))
    total += bytesRead
    if (total > largest) throw tooLarge(path)
  }
}

/** Text without a byte order mark, its lines ending in \n alone. */
export const decodeText = (bytes: Uint8Array): string => new TextDecoder('utf-8').decode(bytes).replaceAll('\r\n', '\n')

/** Bytes that are looked at first: the start of a file nearly always shows whether it is UTF-8. */
const isBlank = (bytes: Uint8Array): boolean =>
  new TextDecoder().decode(bytes.subarray(0, 4096), { stream: true }).trim() === '' && new TextDecoder().decode(bytes).trim() === ''

/** Offset of the first byte that cannot be where it is; of a character cut off by the end, its first byte. */
function firstBadByte(bytes: Uint8Array): number {
  const fits = (length: number): boolean => {
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, length), { stream: true })
      return true
    } catch {
      return false
    }
  }
  if (fits(bytes.length)) {
    let start = bytes.length - 1
    while (start > 0 && ((bytes[start] ?? 0) & 0xc0) === 0x80) start--
    return start
  }
  let [good, bad] = [0, bytes.length]
  while (bad - good > 1) {
    const middle = (good + bad) >> 1
    if (fits(middle)) good = middle
    else bad = middle
  }
  return good
}

async function unreadable(path: string, cause: unknown): Promise<DataError> {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    // Names in the system's own folders are no texts.
    const names = /^\/(dev|proc|sys)\//.test(path) ? [] : await readdir(dirname(path)).catch(() => [])
    const near = nearest(basename(path), names)
    return new DataError({
      code: 'no-such-file', what: `there is no file ${path}`, cause,
      fix: path === '-' ? 'for what comes through a pipe: --data /dev/stdin' : near === undefined ? 'give the path of a text file' : `did you mean "${near}" in the same folder?`,
    })
  }
  if (code === 'EISDIR') {
    const texts = (await readdir(path).catch(() => [])).filter(name => name.endsWith('.txt'))
    const fix = `name the files in it, as in --data ${texts.length > 0 ? shellPath(path.replace(/\/+$/, '')) : 'FOLDER'}/*.txt`
    return new DataError({ code: 'is-folder', what: `${path} is a folder, not a text file`, fix, cause })
  }
  if (code === 'ERR_FS_FILE_TOO_LARGE') return tooLarge(path, cause)
  return new DataError({
    code: 'unreadable', what: `cannot read ${path}`, details: { reason: cause instanceof Error ? cause.message : String(cause) },
    fix: 'make it readable, or give another file', cause,
  })
}

const tooLarge = (path: string, cause?: unknown): DataError => new DataError({
  code: 'file-too-large', what: `${path} is larger than one text may be`, details: { most: `${largest} bytes` },
  fix: `split it and give all the parts: split -C 400M ${shellPath(path)} part-`, cause,
})
