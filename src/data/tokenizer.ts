/** Text ↔ token ids by a byte-level BPE model. */
import { TextDecoder } from 'node:util'
import { addedSplitter } from './added.ts'
import { endOfText, type BpeModel } from './bpe.ts'
import { bytesOf } from './bytes.ts'
import { ByteEncoder, TokenBuffer } from './tokenizer-bytes.ts'

export interface Tokenizer {
  readonly model: BpeModel
  /** Tokens there are; ids are below it. */
  readonly vocab: number
  /** The id of `<|endoftext|>`. */
  readonly endOfText: number
  /** Ids of `text`. An added token, special or not, that is spelt out in the text becomes its id, as in Hugging Face's libraries. */
  encode(text: string): Int32Array
  /** The same, appended to `out`: for many texts one after another. */
  encodeInto(text: string, out: TokenBuffer): void
  /** Text of `ids`; bytes that are no UTF-8 become U+FFFD. Special tokens are left out unless `special`. */
  decode(ids: Iterable<number>, options?: { readonly special?: boolean }): string
  /** Decodes ids as they come. */
  stream(): StreamDecoder
}

export interface StreamDecoder {
  /** The text that is certain now: a character whose bytes are not all there is held back. Special tokens give none. */
  push(id: number): string
  /** What was held back, as U+FFFD. */
  end(): string
}

export function createTokenizer(model: BpeModel): Tokenizer {
  const isSpecial = new Set(model.added.filter(t => t.special).map(t => t.id))
  const end = [...isSpecial].find(id => model.tokens[id] === endOfText)
  if (end === undefined) throw new TypeError(`the model has no ${endOfText}`)
  const split = addedSplitter(model.added, model.tokens)
  const encoder = new ByteEncoder(model)
  // An added token stands for its own characters, also where these are all of the byte-level alphabet.
  const asText = new Set(model.added.map(t => t.id))
  const utf8 = new TextEncoder()
  const bytes = model.tokens.map((token, id) => (asText.has(id) ? undefined : bytesOf(token)) ?? utf8.encode(token))
  const add = (text: TextDecoder, id: number, special = ''): string => {
    const piece = bytes[id]
    if (piece === undefined) throw new RangeError(`no token has id ${id}; there are ${bytes.length}`)
    // What is unfinished before a special token stays so, whether the token is shown or not.
    return isSpecial.has(id) ? text.decode() + special : text.decode(piece, { stream: true })
  }

  return {
    model, vocab: model.tokens.length, endOfText: end,
    encode(text) {
      const out = new TokenBuffer(Math.ceil(text.length / 3) + 16)
      this.encodeInto(text, out)
      return out.data.slice(0, out.length)
    },
    encodeInto(text, out) {
      for (const part of split(text)) {
        if (typeof part === 'number') out.push(part)
        else encoder.encode(part, out)
      }
    },
    decode(ids, options = {}) {
      const text = new TextDecoder('utf-8', { ignoreBOM: true })
      let out = ''
      for (const id of ids) out += add(text, id, options.special === true ? model.tokens[id] : '')
      return out + text.decode()
    },
    stream() {
      const text = new TextDecoder('utf-8', { ignoreBOM: true })
      return { push: id => add(text, id), end: () => text.decode() }
    },
  }
}
