/** Byte-level byte-pair encoding, learnt from text (Sennrich et al. 2016, over bytes as in GPT-2). */
import type { AddedToken } from './added.ts'
import { alphabet, byteToChar } from './bytes.ts'
import { Heap } from './heap.ts'

/** The token between documents, and the end of a generated one. */
export const endOfText = '<|endoftext|>'

export interface BpeModel {
  /** By id. Added tokens read as they are, all others in the byte-level alphabet. */
  readonly tokens: readonly string[]
  /** Pairs of ids; the earlier of two is applied first. */
  readonly merges: readonly (readonly [number, number])[]
  /** Tokens that no merge makes: they are looked for in the text. */
  readonly added: readonly AddedToken[]
}

export interface TrainOptions {
  /** Tokens at most, at least 257; where the text has fewer pairs worth a merge there are fewer. */
  readonly vocab: number
  /** A pair seen less often is not merged. */
  readonly minCount?: number
  readonly onMerge?: (vocab: number) => void
}

interface Pair {
  readonly key: number
  count: number
  /** Words that came to hold the pair since it was last queued. */
  fresh: number[]
}
/** A pair as it stood when queued. */
interface Candidate { readonly pair: Pair; readonly count: number; readonly words: readonly number[] }

/**
 * Learns merges from word counts; ids are `<|endoftext|>`, the 256 bytes, then the merges in order. Follows Hugging Face's trainer
 * step by step, also where it is peculiar (the most frequent pair first, then the one with the lowest ids; a pair that comes up again
 * brings only its new words), so that the merges are the same.
 */
export function trainBpe(counts: ReadonlyMap<string, number>, { vocab, minCount = 2, onMerge }: TrainOptions): BpeModel {
  const tokens = [endOfText, ...alphabet]
  const ids = new Map(tokens.map((token, id) => [token, id]))
  const { symbols, starts, lengths, times } = spellWords(counts, ids)

  // Up to a vocabulary of 46,340 these keys fit V8's small integers; above that they are doubles, which are still exact.
  const width = Math.max(vocab, tokens.length)
  const pairs = new Map<number, Pair>()
  const queue = new Heap<Candidate>((x, y) => x.count > y.count || (x.count === y.count && x.pair.key < y.pair.key))
  const touched: Pair[] = []

  const change = (left: number, right: number, by: number, inWord: number): void => {
    const key = left * width + right
    let pair = pairs.get(key)
    if (pair === undefined) pairs.set(key, pair = { key, count: 0, fresh: [] })
    pair.count += by
    if (by < 0) return
    if (pair.fresh.length === 0) touched.push(pair)
    if (pair.fresh.at(-1) !== inWord) pair.fresh.push(inWord)
  }
  const enqueue = (): void => {
    for (const pair of touched) {
      if (pair.count > 0) queue.push({ pair, count: pair.count, words: pair.fresh })
      pair.fresh = []
    }
    touched.length = 0
  }
  /** Replaces left, right by `merged` in one word, in place. */
  const mergeIn = (w: number, left: number, right: number, merged: number): void => {
    const start = starts[w] as number
    const end = start + (lengths[w] as number)
    const n = times[w] as number
    let to = start
    for (let from = start; from < end; to++) {
      if (symbols[from] !== left || from + 1 >= end || symbols[from + 1] !== right) {
        symbols[to] = symbols[from++] as number
        continue
      }
      if (to > start) {
        const before = symbols[to - 1] as number
        change(before, left, -n, w)
        change(before, merged, n, w)
      }
      if (from + 2 < end) {
        const after = symbols[from + 2] as number
        change(right, after, -n, w)
        change(merged, after, n, w)
      }
      symbols[to] = merged
      from += 2
    }
    lengths[w] = to - start
  }

  for (let w = 0; w < starts.length; w++) {
    const start = starts[w] as number
    const end = start + (lengths[w] as number)
    for (let i = start; i + 1 < end; i++) change(symbols[i] as number, symbols[i + 1] as number, times[w] as number, w)
  }
  enqueue()

  // Two pairs may spell one token: the later merge then adds no token, and a pair merged twice keeps its later place.
  const merges = new Map<number, readonly [number, number]>()
  while (tokens.length < vocab) {
    const top = queue.pop()
    if (top === undefined) break
    const { key, count } = top.pair
    if (top.count !== count) {
      if (count > 0) queue.push({ ...top, count })
      continue
    }
    if (count < Math.max(1, minCount)) break
    const [left, right] = [Math.floor(key / width), key % width]
    const token = `${tokens[left]}${tokens[right]}`
    const merged = ids.get(token) ?? tokens.length
    if (merged === tokens.length) {
      tokens.push(token)
      ids.set(token, merged)
    }
    merges.delete(key)
    merges.set(key, [left, right])
    for (const w of top.words) mergeIn(w, left, right, merged)
    enqueue()
    onMerge?.(tokens.length)
  }
  return { tokens, merges: [...merges.values()], added: [{ id: 0, special: true }] }
}

/** All words as byte ids in one array; word `w` is at starts[w], lengths[w] long, and occurs times[w] times. */
function spellWords(counts: ReadonlyMap<string, number>, ids: ReadonlyMap<string, number>) {
  const idOfByte = byteToChar.map(char => ids.get(char) as number)
  const starts: number[] = []
  const lengths: number[] = []
  const times: number[] = []
  const bytes = new TextEncoder()
  const spelt: Uint8Array[] = []
  let total = 0
  for (const [w, n] of counts) {
    const b = bytes.encode(w)
    // A word of one byte has no pair.
    if (b.length < 2) continue
    spelt.push(b)
    starts.push(total)
    lengths.push(b.length)
    times.push(n)
    total += b.length
  }
  const symbols = new Int32Array(total)
  spelt.forEach((b, w) => b.forEach((byte, i) => { symbols[(starts[w] as number) + i] = idOfByte[byte] as number }))
  return { symbols, starts, lengths, times }
}
