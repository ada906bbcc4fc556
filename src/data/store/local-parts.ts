/** Text and JSON lines of local files as parts, pieces and documents. */
import { createReadStream, openSync, closeSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { DataError } from '../../core/errors.ts'
import { sha256File } from '../../io/checksum.ts'
import { readFully } from './files.ts'

export interface Message { readonly role: string; readonly content: string }
export interface Document { readonly record: number; readonly at: string; readonly content: string | readonly Message[] }
export type DocumentFormat =
  | { readonly format: 'text'; readonly separator?: string }
  | { readonly format: 'jsonl'; readonly field?: string; readonly messages?: string }
  | { readonly format: 'parquet'; readonly field?: string; readonly messages?: string }
  | { readonly format: 'csv'; readonly field?: string; readonly delimiter?: string }
  | { readonly format: 'tar'; readonly field?: string }
export interface Piece {
  readonly part: string
  readonly format: DocumentFormat
  readonly index: number
  readonly first: number
  readonly from: number
  readonly to: number
  readonly data?: Uint8Array
}
export interface DocumentPart {
  readonly name: string
  readonly bytes: number | undefined
  fingerprint(): Promise<string>
  pieces(options?: { readonly after?: number; readonly bytes?: number }): AsyncIterable<Piece>
}

export async function openParts(names: readonly string[], { format }: { readonly format?: DocumentFormat } = {}): Promise<readonly DocumentPart[]> {
  return Promise.all(names.map(async name => {
    const found = await stat(name).catch((cause: unknown) => {
      throw new DataError({ code: 'no-such-file', what: `there is no file ${name}`, fix: 'give the path of a file', cause })
    })
    const chosen: DocumentFormat = format ?? (name.endsWith('.jsonl') ? { format: 'jsonl' } : { format: 'text' })
    return {
      name, bytes: found.size,
      fingerprint: () => sha256File(name),
      pieces: options => (chosen.format === 'jsonl' ? lines(name, chosen, options) : whole(name, chosen, found.size, options)),
    } satisfies DocumentPart
  }))
}

async function* whole(part: string, format: DocumentFormat, size: number, { after = -1 }: { after?: number } = {}): AsyncGenerator<Piece> {
  if (after < 0) yield await Promise.resolve({ part, format, index: 0, first: 0, from: 0, to: size })
}

async function* lines(part: string, format: DocumentFormat, { after = -1, bytes = 1 << 22 }: { after?: number; bytes?: number } = {}): AsyncGenerator<Piece> {
  let [index, first, from, count, at] = [0, 0, 0, 0, 0]
  for await (const block of createReadStream(part, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    for (let line = block.indexOf(10); line >= 0; line = block.indexOf(10, line + 1)) {
      count++
      const to = at + line + 1
      if (to - from < bytes) continue
      if (index > after) yield { part, format, index, first, from, to }
      index++
      first = count
      from = to
    }
    at += block.length
  }
  if (at > from && index > after) yield { part, format, index, first, from, to: at }
}

export function* documentsOf({ part, format, first, from, to, data }: Piece): Generator<Document> {
  const text = new TextDecoder('utf-8', { fatal: true }).decode(data ?? read(part, from, to))
  if (format.format === 'text') {
    const documents = text.split(format.separator ?? '<|endoftext|>')
    for (const [i, content] of documents.entries()) if (content.trim() !== '') yield { record: i, at: documents.length === 1 ? part : `${part}#${i + 1}`, content }
    return
  }
  let record = first
  for (const line of text.split('\n')) {
    if (line === '') continue
    const where = `${part}:${record + 1}`
    let json: { readonly [field: string]: string | readonly Message[] }
    try { json = JSON.parse(line) as typeof json } catch (cause) {
      throw new DataError({ code: 'not-json', what: `${where} is not JSON`, fix: 'mend the line', cause })
    }
    const content = json['text'] ?? json['messages']
    if (content === undefined) throw new DataError({ code: 'no-text', what: `${where} has no field "text"`, fix: 'name the field' })
    yield { record: record++, at: where, content }
  }
}

function read(path: string, from: number, to: number): Uint8Array {
  const file = openSync(path, 'r')
  try { return readFully(file, new Uint8Array(to - from), from, path) } finally { closeSync(file) }
}
