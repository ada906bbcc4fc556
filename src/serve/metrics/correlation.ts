/** How two lists of numbers go together. */

/** Pearson's correlation; NaN where one of them is constant. */
export function pearson(a: readonly number[], b: readonly number[]): number {
  const [meanA, meanB] = [mean(a), mean(b)]
  let [both, ofA, ofB] = [0, 0, 0]
  for (const [i, x] of a.entries()) {
    const [da, db] = [x - meanA, (b[i] ?? NaN) - meanB]
    both += da * db
    ofA += da * da
    ofB += db * db
  }
  return both / Math.sqrt(ofA * ofB)
}
const mean = (xs: readonly number[]): number => xs.reduce((n, x) => n + x, 0) / xs.length

/** Spearman's: Pearson's of the ranks. */
export const spearman = (a: readonly number[], b: readonly number[]): number => pearson(ranks(a), ranks(b))

/** From 1 on; those that are equal share the mean of theirs. */
export function ranks(xs: readonly number[]): number[] {
  const order = xs.map((_, i) => i).sort((i, j) => (xs[i] ?? 0) - (xs[j] ?? 0))
  const found = new Array<number>(xs.length)
  for (let from = 0; from < order.length;) {
    let to = from + 1
    while (to < order.length && xs[order[to] ?? 0] === xs[order[from] ?? 0]) to++
    for (let k = from; k < to; k++) found[order[k] ?? 0] = (from + to + 1) / 2
    from = to
  }
  return found
}
/** The cosine of the angle between two vectors. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [both, ofA, ofB] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    const [x = 0, y = 0] = [a[i], b[i]]
    both += x * y
    ofA += x * x
    ofB += y * y
  }
  return both / Math.sqrt(ofA * ofB)
}
