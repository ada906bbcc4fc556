/** Words as Python's `str.split` has them, counts, and answers as SQuAD compares them. */

/** What Python calls white space. */
const space = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]'
const spaces = new RegExp(`${space}+`, 'u')
export const words: { readonly space: string; readonly split: (text: string) => string[] } = { space, split: text => text.split(spaces).filter(word => word !== '') }

export function counted<T>(items: Iterable<T>): Map<T, number> {
  const counts = new Map<T, number>()
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1)
  return counts
}

/** An answer as SQuAD's evaluation compares it (Rajpurkar et al. 2016): lower case, without ASCII punctuation and the articles a, an, the, one space between words. */
export const normalisedAnswer = (text: string): string =>
  words.split(text.toLowerCase().replace(/[!-/:-@[-`{-~]/g, '').replace(/(?<![\p{L}\p{N}_])(a|an|the)(?![\p{L}\p{N}_])/gu, ' ')).join(' ')

/** Whether an answer is one of those that are right, as SQuAD compares them. */
export const exactMatch = (found: string, answers: readonly string[]): boolean => answers.some(answer => normalisedAnswer(answer) === normalisedAnswer(found))
