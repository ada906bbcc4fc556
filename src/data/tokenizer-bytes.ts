/** Text → ids over its UTF-8 bytes: words are found, hashed and looked up where they lie, so that a word seen before makes no string. */
import type { BpeModel } from './bpe.ts'
import { wordMerger, type WordMerger } from './tokenizer-merges.ts'
import { kindOf, longestWord, white } from './words.ts'

/** Ids as they come: an array that grows. */
export class TokenBuffer {
  data: Int32Array
  length = 0

  constructor(capacity = 1024) { this.data = new Int32Array(capacity) }

  push(id: number): void {
    if (this.length === this.data.length) this.reserve(1)
    this.data[this.length++] = id
  }

  /** Makes room for `more` ids behind those that are there. */
  reserve(more: number): void {
    if (this.length + more <= this.data.length) return
    const larger = new Int32Array(Math.max(2 * this.data.length, this.length + more))
    larger.set(this.data.subarray(0, this.length))
    this.data = larger
  }
}

/** UTF-16 units that are looked at at once: their bytes stay in the processor's cache. */
const windowUnits = 1 << 15

// Words repeat: so many cover gigabytes of prose, and what they take is bounded on anything else. A full cache begins anew.
const mostSlots = 1 << 18
const mostBytes = 1 << 21
/** Of each word that is kept: hash, first byte, bytes, first id (of a word that is one token, its id), ids. */
const fields = 5

const apostrophe = 0x27
const space = 0x20

const asciiKinds = Uint8Array.from({ length: 128 }, (_, c) => kindOf(c))

export class ByteEncoder {
  readonly #merge: WordMerger
  readonly #utf8 = new TextEncoder()
  #bytes: Uint8Array = new Uint8Array(3 * windowUnits + 4)
  #slots = new Int32Array(1 << 10)
  #entries = new Int32Array(fields << 9)
  #keys: Uint8Array = new Uint8Array(1 << 12)
  #ids = new Int32Array(1 << 12)
  // Entry 0 stands for an empty slot.
  #words = 1
  #keysUsed = 0
  #idsUsed = 0
  readonly #word = new Int32Array(3 * longestWord + 4)

  constructor(model: BpeModel) { this.#merge = wordMerger(model) }

  /** Appends the ids of `text`, in which no added token is looked for. */
  encode(text: string, out: TokenBuffer): void {
    let units = windowUnits
    for (let at = 0; at < text.length;) {
      let end = Math.min(text.length, at + units)
      // A pair is not cut in two.
      if (end < text.length && (text.codePointAt(end - 1) as number) > 0xffff) end--
      if (3 * (end - at) + 4 > this.#bytes.length) this.#bytes = new Uint8Array(3 * (end - at) + 4)
      const { written } = this.#utf8.encodeInto(text.slice(at, end), this.#bytes)
      const done = this.#window(written, end === text.length, out)
      // What may go on behind the window is left for the next; where that is all of it, for a larger one.
      const left = unitsOf(this.#bytes, done, written)
      units = end - left === at ? 2 * units : windowUnits
      at = end - left
    }
  }

  /** Encodes the words of the first `n` bytes, but not one that may go on behind them unless they are the last. How many bytes it did. */
  #window(n: number, last: boolean, out: TokenBuffer): number {
    const bytes = this.#bytes
    // Behind the text stands what is part of no word.
    bytes[n] = 0
    let from = 0
    while (from < n) {
      let at = from
      let byte = bytes[at] as number
      let kind = byte < 128 ? asciiKinds[byte] as number : kindOf(codePointAt(bytes, at))
      let hash = 0
      if (kind === white) {
        const after = at + sizeOf(byte)
        if (after >= n && !last) return from
        const next = after < n ? bytes[after] as number : space
        const nextKind = next < 128 ? asciiKinds[next] as number : kindOf(codePointAt(bytes, after))
        if (nextKind === white) {
          // A run of white spaces: the last is left for what follows, if anything does. Never the longest part of a text, so it is hashed after.
          let lastOne = at
          while (at < n) {
            const b = bytes[at] as number
            if (b < 128 ? asciiKinds[b] !== white : kindOf(codePointAt(bytes, at)) !== white) break
            lastOne = at
            at += sizeOf(b)
          }
          if (at >= n && !last) return from
          if (at < n && lastOne > from) at = lastOne
          this.#put(from, at, hashOf(bytes, from, at), out)
          from = at
          continue
        }
        if (byte !== space) {
          this.#put(from, after, hashOf(bytes, from, after), out)
          from = after
          continue
        }
        // One space goes with the word after it.
        hash = Math.imul(space, 0x01000193)
        at = after
        byte = next
        kind = nextKind
      } else if (byte === apostrophe) {
        if (at + 3 > n && !last) return from
        const length = contractionAt(bytes, at, n)
        if (length > 0) {
          this.#put(from, from + length, hashOf(bytes, from, from + length), out)
          from += length
          continue
        }
      }
      for (;;) {
        if (byte < 128) {
          hash = Math.imul(hash ^ byte, 0x01000193)
          at++
        } else {
          for (const end = at + sizeOf(byte); at < end; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193)
        }
        if (at >= n) break
        byte = bytes[at] as number
        if ((byte < 128 ? asciiKinds[byte] as number : kindOf(codePointAt(bytes, at))) !== kind) break
      }
      if (at >= n && !last) return from
      this.#put(from, at, hash, out)
      from = at
    }
    return n
  }

  /** Appends the ids of one word, cut where it is too long. */
  #put(from: number, to: number, hash: number, out: TokenBuffer): void {
    if (to - from <= longestWord) return this.#look(from, to, hash, out)
    const bytes = this.#bytes
    let start = from
    let units = 0
    for (let at = from; at < to;) {
      const size = sizeOf(bytes[at] as number)
      const wide = size === 4 ? 2 : 1
      if (units + wide > longestWord) {
        this.#look(start, at, hashOf(bytes, start, at), out)
        start = at
        units = 0
      }
      units += wide
      at += size
    }
    this.#look(start, to, hashOf(bytes, start, to), out)
  }

  #look(from: number, to: number, hash: number, out: TokenBuffer): void {
    const [bytes, slots, entries, keys, ids] = [this.#bytes, this.#slots, this.#entries, this.#keys, this.#ids]
    const length = to - from
    const mask = slots.length - 1
    let slot = (hash ^ (hash >>> 16)) & mask
    for (let entry = slots[slot] as number; entry !== 0; entry = slots[slot] as number) {
      const at = fields * entry
      if (entries[at] === hash && entries[at + 2] === length) {
        const key = entries[at + 1] as number
        let i = 0
        while (i < length && keys[key + i] === bytes[from + i]) i++
        if (i === length) {
          const count = entries[at + 4] as number
          if (out.length + count > out.data.length) out.reserve(count)
          const data = out.data
          let to = out.length
          // A word of one token, as most are, holds its id itself.
          if (count === 1) data[to++] = entries[at + 3] as number
          else for (let j = entries[at + 3] as number, end = j + count; j < end; j++) data[to++] = ids[j] as number
          out.length = to
          return
        }
      }
      slot = (slot + 1) & mask
    }
    const word = this.#word
    const count = this.#merge(bytes, from, to, word)
    out.reserve(count)
    for (let i = 0; i < count; i++) out.data[out.length + i] = word[i] as number
    out.length += count
    this.#keep(from, length, hash, count)
  }

  #keep(from: number, length: number, hash: number, count: number): void {
    if (this.#words >= this.#slots.length / 2) this.#more()
    if (this.#words >= mostSlots / 2 || this.#keysUsed + length > mostBytes || this.#idsUsed + count > mostBytes) {
      this.#slots.fill(0)
      this.#words = 1
      this.#keysUsed = 0
      this.#idsUsed = 0
    }
    while (this.#keysUsed + length > this.#keys.length) this.#keys = twice(this.#keys, new Uint8Array(2 * this.#keys.length))
    while (this.#idsUsed + count > this.#ids.length) this.#ids = twice(this.#ids, new Int32Array(2 * this.#ids.length))
    const entry = this.#words++
    this.#place(entry, hash)
    const at = fields * entry
    this.#entries[at] = hash
    this.#entries[at + 1] = this.#keysUsed
    this.#entries[at + 2] = length
    this.#entries[at + 3] = count === 1 ? this.#word[0] as number : this.#idsUsed
    this.#entries[at + 4] = count
    for (let i = 0; i < length; i++) this.#keys[this.#keysUsed + i] = this.#bytes[from + i] as number
    this.#keysUsed += length
    if (count === 1) return
    for (let i = 0; i < count; i++) this.#ids[this.#idsUsed + i] = this.#word[i] as number
    this.#idsUsed += count
  }

  #place(entry: number, hash: number): void {
    const mask = this.#slots.length - 1
    let slot = (hash ^ (hash >>> 16)) & mask
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask
    this.#slots[slot] = entry
  }

  /** Room for twice as many words. */
  #more(): void {
    if (this.#slots.length === mostSlots) return
    this.#slots = new Int32Array(2 * this.#slots.length)
    this.#entries = twice(this.#entries, new Int32Array(2 * this.#entries.length))
    for (let entry = 1; entry < this.#words; entry++) this.#place(entry, this.#entries[fields * entry] as number)
  }
}

function twice<A extends Uint8Array | Int32Array>(from: A, to: A): A {
  to.set(from)
  return to
}

/** The bytes of the character that begins with `byte`. */
const sizeOf = (byte: number): number => (byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4)

function codePointAt(bytes: Uint8Array, at: number): number {
  const a = bytes[at] as number
  const b = (bytes[at + 1] as number) & 0x3f
  if (a < 0xe0) return ((a & 0x1f) << 6) | b
  const c = (bytes[at + 2] as number) & 0x3f
  if (a < 0xf0) return ((a & 0x0f) << 12) | (b << 6) | c
  return ((a & 0x07) << 18) | (b << 12) | (c << 6) | ((bytes[at + 3] as number) & 0x3f)
}

/** UTF-16 units of a stretch of whole characters. */
function unitsOf(bytes: Uint8Array, from: number, to: number): number {
  let units = 0
  for (let at = from; at < to;) {
    const size = sizeOf(bytes[at] as number)
    units += size === 4 ? 2 : 1
    at += size
  }
  return units
}

/** FNV-1a from 0, as it is computed while a word is looked for. */
function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193)
  return hash
}

const [s, t, r, e, v, m, l, d] = Array.from('strevmld', c => c.charCodeAt(0))
/** The length of `'s 't 're 've 'm 'll 'd` where one stands at an apostrophe, else 0. */
function contractionAt(bytes: Uint8Array, at: number, n: number): number {
  if (at + 1 >= n) return 0
  const a = bytes[at + 1]
  if (a === s || a === t || a === m || a === d) return 2
  if (at + 2 >= n) return 0
  const b = bytes[at + 2]
  return (a === r && b === e) || (a === v && b === e) || (a === l && b === l) ? 3 : 0
}
