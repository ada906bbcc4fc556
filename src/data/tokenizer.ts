/** Text ↔ token ids by a byte-level BPE model. */
import { TextDecoder } from 'node:util'
import { addedSplitter } from './added.ts'
import { endOfText, type BpeModel } from './bpe.ts'
import { byteToChar, bytesOf } from './bytes.ts'
import { Heap } from './heap.ts'
import { words } from './words.ts'

export interface Tokenizer {
  readonly model: BpeModel
  /** Tokens there are; ids are below it. */
  readonly vocab: number
  /** The id of `<|endoftext|>`. */
  readonly endOfText: number
  /** Ids of `text`. An added token, special or not, that is spelt out in the text becomes its id, as in Hugging Face's libraries. */
  encode(text: string): Int32Array
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

// Words repeat; distinct ones of so many characters cover gigabytes of prose, and bound the memory on anything else.
const cachedCharacters = 1 << 21

export function createTokenizer(model: BpeModel): Tokenizer {
  const isSpecial = new Set(model.added.filter(t => t.special).map(t => t.id))
  const end = [...isSpecial].find(id => model.tokens[id] === endOfText)
  if (end === undefined) throw new TypeError(`the model has no ${endOfText}`)
  const split = addedSplitter(model.added, model.tokens)
  const encodeWord = wordEncoder(model)
  const cache = new Map<string, readonly number[]>()
  let characters = 0

  const lookUp = (w: string): readonly number[] => {
    const known = cache.get(w)
    if (known !== undefined) return known
    const ids = encodeWord(w)
    characters += w.length
    if (characters > cachedCharacters) {
      cache.clear()
      characters = w.length
    }
    cache.set(w, ids)
    return ids
  }
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
      let out = new Int32Array(Math.ceil(text.length / 3) + 16)
      let n = 0
      const put = (ids: readonly number[]): void => {
        if (n + ids.length > out.length) {
          const larger = new Int32Array(2 * out.length + ids.length)
          larger.set(out)
          out = larger
        }
        for (let i = 0; i < ids.length; i++) out[n++] = ids[i] as number
      }
      for (const part of split(text)) {
        if (typeof part === 'number') put([part])
        else for (const some of words(part)) for (const w of some) put(lookUp(w))
      }
      return out.slice(0, n)
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

/** Merges a word's bytes: always the earliest merge there is, and of equal ones the leftmost. n log n in the word's length. */
function wordEncoder({ tokens, merges }: BpeModel): (w: string) => number[] {
  const ids = new Map(tokens.map((token, id) => [token, id]))
  const idOfByte = byteToChar.map(char => ids.get(char) as number)
  const width = tokens.length
  const merged = merges.map(([a, b]) => ids.get(`${tokens[a]}${tokens[b]}`) as number)
  const ranks = new Map(merges.map(([a, b], rank) => [a * width + b, rank]))
  const utf8 = new TextEncoder()
  const positions = 2 ** 30

  return w => {
    const symbols = Array.from(utf8.encode(w), byte => idOfByte[byte] as number)
    const size = symbols.length
    if (size < 2) return symbols
    // A linked list over the symbols; -1 marks one that was merged into its left neighbour.
    const next = symbols.map((_, i) => i + 1)
    const previous = symbols.map((_, i) => i - 1)
    const queue = new Heap<number>((x, y) => x < y)
    const rankAt = (i: number): number | undefined => {
      const right = next[i] as number
      return right >= size ? undefined : ranks.get((symbols[i] as number) * width + (symbols[right] as number))
    }
    const offer = (i: number): void => {
      const rank = rankAt(i)
      if (rank !== undefined) queue.push(rank * positions + i)
    }
    for (let i = 0; i + 1 < size; i++) offer(i)
    for (let top = queue.pop(); top !== undefined; top = queue.pop()) {
      const [rank, i] = [Math.floor(top / positions), top % positions]
      if (symbols[i] === -1 || rankAt(i) !== rank) continue
      const right = next[i] as number
      const after = next[right] as number
      symbols[i] = merged[rank] as number
      symbols[right] = -1
      next[i] = after
      if (after < size) previous[after] = i
      const before = previous[i] as number
      if (before >= 0) offer(before)
      offer(i)
    }
    return symbols.filter(s => s !== -1)
  }
}
