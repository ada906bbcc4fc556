/** JSONL: a record a line, lines of white space left out. */
import { isBlank, type Scanner } from './cut.ts'
import { fault, largestRecord, reasonOf } from './faults.ts'
import type { Document, DocumentFormat, LineLayout, Message, Piece } from './types.ts'
import { markLength, textReader, wellFormed } from './utf8.ts'

type Format = Extract<DocumentFormat, { readonly format: 'jsonl' }>

export class LineScanner implements Scanner {
  readonly most: number = largestRecord
  readonly record: string = 'a line'
  records = 0
  seen = 0
  opened = 0
  readonly #name: string
  #line = 1
  #blank = true

  constructor(name: string) { this.#name = name }

  readonly started: boolean = true
  layout(): LineLayout { return { line: this.#line } }
  place(): string { return `${this.#name}:${this.#line}` }

  end(window: Buffer, base: number, from: number, last: boolean): number {
    for (let at = from; ;) {
      const feed = window.indexOf(10, at)
      const to = feed < 0 ? window.length : feed
      if (this.#blank && to > at) this.#blank = isBlank(window, base + at === 0 ? markLength(window) : at, to)
      if (feed < 0) break
      this.#line++
      at = feed + 1
      this.opened = base + at
      if (!this.#blank) {
        this.#blank = true
        this.records++
        return at
      }
    }
    if (last && !this.#blank) this.records++
    this.seen = window.length
    return -1
  }
}

/** An object a line, with its place. */
export interface JsonRecord { readonly record: number; readonly at: string; readonly value: object }

/** @throws DataError for a line that is no JSON, or no object */
export function* jsonlRecords(bytes: Buffer, piece: Piece): Generator<JsonRecord> {
  let { line } = piece.layout as LineLayout
  const first = line
  const read = textReader(bytes, offset => {
    let at = first
    for (let i = bytes.indexOf(10); i >= 0 && i < offset; i = bytes.indexOf(10, i + 1)) at++
    return `${piece.part}:${at}`
  })
  for (let [from, record] = [piece.from === 0 ? markLength(bytes) : 0, piece.first]; from < bytes.length; line++) {
    const feed = bytes.indexOf(10, from)
    const to = feed < 0 ? bytes.length : feed
    if (!isBlank(bytes, from, to)) {
      const at = `${piece.part}:${line}`
      yield { record: record++, at, value: parsed(read(from, to), at) }
    }
    from = to + 1
  }
}

/** @throws DataError for a line that is no JSON, no object, or has no text. */
export function* jsonlDocuments(bytes: Buffer, piece: Piece): Generator<Document> {
  const textOf = contentOf(piece.format as Format)
  for (const { record, at, value } of jsonlRecords(bytes, piece)) yield { record, at, content: textOf(value, at) }
}

function parsed(text: string, at: string): object {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw fault({
      code: 'not-json', what: 'a line is not JSON', at, details: { reason: reasonOf(cause).slice(0, 200) }, cause,
      fix: /^\s*[[{,]?\s*$/.test(text) ? 'each line must be a whole object: rewrite it with jq -c' : 'mend the line, or take it out',
    })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw fault({ code: 'not-a-record', what: `a line is ${Array.isArray(value) ? 'a list' : JSON.stringify(value).slice(0, 60)}, no object`, at, fix: 'each line must be an object with the text in a field' })
  }
  return value
}

type Fields = { readonly [field: string]: unknown }
/** The text of a record, its lone surrogates mended: they can only come from an escape. */
type ContentOf = (record: object, at: string) => string | readonly Message[]

function contentOf({ field, messages }: Format): ContentOf {
  if (messages !== undefined) return (record, at) => chat(own(record, messages), messages, record, at)
  if (field !== undefined) return (record, at) => text(own(record, field), field, record, at)
  return (record, at) => {
    if (Object.hasOwn(record, 'text')) return text(own(record, 'text'), 'text', record, at)
    if (Object.hasOwn(record, 'messages')) return chat(own(record, 'messages'), 'messages', record, at)
    if (Object.hasOwn(record, 'prompt') && Object.hasOwn(record, 'completion')) {
      return ['prompt', 'completion'].map((name, i) => ({ role: i === 0 ? 'user' : 'assistant', content: text(own(record, name), name, record, at) }))
    }
    return text(undefined, 'text', record, at)
  }
}

const own = (record: object, field: string): unknown => Object.hasOwn(record, field) ? (record as Fields)[field] : undefined

/** null is a text without a character. */
function text(value: unknown, field: string, record: object, at: string): string {
  if (typeof value === 'string') return wellFormed(value)
  if (value === null) return ''
  const fields = Object.keys(record).slice(0, 8).map(k => k.slice(0, 40)).join(', ')
  throw value === undefined
    ? fault({ code: 'no-field', what: `a record has no field "${field}"`, at, details: { has: fields === '' ? 'no fields' : fields }, fix: 'say which field holds the text, or the messages of a chat' })
    : fault({ code: 'not-text', what: `the field "${field}" is ${kind(value)}, no text`, at, fix: 'say which field holds the text, or the messages of a chat' })
}

const kind = (value: unknown): string => Array.isArray(value) ? 'a list' : typeof value === 'object' ? 'an object' : `a ${typeof value}`

function chat(value: unknown, field: string, record: object, at: string): readonly Message[] {
  if (value === undefined) text(value, field, record, at)
  return messagesOf(value, field, at)
}

/** A list of `{ role, content }` as the messages of a chat. @throws DataError when it is none. */
export function messagesOf(value: unknown, field: string, at: string): readonly Message[] {
  const wrong = (what: string): never => {
    throw fault({ code: 'not-a-chat', what, at, fix: 'messages are a list of { "role": "user", "content": "…" }' })
  }
  if (!Array.isArray(value)) return wrong(`the field "${field}" is ${value === null ? 'null' : kind(value)}, no list of messages`)
  return value.map((message: unknown, i) => {
    if (typeof message !== 'object' || message === null) return wrong(`message ${i + 1} of "${field}" is no object`)
    const [role, content] = [own(message, 'role'), own(message, 'content')]
    if (typeof role !== 'string') return wrong(`message ${i + 1} of "${field}" has no role`)
    if (typeof content !== 'string' && content !== null) return wrong(`the content of message ${i + 1} of "${field}" is ${content === undefined ? 'not there' : `${kind(content)}, no text`}`)
    return { role: wellFormed(role), content: wellFormed(content ?? '') }
  })
}
