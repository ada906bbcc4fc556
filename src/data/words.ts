/** Text cut into words as GPT-2 does: merges never cross a word's edge. */

// JavaScript's \s has U+FEFF and lacks U+0085; the property is what the pattern means elsewhere.
const word = new RegExp([
  "'s|'t|'re|'ve|'m|'ll|'d", ' ?\\p{L}+', ' ?\\p{N}+', ' ?[^\\p{White_Space}\\p{L}\\p{N}]+',
  '\\p{White_Space}+(?!\\P{White_Space})', '\\p{White_Space}+',
].join('|'), 'gu')

// No word holds a white space after anything else, so before such a space the text may be cut and each side has the same words.
const edge = /\P{White_Space}(?=\p{White_Space})/gu
const sliceLength = 1 << 16

/** The words of `text` in order, a slice at a time so that a large file does not become one large array. They join to the text. */
export function* words(text: string): Generator<readonly string[], void> {
  for (let from = 0; from < text.length;) {
    edge.lastIndex = from + sliceLength
    const cut = edge.exec(text)
    const to = cut === null ? text.length : cut.index + cut[0].length
    yield text.slice(from, to).match(word) ?? []
    from = to
  }
}

/** How often each word occurs, over all documents. */
export function countWords(documents: readonly string[], onDocument: (done: number) => void = () => undefined): Map<string, number> {
  const counts = new Map<string, number>()
  documents.forEach((text, i) => {
    for (const slice of words(text)) for (const w of slice) counts.set(w, (counts.get(w) ?? 0) + 1)
    onDocument(i + 1)
  })
  return counts
}
