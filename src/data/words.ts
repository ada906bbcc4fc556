/** Text cut into words as GPT-2 does: merges never cross a word's edge. */

/**
 * GPT-2's pattern is `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`. It is followed here by hand: a regular
 * expression keeps a way back for each character of a match, and overflows the stack in a run of millions.
 */
const contractions = ['\'s', '\'t', '\'re', '\'ve', '\'m', '\'ll', '\'d'] as const

/** What a word is made of, besides one space before it: white space, letters, digits or other characters. */
export const white = 1
const letter = 2
const digit = 3
const other = 4
// JavaScript's \s has U+FEFF and lacks U+0085; the property is what the pattern means elsewhere.
const whiteSpace = /\p{White_Space}/u
const letters = /\p{L}/u
const digits = /\p{N}/u
/** By code point; 0 where it has not been asked for yet. */
const kinds = new Uint8Array(0x110000)

/** What kind of word a character is part of. */
export function kindOf(codePoint: number): number {
  const known = kinds[codePoint] as number
  if (known !== 0) return known
  const char = String.fromCodePoint(codePoint)
  return kinds[codePoint] = whiteSpace.test(char) ? white : letters.test(char) ? letter : digits.test(char) ? digit : other
}
const kindAt = (text: string, at: number): number => kindOf(text.codePointAt(at) as number)

/** The end of the run of one kind that begins at `from`. */
function endOfRun(text: string, from: number, kind: number): number {
  let at = from
  while (at < text.length) {
    const codePoint = text.codePointAt(at) as number
    if (kindOf(codePoint) !== kind) break
    at += codePoint > 0xffff ? 2 : 1
  }
  return at
}

/** The end of the word that begins at `from`. */
function endOfWord(text: string, from: number): number {
  const kind = kindAt(text, from)
  if (kind === white) {
    // One space goes with the word after it.
    const next = from + 1
    if (text[from] === ' ' && next < text.length && kindAt(text, next) !== white) return endOfRun(text, next, kindAt(text, next))
    // Of several white spaces the last is left for what follows, if anything does.
    const end = endOfRun(text, from, white)
    return end < text.length && end - from > 1 ? end - 1 : end
  }
  const contraction = text[from] === '\'' ? contractions.find(c => text.startsWith(c, from)) : undefined
  return contraction === undefined ? endOfRun(text, from, kind) : from + contraction.length
}

/**
 * A longer word is cut: what one word costs must be bounded where a text has no spaces at all, and no word of prose comes near. In UTF-16
 * units, of which a pair is kept together.
 */
export const longestWord = 256

const isPair = (text: string, at: number): boolean => (text.codePointAt(at - 1) ?? 0) > 0xffff
const wordsAtOnce = 1 << 12

/** The words of `text` in order, some thousands at a time so that a large file does not become one large array. They join to the text. */
export function* words(text: string): Generator<readonly string[], void> {
  let found: string[] = []
  for (let from = 0; from < text.length;) {
    const end = endOfWord(text, from)
    while (from < end) {
      const most = from + longestWord
      const to = most >= end ? end : isPair(text, most) ? most - 1 : most
      found.push(text.slice(from, to))
      from = to
    }
    if (found.length >= wordsAtOnce) {
      yield found
      found = []
    }
  }
  if (found.length > 0) yield found
}

/** How often each word occurs, over all documents. */
export function countWords(documents: readonly string[], onDocument: (done: number) => void = () => undefined): Map<string, number> {
  const counts = new Map<string, number>()
  documents.forEach((text, i) => {
    for (const some of words(text)) for (const w of some) counts.set(w, (counts.get(w) ?? 0) + 1)
    onDocument(i + 1)
  })
  return counts
}
