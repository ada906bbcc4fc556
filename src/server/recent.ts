/** The last minute of a model, in memory that does not grow with its load. */
import type { LastMinute, Spread } from './state-shape.ts'

/** Bins of a second, and how many seconds are told. */
const [bins, seconds] = [4, 60]
/** Durations are counted by their logarithm, sixteen to a factor of two. */
const steps = 16
const stepOf = (duration: number): number => Math.round(Math.log2(Math.max(1e-6, duration)) * steps)

type Counts = Map<number, number>
interface Bin { at: number; tokens: number; promptTokens: number; cachedTokens: number; readonly first: Counts; readonly between: Counts }
const count = (counts: Counts, duration: number): void => { counts.set(stepOf(duration), (counts.get(stepOf(duration)) ?? 0) + 1) }

function spreadOf(all: readonly Counts[]): Spread | null {
  const sums: Counts = new Map()
  for (const counts of all) for (const [step, n] of counts) sums.set(step, (sums.get(step) ?? 0) + n)
  const sorted = [...sums].sort(([a], [b]) => a - b)
  const total = sorted.reduce((n, [, of]) => n + of, 0)
  if (total === 0) return null
  const at = (share: number): number => {
    let left = Math.ceil(share * total)
    return 2 ** ((sorted.find(([, n]) => (left -= n) <= 0)?.[0] ?? 0) / steps)
  }
  return { p50: at(0.5), p95: at(0.95), count: total }
}

export class Recent {
  readonly #now: () => number
  readonly #bins: Bin[] = Array.from({ length: bins * (seconds + 1) }, () => ({ at: -1, tokens: 0, promptTokens: 0, cachedTokens: 0, first: new Map(), between: new Map() }))

  /** @param now seconds, of a clock that never goes back */
  constructor(now: () => number = () => performance.now() / 1000) { this.#now = now }

  prompt(tokens: number, cached: number): void {
    const bin = this.#current()
    bin.promptTokens += tokens
    bin.cachedTokens += cached
  }
  tokens(written: number): void { this.#current().tokens += written }
  /** So many seconds passed from a request to its first token. */
  first(duration: number): void { count(this.#current().first, duration) }
  /** So many seconds passed between two tokens of an answer. */
  between(duration: number): void { count(this.#current().between, duration) }

  told(): LastMinute {
    const now = Math.floor(this.#now() * bins)
    const second = Math.floor(now / bins)
    const known = this.#bins.filter(b => b.at >= 0 && b.at > now - this.#bins.length)
    const sum = (of: (b: Bin) => number, from: number, to: number): number => known.reduce((n, b) => (b.at >= from && b.at < to ? n + of(b) : n), 0)
    const perSecond = Array.from({ length: seconds }, () => 0)
    for (const { at, tokens } of known) {
      const place = Math.floor(at / bins) - (second - seconds)
      if (place >= 0 && place < seconds) perSecond[place] = (perSecond[place] as number) + tokens
    }
    return {
      perSecond, tokensPerSecond: sum(b => b.tokens, now - 2 * bins, now) / 2, firstToken: spreadOf(known.map(b => b.first)), betweenTokens: spreadOf(known.map(b => b.between)),
      promptTokens: sum(b => b.promptTokens, -1, Infinity), cachedTokens: sum(b => b.cachedTokens, -1, Infinity),
    }
  }

  #current(): Bin {
    const at = Math.floor(this.#now() * bins)
    const bin = this.#bins[at % this.#bins.length] as Bin
    if (bin.at !== at) {
      // It is of more than a minute ago.
      Object.assign(bin, { at, tokens: 0, promptTokens: 0, cachedTokens: 0 })
      bin.first.clear()
      bin.between.clear()
    }
    return bin
  }
}
