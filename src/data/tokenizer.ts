/** Text ↔ token ids. */
import { TextDecoder } from 'node:util'
import { addedSplitter, type AddedToken } from './added.ts'
import { endOfText, type BpeModel } from './bpe.ts'
import { bytesOf } from './bytes.ts'
import { ByteEncoder, TokenBuffer } from './tokenizer-bytes.ts'

export interface Tokenizer {
  /** The byte-level BPE of GPT-2's kind that it is; undefined where it is another. */
  readonly model: BpeModel | undefined
  /** By id, as tokenizer.json spells them. */
  readonly tokens: readonly string[]
  readonly added: readonly AddedToken[]
  /** Tokens there are; ids are below it. */
  readonly vocab: number
  /** The id of the token that stands between documents, `<|endoftext|>` or what other models have for it; undefined where there is none. */
  readonly endOfText: number | undefined
  /** What a whole text stands between for models that want it so: `[CLS]` and `[SEP]`. `encode` leaves them out. */
  readonly before: readonly number[]
  readonly after: readonly number[]
  /** What stands between two texts that are read together, as `before` stands before the first and `after` behind the second; undefined where the tokenizer says nothing of pairs. */
  readonly between?: readonly number[] | undefined
  /** The text of its tokenizer.json. */
  format(): string
  /** The bytes of text that a token stands for, by itself: it may be a part of a character. Undefined where it is special. @throws RangeError for an id that is none */
  textOf(id: number): Uint8Array | undefined
  /** How many they are; 0 where it is special. */
  bytes(id: number): number
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

/** What models call the token behind a document, those first that call nothing else so. */
const ends = [endOfText, '<|end_of_text|>', '<|endofprompt|>', '<eos>', '</s>', '<｜end▁of▁sentence｜>', '<|im_end|>', '[SEP]']

/** The token between documents among the special ones. */
export function endOfTextIn(tokens: readonly string[], added: readonly AddedToken[]): number | undefined {
  const special = new Map(added.filter(t => t.special).map(t => [tokens[t.id], t.id]))
  return ends.map(name => special.get(name)).find(id => id !== undefined)
}

/** A tokenizer by a byte-level BPE; `format` gives the text of its tokenizer.json. */
export function createTokenizer(model: BpeModel, format: () => string): Tokenizer & { readonly model: BpeModel } {
  const isSpecial = new Set(model.added.filter(t => t.special).map(t => t.id))
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
    model, tokens: model.tokens, added: model.added, vocab: model.tokens.length, endOfText: endOfTextIn(model.tokens, model.added), before: [], after: [], format,
    textOf(id) {
      const own = bytes[id]
      if (own === undefined) throw new RangeError(`no token has id ${id}; there are ${bytes.length}`)
      return isSpecial.has(id) ? undefined : own
    },
    bytes: id => (isSpecial.has(id) ? 0 : bytes[id]?.length ?? 0),
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
