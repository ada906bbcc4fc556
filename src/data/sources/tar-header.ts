/** Headers of tar archives: ustar, GNU's long names and binary sizes, pax. */

export const block = 512

/** What is wrong with a header. */
export class TarFault extends Error {}

export interface TarHeader { readonly name: string; readonly size: number; readonly kind: string }

/** @throws TarFault; undefined for a block of zeros, which ends an archive. */
export function headerAt(bytes: Buffer, at: number): TarHeader | undefined {
  const header = bytes.subarray(at, at + block)
  if (header.every(byte => byte === 0)) return undefined
  const told = octal(header, 148, 8, 'checksum')
  let [sum, signed] = [0, 0]
  for (let i = 0; i < block; i++) {
    const byte = i >= 148 && i < 156 ? 32 : header[i] as number
    sum += byte
    // Some old archivers sum signed bytes.
    signed += byte > 127 ? byte - 256 : byte
  }
  if (told !== sum && told !== signed) throw new TarFault(`the checksum of a header is wrong: ${told} is written, ${sum} is right`)
  const ustar = header.toString('latin1', 257, 262) === 'ustar'
  // GNU's own format has other things where ustar has the start of a long name.
  const prefix = ustar && header[263] === 48 ? word(header, 345, 155) : ''
  const name = word(header, 0, 100)
  return { name: prefix === '' ? name : `${prefix}/${name}`, size: sizeOf(header), kind: String.fromCharCode(header[156] as number) }
}

function word(header: Buffer, from: number, length: number): string {
  const end = header.indexOf(0, from)
  return header.toString('utf8', from, end < 0 || end > from + length ? from + length : end)
}

function octal(header: Buffer, from: number, length: number, what: string): number {
  const digits = header.toString('latin1', from, from + length).replace(/[\0 ]+$/, '').replace(/^ +/, '')
  if (!/^[0-7]*$/.test(digits)) throw new TarFault(`the ${what} in a header is ${JSON.stringify(digits)}, no octal number`)
  return digits === '' ? 0 : Number.parseInt(digits, 8)
}

/** Octal, or, with the first bit set, a number in base 256. */
function sizeOf(header: Buffer): number {
  const first = header[124] as number
  if ((first & 0x80) === 0) return octal(header, 124, 12, 'size')
  let size = first & 0x7f
  for (let i = 125; i < 136; i++) size = size * 256 + (header[i] as number)
  if (first === 0xff || !Number.isSafeInteger(size)) throw new TarFault('the size in a header is below zero, or above 2^53')
  return size
}

/** pax records, `length key=value\n` each. @throws TarFault */
export function paxRecords(bytes: Buffer): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (let at = 0; at < bytes.length && bytes[at] !== 0;) {
    const space = bytes.indexOf(32, at)
    const length = space < 0 ? NaN : Number(bytes.toString('latin1', at, space))
    const equals = bytes.indexOf(61, space)
    if (!Number.isSafeInteger(length) || length < 5 || at + length > bytes.length || equals < 0 || equals >= at + length || bytes[at + length - 1] !== 10) throw new TarFault('an extended header is not made of "length key=value" lines')
    found.set(bytes.toString('utf8', space + 1, equals), bytes.toString('utf8', equals + 1, at + length - 1))
    at += length
  }
  return found
}

/** Bytes that a member's content takes in the archive. */
export const padded = (size: number): number => Math.ceil(size / block) * block
