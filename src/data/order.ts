/** Which row comes when: closed forms of seed and place, without state, the same on every mesh and with any number of workers. */
import { UsageError } from '../core/errors.ts'
import { hash, permutation } from './shuffle.ts'

/** A row of one epoch. Epochs count from 0. */
export interface Place { readonly epoch: number; readonly row: number }

/**
 * An endless order over `rows` rows: each epoch takes every row once, in an order of its own drawn from seed and epoch. The `n`-th place is found
 * without those before it (a Feistel network, walked until it lands inside).
 * @throws UsageError when there are no rows.
 */
export function epochOrder(rows: number, seed: number): (n: number) => Place {
  if (!(rows >= 1)) throw new UsageError({ code: 'no-rows', what: 'there is no row to take a batch from', fix: 'give more text, or ask for a shorter seq' })
  let known: { readonly epoch: number; readonly at: (n: number) => number } | undefined
  return n => {
    const epoch = Math.floor(n / rows)
    // What is kept is no state: it is made again from the epoch alone.
    if (known?.epoch !== epoch) known = { epoch, at: permutation(rows, hash(seed, epoch, 1)) }
    return { epoch, row: known.at(n % rows) }
  }
}

/** The `n`-th item of a mixture: which source it is from, and how many of that source came before. */
export interface Drawn { readonly source: number; readonly nth: number }

/**
 * The shares of a mixture, with sum 1: weights to the power 1 / temperature. At temperature 1 they are the weights, above it they come closer to each other.
 * @throws UsageError for weights or a temperature that cannot be.
 */
export function mixtureShares(weights: readonly number[], temperature = 1): readonly number[] {
  const wrong = (what: string, fix: string): UsageError => new UsageError({ code: 'mixture', what, fix })
  if (!(temperature > 0 && temperature < Infinity)) throw wrong(`the temperature of a mixture cannot be ${temperature}`, 'give a number above 0; 1 leaves the weights as they are')
  const bad = weights.find(w => !(w >= 0 && w < Infinity))
  if (bad !== undefined) throw wrong(`a source cannot have weight ${bad}`, 'give numbers from 0 on')
  const largest = Math.max(0, ...weights)
  if (largest === 0) throw wrong('no source of the mixture has a weight above 0', 'give one of them a weight')
  const total = weights.reduce((a, b) => a + b, 0)
  // Undivided, so that 9 and 1 are nine tenths and one to the last bit.
  if (temperature === 1 && total < Infinity) return weights.map(w => w / total)
  // By the largest first: a power of a count of tokens may be beyond all numbers.
  const powers = weights.map(w => (w === 0 ? 0 : (w / largest) ** (1 / temperature)))
  const sum = powers.reduce((a, b) => a + b, 0)
  return powers.map(p => p / sum)
}

/** Counts kept for every so many items. */
const stride = 1 << 12
/** Denominators that are looked for. */
const longestPeriod = 1 << 14

/**
 * A mixture in which, after any number n of items, every source has had fewer than one item more or less than its share of n: each source's items are unit
 * jobs with a window of time each, of which always the one that must be done first is done (Baruah, Cohen, Plaxton and Varvel 1996: such windows can always
 * be met). Shares that are fractions of a common denominator repeat with it; of others, counts are kept at every 4096th item once they were come by.
 */
export function mixture(shares: readonly number[]): (n: number) => Drawn {
  const period = periodOf(shares)
  const exact = period === undefined ? shares.map(share => [share, 1] as const) : shares.map(share => [Math.round(share * period), period] as const)
  const used = exact.map(([a], source) => ({ a, source })).filter(({ a }) => a > 0)
  const b = exact[0]?.[1] ?? 1
  const marks: number[][] = [used.map(() => 0)]
  let known = { at: 0, counts: used.map(() => 0) }

  /** Of the sources whose next item may come at `t`, the one whose item must come first. */
  const next = (t: number, counts: readonly number[]): number => {
    let best = -1
    let bestDeadline = Infinity
    for (let i = 0; i < used.length; i++) {
      const { a } = used[i] as { a: number }
      const count = counts[i] as number
      if (Math.floor(count * b / a) > t) continue
      const deadline = Math.ceil((count + 1) * b / a)
      if (deadline < bestDeadline) [best, bestDeadline] = [i, deadline]
    }
    // Rounding of shares that are no fractions may leave a moment at which nobody's turn has come: then it is the next one's.
    return best >= 0 ? best : used.reduce((least, { a }, i) => ((counts[i] as number) / a < (counts[least] as number) / (used[least]?.a ?? 1) ? i : least), 0)
  }
  const advance = (from: number, to: number, counts: number[]): void => {
    for (let t = from; t < to; t++) {
      const i = next(t, counts)
      counts[i] = (counts[i] as number) + 1
    }
  }
  return n => {
    const [turn, within] = period === undefined ? [0, n] : [Math.floor(n / period), n % period]
    const mark = Math.floor(within / stride)
    while (marks.length <= mark) {
      const counts = [...marks.at(-1) as number[]]
      advance((marks.length - 1) * stride, marks.length * stride, counts)
      marks.push(counts)
    }
    // Items are mostly asked for one after another: then one step is enough.
    const from = known.at <= within && known.at >= mark * stride ? known : { at: mark * stride, counts: [...marks[mark] as number[]] }
    const { counts } = from
    advance(from.at, within, counts)
    known = { at: within, counts }
    const i = next(within, counts)
    const { a, source } = used[i] as { a: number; source: number }
    return { source, nth: turn * a + (counts[i] as number) }
  }
}

/** The least whole number that all shares are fractions of, if there is a small one. */
function periodOf(shares: readonly number[]): number | undefined {
  for (let d = 1; d <= longestPeriod; d++) if (shares.every(s => Math.abs(s * d - Math.round(s * d)) < 1e-9)) return d
  return undefined
}
