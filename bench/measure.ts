/** Measuring on a machine that does other things too: interleaved rounds, medians, ratios within a round. */

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const [low, high] = [sorted[(sorted.length - 1) >> 1] ?? NaN, sorted[sorted.length >> 1] ?? NaN]
  return (low + high) / 2
}

/** One measurement per side and round. */
export type Rounds = ReadonlyMap<string, readonly number[]>

/** Every side once a round, in an order that turns with the rounds, so that none always runs after the same other. */
export async function interleave(
  sides: ReadonlyMap<string, () => Promise<number>>, rounds: number, onRound: (done: number) => void,
): Promise<Rounds> {
  const found = new Map<string, number[]>([...sides.keys()].map(name => [name, []]))
  const order = [...sides]
  for (let round = 0; round < rounds; round++) {
    const from = round % order.length
    for (const [name, measure] of [...order.slice(from), ...order.slice(0, from)]) found.get(name)?.push(await measure())
    onRound(round + 1)
  }
  return found
}

/** The median over the rounds of a's measurement by b's: what slows a whole round cancels out. */
export function ratio(rounds: Rounds, a: string, b: string): number {
  const [over, under] = [rounds.get(a) ?? [], rounds.get(b) ?? []]
  return median(over.map((x, i) => x / (under[i] ?? NaN)))
}

/** One line of the result. A goal is an upper bound. */
export interface Row {
  readonly what: string
  readonly value: number
  readonly unit: '' | 'ms' | 'µs' | 'MiB' | 'buffers' | '%' | 'MB/s' | 'tokens/s'
  readonly goal?: number
  readonly meets?: boolean
}
export interface Section { readonly name: string; readonly notes: readonly string[]; readonly rows: readonly Row[] }

export const row = (what: string, value: number, unit: Row['unit'] = '', goal?: number): Row =>
  ({ what, value, unit, ...(goal === undefined ? {} : { goal, meets: value <= goal }) })

export const timesOf = (rounds: Rounds): Row[] => [...rounds].map(([name, ms]) => row(name, median(ms), 'ms'))
