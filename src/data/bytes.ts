/** The byte-level alphabet of GPT-2: every byte as one printable character, so that any text is made of 256 tokens. */

const printable = (byte: number): boolean => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae

function spell(): string[] {
  let moved = 0x100
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : moved++))
}

/** Byte → its character. */
export const byteToChar: readonly string[] = spell()

/** Character → its byte. */
export const charToByte: ReadonlyMap<string, number> = new Map(byteToChar.map((char, byte) => [char, byte]))

/** All characters in the order in which Hugging Face's trainer numbers them; merges of equal count are decided by it. */
export const alphabet: readonly string[] = byteToChar.toSorted((a, b) => a.charCodeAt(0) - b.charCodeAt(0))

/** The bytes that a token stands for, or undefined where a character is not of the alphabet. */
export function bytesOf(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length)
  for (let i = 0; i < token.length; i++) {
    const byte = charToByte.get(token.charAt(i))
    if (byte === undefined) return undefined
    bytes[i] = byte
  }
  return bytes
}
