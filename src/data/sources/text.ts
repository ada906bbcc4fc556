/** Plain text: a document a file, or several with a separator between them. */
import { isBlank, linesIn, type Scanner } from './cut.ts'
import type { Document, DocumentFormat, LineLayout, Piece } from './types.ts'
import { markLength, textReader } from './utf8.ts'

type Format = Extract<DocumentFormat, { readonly format: 'text' }>

/** What separates documents wherever it stands: no text has it by chance. */
export const anywhere = '<|endoftext|>'
/** A JavaScript string has at most 2^29 characters. */
const longest = 2 ** 29 - 25

const [lineFeed, carriageReturn] = [10, 13]

/** The next separator in `bytes` from `from` on: where it begins and ends, the line end behind it included. */
interface Found { readonly from: number; readonly to: number }

class Separator {
  readonly bytes: Buffer
  readonly #everywhere: boolean

  constructor(text: string) {
    this.bytes = Buffer.from(text)
    this.#everywhere = text === anywhere
  }

  /** `before` is the byte before the first; 'more' where the next bytes decide, with the place from which to look again. */
  next(bytes: Buffer, from: number, before: number, last: boolean): Found | { readonly more: number } {
    for (let at = from; ;) {
      const found = bytes.indexOf(this.bytes, at)
      if (found < 0) return { more: last ? bytes.length : Math.max(from, bytes.length - this.bytes.length + 1) }
      const end = found + this.bytes.length
      if (!last && end + 2 > bytes.length) return { more: found }
      const begins = (found === 0 ? before : bytes[found - 1]) === lineFeed
      const feed = bytes[end] === lineFeed ? 1 : bytes[end] === carriageReturn && bytes[end + 1] === lineFeed ? 2 : 0
      if (this.#everywhere || (begins && (feed > 0 || end === bytes.length))) return { from: found, to: end + feed }
      at = found + 1
    }
  }
}

export class TextScanner implements Scanner {
  readonly most: number = longest
  readonly record: string = 'a text without a separator'
  records = 0
  seen = 0
  opened = 0
  readonly #name: string
  readonly #separator: Separator | undefined
  #line = 1
  #blank = true
  #before = lineFeed

  constructor(name: string, { separator }: Format) {
    this.#name = name
    this.#separator = separator === undefined ? undefined : new Separator(separator)
  }

  readonly started: boolean = true
  layout(): LineLayout { return { line: this.#line } }
  place(): string { return `${this.#name}:${this.#line}` }

  end(window: Buffer, base: number, from: number, last: boolean): number {
    for (let at = from; ;) {
      const before = at === 0 ? this.#before : window[at - 1] ?? lineFeed
      const found = this.#separator === undefined ? { more: window.length } : this.#separator.next(window, at, before, last)
      const to = 'more' in found ? found.more : found.from
      if (this.#blank) this.#blank = isBlank(window, base + at === 0 ? Math.min(markLength(window), to) : at, to)
      const behind = 'more' in found ? found.more : found.to
      this.#line += linesIn(window, at, behind)
      if ('more' in found) {
        this.#before = behind === 0 ? this.#before : window[behind - 1] ?? lineFeed
        this.seen = behind
        break
      }
      at = behind
      this.opened = base + at
      if (!this.#blank) {
        this.#blank = true
        this.records++
        return at
      }
    }
    if (last && !this.#blank) this.records++
    return -1
  }
}

/** Without a byte order mark, lines ending in \n alone. @throws DataError when they are not UTF-8. */
export function* textDocuments(bytes: Buffer, piece: Piece): Generator<Document> {
  const { separator: text } = piece.format as Format
  const separator = text === undefined ? undefined : new Separator(text)
  const { line: first } = piece.layout as LineLayout
  const read = textReader(bytes, offset => `${piece.part}:${first + linesIn(bytes, 0, offset)}`)
  let [line, record] = [first, piece.first]
  for (let from = piece.from === 0 ? markLength(bytes) : 0; from < bytes.length;) {
    const found = separator?.next(bytes, from, from === 0 ? lineFeed : bytes[from - 1] ?? lineFeed, true) ?? { more: bytes.length }
    const [to, next] = 'more' in found ? [found.more, found.more] : [found.from, found.to]
    if (!isBlank(bytes, from, to)) yield { record: record++, at: `${piece.part}:${line}`, content: read(from, to).replaceAll('\r\n', '\n') }
    line += linesIn(bytes, from, next)
    from = next
  }
}
