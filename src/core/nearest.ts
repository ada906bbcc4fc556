/** "Did you mean": the candidate nearest to a misspelt name. */

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, swap))
    }
    row = next
  }
  return row[b.length] ?? 0
}

/** The nearest of `candidates` by Levenshtein distance, or undefined when none is within half of the name's length. */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(name.length / 2)) + 1
  for (const c of candidates) {
    const d = editDistance(name.toLowerCase(), c.toLowerCase())
    if (d < bestDistance) [best, bestDistance] = [c, d]
  }
  return best
}

/** A fix line: the nearest name, then all there are. */
export function didYouMean(name: string, candidates: Iterable<string>): string {
  const all = [...candidates]
  const near = nearest(name, all)
  const list = all.length === 0 ? 'there are none' : `there are: ${all.join(', ')}`
  return near === undefined ? list : `did you mean "${near}"? ${list}`
}
