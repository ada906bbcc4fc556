/** What the tests of sources share: documents of files, errors as text, the fixtures. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MeshworkError } from '../../../src/core/errors.ts'
import { documentsOf, openParts, type Document, type DocumentFormat, type DocumentPart, type Message, type Piece } from '../../../src/data/documents.ts'

export const fixtures = fileURLToPath(new URL('fixtures/', import.meta.url))
export const fixture = (name: string): string => join(fixtures, name)

interface Expected {
  readonly texts: readonly string[]
  readonly nullable: readonly string[]
  readonly chats: readonly (readonly Message[])[]
  readonly arrays: { readonly [name: string]: { readonly dtype: string; readonly shape: readonly number[]; readonly rows: readonly (readonly (number | string)[])[] } }
  readonly numbers: readonly (readonly number[])[]
}
/** What make.py put into the fixtures. */
export const expected = JSON.parse(readFileSync(fixture('expected.json'), 'utf8')) as Expected

export async function all<T>(items: AsyncIterable<T> | Iterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

export async function piecesOf(part: DocumentPart, options: { readonly after?: number; readonly bytes?: number } = {}): Promise<Piece[]> { return all(part.pieces(options)) }

/** All documents of a file; each piece goes through what a message to a worker goes through. */
export async function documents(name: string | readonly string[], options: { readonly format?: DocumentFormat; readonly bytes?: number } = {}): Promise<Document[]> {
  const found: Document[] = []
  for (const part of await openParts(typeof name === 'string' ? [name] : name, options.format === undefined ? {} : { format: options.format })) {
    for await (const piece of part.pieces(options.bytes === undefined ? {} : { bytes: options.bytes })) found.push(...await all(documentsOf(structuredClone(piece))))
  }
  return found
}
export const contents = async (...args: Parameters<typeof documents>): Promise<unknown[]> => (await documents(...args)).map(d => d.content)

/** The error that a promise ends in, as the user sees it. */
export async function failure(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(() => undefined, (e: unknown) => e)
  if (!(error instanceof MeshworkError)) throw new Error(`no error of ours: ${error instanceof Error ? error.stack ?? error.message : String(error)}`)
  if (error.problem.fix === undefined) throw new Error(`no fix: ${error.message}`)
  return error.message
}
