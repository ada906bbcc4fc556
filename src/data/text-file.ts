/** The user's text files: every way in which one can be unfit is one clear error. */
import { isUtf8 } from 'node:buffer'
import { readdir, readFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { DataError } from '../core/errors.ts'
import { nearest } from '../core/nearest.ts'

/** Strings of JavaScript end at 2^29 characters. */
const largest = 2 ** 29 - 25

/**
 * The bytes of a text file, known to be UTF-8 with something in it.
 * @throws DataError when it is missing, a folder, unreadable, too large, empty or not UTF-8.
 */
export async function readTextFile(path: string): Promise<Buffer> {
  const bytes = await readFile(path).catch(async (cause: unknown) => { throw await unreadable(path, cause) })
  if (bytes.length > largest) throw tooLarge(path)
  if (!isUtf8(bytes)) {
    const offset = firstBadByte(bytes)
    const utf16 = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)
    throw new DataError({
      code: 'not-utf8', what: `${path} is not UTF-8 text`,
      details: { at: `byte ${offset} (0x${(bytes[offset] ?? 0).toString(16).padStart(2, '0')})` },
      fix: `convert it${utf16 ? '' : ', if it is Latin-1'}: iconv -f ${utf16 ? 'UTF-16' : 'LATIN1'} -t UTF-8 "${path}" > utf8.txt`,
    })
  }
  if (isBlank(bytes)) {
    const what = `${path} ${bytes.length === 0 ? 'is empty' : 'holds nothing but white space'}`
    throw new DataError({ code: 'empty-text', what, fix: 'give a file with text in it' })
  }
  return bytes
}

/** Text without a byte order mark, its lines ending in \n alone. */
export const decodeText = (bytes: Uint8Array): string => new TextDecoder('utf-8').decode(bytes).replaceAll('\r\n', '\n')

/** Nearly always the start of a file decides. */
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
    const near = nearest(basename(path), await readdir(dirname(path)).catch(() => []))
    return new DataError({
      code: 'no-such-file', what: `there is no file ${path}`,
      fix: near === undefined ? 'give the path of a text file' : `did you mean "${near}" in the same folder?`, cause,
    })
  }
  if (code === 'EISDIR') {
    const fix = 'name the files in it, as in --data FOLDER/*.txt'
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
  fix: `split it and give all the parts: split -C 400M "${path}" part-`, cause,
})
