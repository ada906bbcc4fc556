/** The merges of a byte-level BPE, applied to one word at a time. */
import type { BpeModel } from './bpe.ts'
import { byteToChar } from './bytes.ts'
import { Heap } from './heap.ts'

/** A word of more bytes is merged through a queue, which costs n log n; for short words looking at all pairs again is quicker. */
const longWord = 48
const none = 0x7fffffff

/** Pairs of ids → the rank of their merge, in one table of open addresses: a pair takes two words of it, the rank a third. */
class Ranks {
  readonly #slots: Int32Array
  readonly #mask: number

  constructor(pairs: readonly (readonly [number, number])[]) {
    const size = 2 ** Math.ceil(Math.log2(2 * pairs.length + 2))
    this.#slots = new Int32Array(4 * size).fill(-1)
    this.#mask = size - 1
    pairs.forEach(([a, b], rank) => {
      let at = this.#slot(a, b)
      while (this.#slots[at] !== -1 && (this.#slots[at] !== a || this.#slots[at + 1] !== b)) at = (at + 4) & (4 * this.#mask + 3)
      this.#slots.set([a, b, rank], at)
    })
  }

  #slot(a: number, b: number): number {
    const h = Math.imul(Math.imul(a, 0x9e3779b1) ^ b, 0x85ebca6b)
    return 4 * ((h ^ (h >>> 15)) & this.#mask)
  }

  /** `none` where no merge joins them. */
  of(a: number, b: number): number {
    const slots = this.#slots
    for (let at = this.#slot(a, b); ; at = (at + 4) & (4 * this.#mask + 3)) {
      if (slots[at] === a && slots[at + 1] === b) return slots[at + 2] as number
      if (slots[at] === -1) return none
    }
  }
}

/** Writes the ids of a word's bytes to the start of `out`, which holds at least as many, and gives how many they are. */
export type WordMerger = (bytes: Uint8Array, from: number, to: number, out: Int32Array) => number

/** Merges a word's bytes: always the earliest merge there is, and of equal ones the leftmost. */
export function wordMerger({ tokens, merges }: BpeModel): WordMerger {
  const ids = new Map(tokens.map((token, id) => [token, id]))
  const idOfByte = Int32Array.from(byteToChar, char => ids.get(char) ?? -1)
  const merged = Int32Array.from(merges, ([a, b]) => ids.get(`${tokens[a]}${tokens[b]}`) ?? -1)
  const ranks = new Ranks(merges)
  const rank = new Int32Array(longWord)

  return (bytes, from, to, out) => {
    let n = to - from
    for (let i = 0; i < n; i++) out[i] = idOfByte[bytes[from + i] as number] as number
    if (n > longWord) return mergeLong(out, n, ranks, merged)
    for (let i = 0; i + 1 < n; i++) rank[i] = ranks.of(out[i] as number, out[i + 1] as number)
    while (n > 1) {
      let least = none
      let at = 0
      for (let i = 0; i + 1 < n; i++) {
        if ((rank[i] as number) < least) {
          least = rank[i] as number
          at = i
        }
      }
      if (least === none) break
      out[at] = merged[least] as number
      n--
      for (let i = at + 1; i < n; i++) {
        out[i] = out[i + 1] as number
        rank[i] = rank[i + 1] as number
      }
      if (at > 0) rank[at - 1] = ranks.of(out[at - 1] as number, out[at] as number)
      if (at + 1 < n) rank[at] = ranks.of(out[at] as number, out[at + 1] as number)
    }
    return n
  }
}

const positions = 2 ** 30

function mergeLong(symbols: Int32Array, size: number, ranks: Ranks, merged: Int32Array): number {
  // A linked list over the symbols; -1 marks one that was merged into its left neighbour.
  const next = Int32Array.from({ length: size }, (_, i) => i + 1)
  const previous = Int32Array.from({ length: size }, (_, i) => i - 1)
  const queue = new Heap<number>((x, y) => x < y)
  const rankAt = (i: number): number => {
    const right = next[i] as number
    return right >= size ? none : ranks.of(symbols[i] as number, symbols[right] as number)
  }
  const offer = (i: number): void => {
    const rank = rankAt(i)
    if (rank !== none) queue.push(rank * positions + i)
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
  let n = 0
  for (let i = 0; i < size; i++) if (symbols[i] !== -1) symbols[n++] = symbols[i] as number
  return n
}
