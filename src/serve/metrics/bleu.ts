/** BLEU of a corpus (Papineni et al. 2002) as sacrebleu defines it (Post 2018): tokens by its `13a`, exponential smoothing, up to four words. */
import { counted, words } from './words.ts'

const orders = 4

/** mteval-v13a's tokens, which most published BLEUs are of. */
export function tokens13a(text: string): string[] {
  let line = text.replace(new RegExp(`${words.space}+$`, 'u'), '').replaceAll('<skipped>', '').replaceAll('-\n', '').replaceAll('\n', ' ')
  for (const [entity, sign] of [['&quot;', '"'], ['&amp;', '&'], ['&lt;', '<'], ['&gt;', '>']] as const) line = line.replaceAll(entity, sign)
  line = ` ${line} `
    .replace(/([{-~[-` -&(-+:-@/])/g, ' $1 ')
    // Periods and commas stay within numbers.
    .replace(/([^0-9])([.,])/gu, '$1 $2 ').replace(/([.,])([^0-9])/gu, ' $1 $2').replace(/([0-9])(-)/g, '$1 $2 ')
  return words.split(line)
}

/** Sums over a corpus: BLEU is no mean of sentences'. */
export interface BleuSums { readonly correct: readonly number[]; readonly total: readonly number[]; readonly length: number; readonly reference: number }
export const noBleu: BleuSums = { correct: [0, 0, 0, 0], total: [0, 0, 0, 0], length: 0, reference: 0 }

const grams = (tokens: readonly string[], n: number): Map<string, number> => counted(Array.from({ length: Math.max(0, tokens.length - n + 1) }, (_, i) => tokens.slice(i, i + n).join(' ')))

/** What one hypothesis adds: matches clipped by the most in any reference, and the length of the reference that is nearest, of two as near the shorter. */
export function bleuSums(hypothesis: string, references: readonly string[]): BleuSums {
  const found = tokens13a(hypothesis)
  const wanted = references.map(tokens13a)
  const [nearest = 0] = wanted.map(w => w.length).sort((a, b) => Math.abs(a - found.length) - Math.abs(b - found.length) || a - b)
  const correct: number[] = []
  const total: number[] = []
  for (let n = 1; n <= orders; n++) {
    const most = wanted.map(w => grams(w, n))
    let right = 0
    for (const [gram, count] of grams(found, n)) right += Math.min(count, Math.max(0, ...most.map(m => m.get(gram) ?? 0)))
    correct.push(right)
    total.push(Math.max(0, found.length - n + 1))
  }
  return { correct, total, length: found.length, reference: nearest }
}

const plus = (a: readonly number[], b: readonly number[]): number[] => a.map((x, i) => x + (b[i] ?? 0))
export const addBleu = (a: BleuSums, b: BleuSums): BleuSums => ({ correct: plus(a.correct, b.correct), total: plus(a.total, b.total), length: a.length + b.length, reference: a.reference + b.reference })

/** 0 to 100. */
export function bleu({ correct, total, length, reference }: BleuSums): number {
  if (correct.every(c => c === 0)) return 0
  const brevity = length === 0 ? 0 : length < reference ? Math.exp(1 - reference / length) : 1
  let [smooth, sum] = [1, 0]
  for (let n = 0; n < orders; n++) {
    const [right = 0, all = 0] = [correct[n], total[n]]
    if (all === 0) return 0
    if (right === 0) smooth *= 2
    sum += Math.log(right === 0 ? 100 / (smooth * all) : 100 * right / all)
  }
  return brevity * Math.exp(sum / orders)
}
