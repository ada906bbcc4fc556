/** chrF of a corpus (Popović 2015) as sacrebleu defines chrF2: characters without white space, up to six of them, recall counting twice as much as precision. */
import { counted, words } from './words.ts'

const [orders, weight] = [6, 4]

/** Of each order: how many the hypothesis has, the reference has, and both have. */
export type ChrfSums = readonly number[]
export const noChrf: ChrfSums = new Array<number>(3 * orders).fill(0)

const charactersOf = (text: string): string[] => [...words.split(text).join('')]
const grams = (characters: readonly string[], n: number): Map<string, number> => counted(Array.from({ length: Math.max(0, characters.length - n + 1) }, (_, i) => characters.slice(i, i + n).join('')))

function sumsOf(found: readonly string[], wanted: readonly string[]): ChrfSums {
  return Array.from({ length: orders }, (_, i) => {
    const [there, has] = [grams(wanted, i + 1), grams(found, i + 1)]
    let both = 0
    for (const [gram, count] of has) both += Math.min(count, there.get(gram) ?? 0)
    const all = Math.max(0, wanted.length - i)
    // Nothing counts where the reference has none of that length.
    return [all > 0 ? Math.max(0, found.length - i) : 0, all, both]
  }).flat()
}

/** What one hypothesis adds: beside the reference that it is nearest to. */
export function chrfSums(hypothesis: string, references: readonly string[]): ChrfSums {
  const found = charactersOf(hypothesis)
  const [best = noChrf] = references.map(reference => sumsOf(found, charactersOf(reference))).map((sums, i) => ({ sums, i, score: chrf(sums) })).sort((a, b) => b.score - a.score || a.i - b.i).map(({ sums }) => sums)
  return best
}
export const addChrf = (a: ChrfSums, b: ChrfSums): ChrfSums => a.map((x, i) => x + (b[i] ?? 0))

/** 0 to 100. */
export function chrf(sums: ChrfSums): number {
  let [precision, recall, counts] = [0, 0, 0]
  for (let i = 0; i < orders; i++) {
    const [has = 0, there = 0, both = 0] = sums.slice(3 * i, 3 * i + 3)
    if (has === 0 || there === 0) continue
    precision += both / has
    recall += both / there
    counts++
  }
  if (precision + recall === 0) return 0
  const [p, r] = [precision / counts, recall / counts]
  return 100 * (1 + weight) * p * r / (weight * p + r)
}
