/**
 * CRC-32 (the polynomial of zlib, gzip and PNG) of bytes whose parts are known in different places. The checksum without its two inversions
 * is linear: that of a file is the exclusive or of what each of its parts gives, moved to where the part lies. So whoever writes a part of a
 * file says what it gives, and nobody has to read the file again.
 */
import { crc32 } from 'node:zlib'

const polynomial = 0xedb88320
const one = 0x80000000
const ones = 0xffffffff

/** a · b modulo the polynomial; the highest bit is the coefficient of x⁰. */
function times(a: number, b: number): number {
  let product = 0
  for (let bit = one; ; bit >>>= 1) {
    if ((a & bit) !== 0) {
      product ^= b
      if ((a & (bit - 1)) === 0) return product >>> 0
    }
    if (bit === 1) return product >>> 0
    b = (b & 1) === 0 ? b >>> 1 : (b >>> 1) ^ polynomial
  }
}

/** x^(8·2^k), by k: what 2^k bytes of zeros behind a part multiply its checksum by. */
const powers: readonly number[] = (() => {
  const found: number[] = []
  // x itself, squared three times, is x⁸: one byte.
  let power = times(times(one >>> 1, one >>> 1), times(one >>> 1, one >>> 1))
  power = times(power, power)
  for (let k = 0; k < 53; k++) {
    found.push(power)
    power = times(power, power)
  }
  return found
})()

/** x^(8n). */
function zeros(n: number): number {
  let power = one
  for (let k = 0; n > 0; k++, n = Math.floor(n / 2)) if (n % 2 === 1) power = times(powers[k] as number, power)
  return power
}

/** The factors of small numbers of bytes and of multiples of them, so that a short part costs two products. */
const fine = 512
const small: readonly number[] = Array.from({ length: fine }, (_, n) => zeros(n))
const large = new Map<number, number>()
function factor(n: number): number {
  const high = n - n % fine
  let found = large.get(high)
  if (found === undefined) {
    found = zeros(high)
    if (large.size < 4096) large.set(high, found)
  }
  return high === n ? found : times(found, small[n % fine] as number)
}

/** What a part with `behind` bytes after it gives to the checksum of the whole: all parts' are joined by exclusive or. */
export const partialCrc = (part: Uint8Array, behind: number): number => times((crc32(part, ones) ^ ones) >>> 0, factor(behind))

/** The CRC-32 of `length` bytes, from what all its parts give together. */
export const crcOfParts = (joined: number, length: number): number => (joined ^ times(ones, zeros(length)) ^ ones) >>> 0

/** The CRC-32 of two stretches of bytes one behind the other, the second of `length` bytes. */
export const joinCrc = (first: number, second: number, length: number): number => (times(first, zeros(length)) ^ second) >>> 0

export const crc = (bytes: Uint8Array): number => crc32(bytes)
