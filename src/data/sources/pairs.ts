/** Records of two answers to a prompt, one preferred to the other: the members `prompt`, `chosen` and `rejected` of lines of JSONL, or columns of Parquet, each text or messages. */
import { DataError, UsageError } from '../../core/errors.ts'
import { documentsOf } from './decode.ts'
import { fault } from './faults.ts'
import { filesOf, formatOf } from './names.ts'
import { openParts } from './open.ts'
import type { Document, DocumentFormat, Message } from './types.ts'

export type PairFormat = 'jsonl' | 'parquet'
export interface PairRecord {
  /** The file, the record's number in it, and where the user finds it. */
  readonly part: string
  readonly record: number
  readonly at: string
  /** Undefined where the records have none: then it is what both answers begin with. */
  readonly prompt: string | readonly Message[] | undefined
  readonly chosen: string | readonly Message[]
  readonly rejected: string | readonly Message[]
}

async function* documents(file: string, format: DocumentFormat): AsyncGenerator<Document> {
  for (const part of await openParts([file], { format })) for await (const piece of part.pieces()) yield* documentsOf(piece)
}

/** How a field of a file is read, by its first record: as text, or as messages; undefined where there is none of the name. */
async function fieldOf(file: string, format: PairFormat, name: string): Promise<DocumentFormat | undefined> {
  const [text, messages]: readonly DocumentFormat[] = [{ format, field: name }, { format, messages: name }]
  const opens = async (as: DocumentFormat | undefined): Promise<'opens' | 'no-field' | 'not-text'> => {
    if (as === undefined) return 'not-text'
    try {
      const found = documents(file, as)
      await found.next()
      await found.return(undefined)
      return 'opens'
    } catch (e) {
      const code = e instanceof DataError ? e.code : undefined
      if (code === 'no-field' || code === 'not-text') return code
      throw e
    }
  }
  const asText = await opens(text)
  if (asText === 'no-field') return undefined
  // What is neither is told by whoever reads it as messages.
  return asText === 'opens' ? text : messages
}

/**
 * The records of files, folders, patterns and addresses, in their order.
 * @throws UsageError for files of other formats; DataError with the place of a record that lacks a field, or has something else in it than the first one
 */
export async function* pairRecords(names: readonly string[], given?: PairFormat): AsyncGenerator<PairRecord> {
  for (const file of await filesOf(names, given !== undefined)) {
    const format = given ?? formatOf(file)?.format
    if (format !== 'jsonl' && format !== 'parquet') throw new UsageError({ code: 'data', what: `${file}: pairs are read from JSONL and Parquet`, fix: 'give such files, or say data.format where their names do not tell' })
    const [prompt, chosen, rejected] = [await fieldOf(file, format, 'prompt'), await fieldOf(file, format, 'chosen'), await fieldOf(file, format, 'rejected')]
    const lacks = chosen === undefined ? 'chosen' : 'rejected'
    if (chosen === undefined || rejected === undefined) throw fault({ code: 'no-field', what: `records of pairs have no field "${lacks}"`, at: file, fix: 'each record has chosen and rejected, and mostly prompt: texts, or lists of { "role": "user", "content": "…" }' })
    const streams = [chosen, rejected, ...prompt === undefined ? [] : [prompt]].map(as => documents(file, as))
    try {
      for (;;) {
        const [better, worse, asked] = await Promise.all(streams.map(s => s.next()))
        if (better?.done !== false || worse?.done !== false || asked?.done === true) {
          if (better?.done === false || worse?.done === false || asked?.done === false) throw fault({ code: 'data-changed', what: `${file} has not as many of each field`, fix: 'leave it as it is while it is read, and start again' })
          break
        }
        yield { part: file, record: better.value.record, at: better.value.at, prompt: asked?.value?.content, chosen: better.value.content, rejected: worse.value.content }
      }
    } finally {
      for (const s of streams) await s.return(undefined)
    }
  }
}
