/** Sizes of meshes: every way to write a number of devices as a product. */

/** All lists of at most `most` factors, each at least 2, the largest first, whose product is `n`; of 1 the empty one. */
export function factorings(n: number, most: number, largest: number = n): number[][] {
  if (n === 1) return [[]]
  if (most === 0) return []
  const found: number[][] = []
  for (let f = Math.min(n, largest); f >= 2; f--) if (n % f === 0) for (const rest of factorings(n / f, most - 1, f)) found.push([f, ...rest])
  return found
}

/** Every order of a list. */
export const orders = <T>(list: readonly T[]): T[][] => (list.length < 2 ? [[...list]] : list.flatMap((x, i) => orders([...list.slice(0, i), ...list.slice(i + 1)]).map(rest => [x, ...rest])))
