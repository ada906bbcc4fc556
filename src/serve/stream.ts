/** Items of files in order, a stretch at a time, read by one process and known to all. */
import { documentsOf, openParts, recordsOf, type DocumentFormat, type DocumentPart, type JsonRecord, type Message } from '../data/index.ts'
import { DataError } from '../core/errors.ts'
import { fromFirst, type Processes } from '../engine/index.ts'

/** What is read, and which share of the bytes lies before it; undefined where that cannot be told. */
export interface Placed<T> { readonly item: T; readonly share: number | undefined }

/** Small enough for a share to say something. */
const pieceBytes = 2 ** 16
const isCompressed = (name: string): boolean => /\.(gz|tgz|zst|zstd|tzst)$/i.test(name)

async function* pieces<T>(parts: readonly DocumentPart[], of: (piece: Parameters<typeof documentsOf>[0]) => AsyncIterable<T> | Iterable<T>): AsyncGenerator<Placed<T>> {
  const total = parts.every(p => p.bytes !== undefined && !isCompressed(p.name)) ? parts.reduce((n, p) => n + (p.bytes ?? 0), 0) : undefined
  let before = 0
  for (const part of parts) {
    for await (const piece of part.pieces({ bytes: pieceBytes })) {
      const share = total === undefined ? undefined : (before + piece.from) / Math.max(1, total)
      for await (const item of of(piece)) yield { item, share }
    }
    before += part.bytes ?? 0
  }
}

/** A text, or a chat, and where it stands. */
export interface TextItem { readonly at: string; readonly content: string | readonly Message[] }
export const textsOf = (parts: readonly DocumentPart[]): AsyncGenerator<Placed<TextItem>> => pieces(parts, documentsOf)
/** Objects of JSONL with all their fields. */
export const objectsOf = (parts: readonly DocumentPart[]): AsyncGenerator<Placed<JsonRecord>> => pieces(parts, recordsOf)

/** Files of one format, and what they are: equal for equal content. @throws DataError for what cannot be read */
export async function openInputs(names: readonly string[], format: DocumentFormat | undefined): Promise<{ readonly parts: readonly DocumentPart[]; readonly fingerprint: readonly string[] }> {
  const parts = await openParts(names, format === undefined ? {} : { format })
  const fingerprint: string[] = []
  for (const part of parts) fingerprint.push(await part.fingerprint())
  return { parts, fingerprint }
}

export const nothingIn = (names: readonly string[]): DataError => new DataError({ code: 'empty-data', what: `there is nothing in ${names.join(', ')}`, fix: 'give files with something in them' })

/** Stretches of `size` items; the next is read while one is worked on. */
export async function* stretches<T>(items: AsyncIterable<T>, size: number): AsyncGenerator<readonly T[]> {
  const iterator = items[Symbol.asyncIterator]()
  const read = async (): Promise<T[]> => {
    const found: T[] = []
    while (found.length < size) {
      const next = await iterator.next()
      if (next.done === true) break
      found.push(next.value)
    }
    return found
  }
  let next = read()
  try {
    for (;;) {
      const found = await next
      if (found.length === 0) return
      next = read()
      // Told when it is asked for.
      next.catch(() => undefined)
      yield found
    }
  } finally {
    await next.catch(() => undefined)
    await iterator.return?.()
  }
}

/** Leaves out the first. */
export async function* behind<T>(items: AsyncIterable<T>, count: number): AsyncGenerator<T> {
  let i = 0
  for await (const item of items) if (i++ >= count) yield item
}

/** What rank 0 reads, in every process. `read` is called in rank 0 alone, and its items are JSON. */
export async function* known<T>(processes: Processes, what: string, read: () => AsyncGenerator<T>): AsyncGenerator<T> {
  const mine = processes.rank === 0 ? read() : undefined
  try {
    for (;;) {
      const { next } = await fromFirst<{ readonly next: T | null }>(processes, what, async () => {
        const found = await mine?.next()
        return { next: found === undefined || found.done === true ? null : found.value }
      })
      if (next === null) return
      yield next
    }
  } finally {
    await mine?.return(undefined)
  }
}
