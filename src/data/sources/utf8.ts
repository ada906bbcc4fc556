/** Bytes to text: what is not UTF-8 is told with its place. */
import { isAscii, isUtf8 } from 'node:buffer'
import { fault } from './faults.ts'

/** The same bytes as a Buffer, without a copy. */
export const bufferOf = (bytes: Uint8Array): Buffer => Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Reads stretches of `bytes` as text. @throws DataError when they are not UTF-8; `place` names a byte of them. */
export function textReader(bytes: Buffer, place: (offset: number) => string): (from: number, to: number) => string {
  // Latin-1 and ASCII are one byte a character in memory, too: no decoding.
  if (isAscii(bytes)) return (from, to) => bytes.toString('latin1', from, to)
  if (!isUtf8(bytes)) {
    const offset = firstBad(bytes)
    throw fault({
      code: 'not-utf8', what: `byte 0x${(bytes[offset] ?? 0).toString(16).padStart(2, '0')} is not UTF-8`, at: place(offset),
      fix: compressed(bytes) ?? 'convert the file, if it is Latin-1: iconv -f LATIN1 -t UTF-8 OLD > NEW',
    })
  }
  // Most stretches are ASCII even so, and those are read several times faster as what they are.
  return (from, to) => bytes.toString(isAscii(bytes.subarray(from, to)) ? 'latin1' : 'utf8', from, to)
}

const compressed = (bytes: Buffer): string | undefined => {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return 'it is compressed by gzip: give its name the ending .gz'
  if (bytes.length > 4 && bytes.readUInt32LE(0) === 0xfd2fb528) return 'it is compressed by zstd: give its name the ending .zst'
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) return 'convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW'
  return undefined
}

/** Offset of the first character that is not UTF-8. */
export function firstBad(bytes: Uint8Array): number {
  // A start that is good may end within a character, so its last three bytes may be cut off.
  const fits = (length: number): boolean => [0, 1, 2, 3].some(less => less <= length && isUtf8(bytes.subarray(0, length - less)))
  let [good, bad] = [0, bytes.length + 1]
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2)
    if (fits(middle)) good = middle
    else bad = middle
  }
  while (good > 0 && !isUtf8(bytes.subarray(0, good))) good--
  return good
}

/** The length of a byte order mark at the start. */
export const markLength = (bytes: Uint8Array): number => (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0)

/** Text in which a surrogate without its other half, which an escape such as \ud800 may have made, is U+FFFD. */
export const wellFormed = (text: string): string => text.replace(/\p{Surrogate}/gu, '\ufffd')
