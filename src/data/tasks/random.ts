/** Random numbers by counter: those of a row hang on its key alone, so that every thread and machine draws the same. */
import { hash } from '../shuffle.ts'

export interface Draws {
  /** A whole number from 0 to before `n`, n at most 2^32. */
  below(n: number): number
}

/** The key is any whole numbers, such as seed, epoch and row. */
export function drawsOf(...key: readonly number[]): Draws {
  const [a, b] = [hash(...key, 1), hash(...key, 2)]
  let counter = 0
  return {
    below(n) {
      // Of 2^32 numbers the last ones that would favour some results are drawn again.
      const fair = 2 ** 32 - 2 ** 32 % n
      for (;;) {
        const drawn = hash(a, b, counter++)
        if (drawn < fair) return drawn % n
      }
    },
  }
}

/** `count` of the numbers 0 to before `n`, in rising order, each choice as likely as any (Floyd 1987). */
export function chosen(n: number, count: number, draws: Draws): number[] {
  const found = new Set<number>()
  for (let i = n - count; i < n; i++) {
    const j = draws.below(i + 1)
    found.add(found.has(j) ? i : j)
  }
  return [...found].sort((x, y) => x - y)
}

/** Whole numbers from 1 on with this sum, `parts` of them, each way as likely as any. */
export function partition(sum: number, parts: number, draws: Draws): number[] {
  const edges = [0, ...chosen(sum - 1, parts - 1, draws).map(e => e + 1), sum]
  return edges.slice(1).map((e, i) => e - (edges[i] as number))
}
