/** Added tokens: strings that are found in a text before it is cut into words, by the rules of Hugging Face's libraries. */

export interface AddedToken {
  readonly id: number
  /** Left out of what is decoded, unless asked for. */
  readonly special: boolean
  /** Only where no letter, digit or underscore stands next to it. */
  readonly singleWord?: boolean
  /** Takes the white space before it along, which is then lost. */
  readonly lstrip?: boolean
  /** The same behind it. */
  readonly rstrip?: boolean
  /** Looked for in what the others leave, after them. */
  readonly normalized?: boolean
}

/** A token, or text between them. */
type Part = number | string
export type Splitter = (text: string) => readonly Part[]

const wordBefore = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u
const wordAfter = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u
const whiteSpace = /\p{White_Space}/u

/** Looks for the tokens first that are not `normalized`, then for the others in what is left. */
export function addedSplitter(added: readonly AddedToken[], contents: readonly string[]): Splitter {
  const [first, then] = [false, true].map(normalized => finder(added.filter(t => (t.normalized ?? false) === normalized), contents))
  return text => (first?.(text) ?? [text]).flatMap(part => (typeof part === 'number' ? part : then?.(part) ?? part))
}

/** Of tokens that begin at one place the longest is taken; one that is not alone as it must be is passed over. */
function finder(added: readonly AddedToken[], contents: readonly string[]): Splitter | undefined {
  const byContent = new Map(added.map(token => [contents[token.id] ?? '', token]))
  if (byContent.size === 0) return undefined
  const longestFirst = [...byContent.keys()].sort((a, b) => b.length - a.length)
  const pattern = new RegExp(longestFirst.map(s => s.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('|'), 'g')
  return text => {
    const parts: Part[] = []
    let done = 0
    for (const { 0: content, index } of text.matchAll(pattern)) {
      const token = byContent.get(content)
      if (token === undefined) continue
      let [start, end] = [index, index + content.length]
      if (token.singleWord === true && (wordBefore.test(lastOf(text, start)) || wordAfter.test(text.slice(end, end + 2)))) continue
      if (token.lstrip === true) while (start > done && whiteSpace.test(text[start - 1] ?? '')) start--
      if (token.rstrip === true) while (end < text.length && whiteSpace.test(text[end] ?? '')) end++
      if (done < start) parts.push(text.slice(done, start))
      parts.push(token.id)
      done = end
    }
    if (done < text.length) parts.push(text.slice(done))
    return parts
  }
}

/** The character before a place: two units may make one. */
const lastOf = (text: string, at: number): string => text.slice(Math.max(0, at - 2), at)
