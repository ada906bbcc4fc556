/** What a task of measuring is: items of files, what a model makes of each, and numbers over all of them. */
import { DataError } from '../../core/errors.ts'
import type { PlainObject } from '../../core/plain.ts'
import { shown } from '../../core/shown.ts'
import type { DocumentPart, JsonRecord } from '../../data/index.ts'
import { objectsOf, type Placed } from '../stream.ts'

/** I are its items, D what is noted of each: both JSON. */
export interface Task<I, D extends PlainObject> {
  readonly name: string
  /** What decides the results beside the model and the files. */
  readonly options: PlainObject
  /** Items that are worked on together. */
  readonly stretch: number
  /** @throws DataError that says where an item is wrong */
  readonly read: (parts: readonly DocumentPart[]) => AsyncIterable<Placed<I>>
  /** Under MPI every rank asks for the same, and gets it. `onItems` hears how many are done. */
  readonly measure: (items: readonly I[], onItems: (done: number) => void) => Promise<readonly D[]>
  readonly tally: () => Tally<D>
}
export interface Tally<D> {
  add(done: D): void
  report(): TaskReport
}
export interface TaskReport {
  /** What was measured, the first the task's own. */
  readonly metrics: { readonly [name: string]: number }
  /** How many of what. */
  readonly counts: { readonly [name: string]: number }
  /** What the metrics are, a sentence each. */
  readonly definitions: { readonly [name: string]: string }
  readonly tables?: readonly Table[]
}
export interface Table { readonly title: string; readonly rows: readonly (readonly string[])[] }

const wrong = (code: string, what: string, at: string, fix: string): DataError => new DataError({ code, what, details: { in: at }, fix })
const kind = (x: unknown): string => (x === null ? 'null' : Array.isArray(x) ? 'a list' : typeof x === 'object' ? 'an object' : typeof x === 'string' ? shown(x) : String(x))

/** The fields of an item, each asked for by what it must be. @throws DataError that names place and field */
export class Fields {
  readonly at: string
  readonly #fields: { readonly [field: string]: unknown }
  constructor({ at, value }: Pick<JsonRecord, 'at' | 'value'>) {
    this.at = at
    this.#fields = value as { readonly [field: string]: unknown }
  }

  /** Undefined where it is not there, or null. */
  raw(field: string): unknown { return Object.hasOwn(this.#fields, field) ? this.#fields[field] ?? undefined : undefined }
  wrong(code: string, what: string, fix: string): DataError { return wrong(code, what, this.at, fix) }
  missing(field: string): DataError {
    const has = Object.keys(this.#fields).slice(0, 8).map(k => k.slice(0, 40)).join(', ')
    return this.wrong('no-field', `an item has no ${field}`, `it has ${has === '' ? 'no fields' : has}`)
  }

  text(field: string): string {
    const found = this.maybe(field)
    if (found === undefined) throw this.missing(`"${field}"`)
    return found
  }

  maybe(field: string): string | undefined {
    const found = this.raw(field)
    if (found === undefined || typeof found === 'string') return found
    throw this.wrong('not-text', `the field "${field}" is ${kind(found)}, no text`, 'give it as text')
  }

  number(field: string): number {
    const found = this.raw(field)
    if (found === undefined) throw this.missing(`"${field}"`)
    if (typeof found === 'number' && Number.isFinite(found)) return found
    throw this.wrong('not-a-number', `the field "${field}" is ${kind(found)}, no number`, 'give it as a number')
  }

  /** @throws where there are fewer than `least` */
  texts(field: string, least: number): readonly string[] {
    const found = this.raw(field)
    if (found === undefined) throw this.missing(`"${field}"`)
    if (!Array.isArray(found) || !found.every((x): x is string => typeof x === 'string')) throw this.wrong('not-texts', `the field "${field}" is ${kind(found)}, no list of texts`, 'give it as a list of texts')
    if (found.length < least) throw this.wrong('too-few', `the field "${field}" has ${found.length} text${found.length === 1 ? '' : 's'}`, `give at least ${least}`)
    return found
  }
}

/** Items of JSONL, one an object. */
export async function* itemsOf<I>(parts: readonly DocumentPart[], item: (fields: Fields) => I): AsyncGenerator<Placed<I>> {
  for await (const { item: record, share } of objectsOf(parts)) yield { item: item(new Fields(record)), share }
}

/** @throws DataError where a model made a number that is none */
export function requireFinite(numbers: Iterable<number>, at: string): void {
  for (const x of numbers) if (!Number.isFinite(x)) throw wrong('not-finite', `the model makes ${x} of an item`, at, 'its weights are not finite, or its numbers leave the range of the dtype that is computed in')
}
