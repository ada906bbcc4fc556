/** How well classes are told: accuracy, macro F1, and what is taken for what. */

/** Counts by the right class and the one that was told. */
export type Confusion = readonly (readonly number[])[]
export interface ClassMetrics { readonly accuracy: number; readonly macroF1: number }

/** `macroF1` is the mean of F1 over the classes that were right or told at least once, each 0 where nothing of it was right: scikit-learn's default. */
export function classMetrics(confusion: Confusion): ClassMetrics {
  const all = confusion.flat().reduce((n, c) => n + c, 0)
  const right = confusion.reduce((n, row, i) => n + (row[i] ?? 0), 0)
  const scores = confusion.flatMap((row, i) => {
    const [truly, told] = [row.reduce((n, c) => n + c, 0), confusion.reduce((n, r) => n + (r[i] ?? 0), 0)]
    return truly + told === 0 ? [] : [2 * (row[i] ?? 0) / (truly + told)]
  })
  return { accuracy: right / all, macroF1: scores.reduce((n, s) => n + s, 0) / scores.length }
}
