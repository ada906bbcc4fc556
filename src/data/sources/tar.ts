/** Tar archives in WebDataset's layout as documents: members with the same key, next to each other, are a record. */
import type { DataError } from '../../core/errors.ts'
import { didYouMean } from '../../core/nearest.ts'
import type { Scanner } from './cut.ts'
import { fault, largestRecord, tooLong } from './faults.ts'
import { padded, TarFault } from './tar-header.ts'
import { keyOf, memberAt, type Member } from './tar-members.ts'
import type { Document, DocumentFormat, LineLayout, Piece } from './types.ts'
import { markLength, textReader } from './utf8.ts'

type Format = Extract<DocumentFormat, { readonly format: 'tar' }>

const spoilt = (name: string, at: number, cause: unknown): DataError => fault({
  code: 'bad-tar', what: cause instanceof Error ? cause.message : String(cause), at: `${name}, byte ${at}`,
  fix: 'it is damaged, cut off or no tar archive: test it with tar -tf, and fetch it again', cause,
})

export class TarScanner implements Scanner {
  /** What belongs together is read together, images and all. */
  readonly most: number = 2 ** 30
  readonly record: string = 'a record'
  readonly started: boolean = true
  records = 0
  seen = 0
  opened = 0
  readonly #name: string
  #key: string | undefined
  /** Bytes of a member's content that are still to pass. */
  #pass = 0
  #over = false

  constructor(name: string) { this.#name = name }

  layout(): LineLayout | undefined { return undefined }
  place(): string { return `${this.#name}:${this.#key ?? ''}` }

  end(window: Buffer, base: number, from: number, last: boolean): number {
    for (let at = from; ;) {
      const step = Math.min(this.#pass, window.length - at)
      at += step
      this.#pass -= step
      this.seen = this.#over ? window.length : at
      if (this.#over) return -1
      // The last member's content may lack what fills its last block.
      if (this.#pass > 0) return last && this.#pass >= 512 ? this.#cutOff(base + at) : this.#ended(last)
      const member = this.#member(window, base, at, last)
      if (member === 'more') return -1
      if (member === 'end') {
        this.#over = true
        return this.#key === undefined ? this.end(window, base, at, last) : this.#closed(base, at)
      }
      const key = keyOf(member)?.key
      if (this.#key !== undefined && key !== undefined && key !== this.#key) return this.#closed(base, at)
      if (this.#key === undefined) this.opened = base + at
      this.#key = key ?? this.#key
      at = member.content
      this.#pass = padded(member.size)
    }
  }

  #closed(base: number, at: number): number {
    this.#key = undefined
    this.records++
    this.opened = base + at
    return at
  }

  #ended(last: boolean): number {
    if (last && this.#key !== undefined) this.records++
    return -1
  }

  #cutOff(at: number): never {
    throw fault({ code: 'data-ends', what: `${this.#name} is cut off`, details: { there: `${at} bytes`, missing: `${this.#pass} of a member's` }, fix: 'fetch it again, whole' })
  }

  #member(window: Buffer, base: number, at: number, last: boolean): Member | 'more' | 'end' {
    try {
      return memberAt(window, at, last)
    } catch (cause) {
      throw cause instanceof TarFault ? spoilt(this.#name, base + at, cause) : cause
    }
  }
}

/** A record: where its members lie in the bytes, by their fields. */
export interface TarRecord { readonly key: string; readonly fields: ReadonlyMap<string, readonly [from: number, to: number]> }

/** The records in bytes that begin at `base` of an archive. @throws DataError for one with two members of a field, and for damage. */
export function* tarRecords(bytes: Buffer, name: string, base: number): Generator<TarRecord> {
  let open: { readonly key: string; readonly fields: Map<string, readonly [from: number, to: number]> } | undefined
  for (let at = 0; at < bytes.length;) {
    let member: Member | 'more' | 'end'
    try {
      member = memberAt(bytes, at, true)
    } catch (cause) {
      throw cause instanceof TarFault ? spoilt(name, base + at, cause) : cause
    }
    if (typeof member === 'string') break
    const named = keyOf(member)
    const to = member.content + member.size
    if (to > bytes.length) throw spoilt(name, base + at, new TarFault('a member ends behind the archive'))
    if (named !== undefined) {
      if (open !== undefined && open.key !== named.key) {
        yield open
        open = undefined
      }
      open ??= { key: named.key, fields: new Map() }
      if (open.fields.has(named.field)) throw fault({ code: 'two-members', what: `a record has two members .${named.field}`, at: `${name}:${named.key}`, fix: 'records next to each other need different names' })
      open.fields.set(named.field, [member.content, to])
    }
    at = member.content + padded(member.size)
  }
  if (open !== undefined) yield open
}

/** @throws DataError for a record without the field, or with two of it. */
export function* tarDocuments(bytes: Buffer, piece: Piece): Generator<Document> {
  const wanted = ((piece.format as Format).field ?? 'txt').toLowerCase()
  let record = piece.first
  for (const { key, fields } of tarRecords(bytes, piece.part, piece.from)) {
    const at = `${piece.part}:${key}`
    const place = fields.get(wanted)
    if (place === undefined) {
      const has = [...fields.keys()].slice(0, 8)
      throw fault({ code: 'no-field', what: `a record has no member .${wanted}`, at, fix: `say which member is the text, and let those of one name lie next to each other; ${didYouMean(wanted, has)}` })
    }
    const [from, to] = place
    if (to - from > largestRecord) throw tooLong(`a member .${wanted}`, at)
    const content = bytes.subarray(from, to)
    const read = textReader(content, offset => `${at}.${wanted}, byte ${offset}`)
    yield { record: record++, at, content: read(markLength(content), content.length).replaceAll('\r\n', '\n') }
  }
}
