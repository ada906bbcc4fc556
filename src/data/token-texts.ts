/** The bytes that tokens stand for, each by itself: a token may be a part of a character. */
import { bytesOf } from './bytes.ts'
import type { Tokenizer } from './tokenizer.ts'

const utf8 = new TextEncoder()

/** Bytes of one token; undefined for special ones, which are no text. @throws RangeError for an id that is none */
export function tokenText({ tokens, added, byteLevel }: Pick<Tokenizer, 'tokens' | 'added' | 'byteLevel'>, id: number): Uint8Array | undefined {
  const spelt = tokens[id]
  if (spelt === undefined) throw new RangeError(`no token has id ${id}; there are ${tokens.length}`)
  const own = added.find(t => t.id === id)
  if (own !== undefined) return own.special ? undefined : utf8.encode(spelt)
  if (byteLevel) return bytesOf(spelt) ?? utf8.encode(spelt)
  // SentencePiece spells bytes, and blanks as a character of their own.
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(spelt)?.[1]
  return byte === undefined ? utf8.encode(spelt.replaceAll('\u2581', ' ')) : Uint8Array.of(parseInt(byte, 16))
}
/** The same of all tokens. */
export const tokenTexts = (tokenizer: Pick<Tokenizer, 'tokens' | 'added' | 'byteLevel'>): readonly (Uint8Array | undefined)[] => tokenizer.tokens.map((_, id) => tokenText(tokenizer, id))
