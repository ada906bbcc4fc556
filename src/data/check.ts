/** What is wrong with files of documents, as far as their beginnings show it: told at once, before anything long is done with them. */
import { DataError } from '../core/errors.ts'
import { documentsOf, openParts, type DocumentFormat, type DocumentPart } from './documents.ts'
import { isAddress } from './sources/http.ts'

/** Files that are looked into, and how far: what comes later is told when it is read. */
const [mostFiles, firstBytes, mostBytes] = [32, 2 ** 18, 2 ** 24]

/** A pipe gives its bytes once: it is not looked into. */
const isDevice = (name: string): boolean => /^\/(dev|proc)\//.test(name)

/** @throws DataError for what is not there, cannot be read, or has no text in it */
export async function checkFiles(names: readonly string[], format?: DocumentFormat): Promise<void> {
  const regular = names.filter(name => !isDevice(name))
  if (regular.length === 0) return
  const parts = await openParts(regular, format === undefined ? {} : { format })
  let text = parts.length > mostFiles || regular.length < names.length
  for (const part of parts.slice(0, mostFiles)) if (isAddress(part.name) || await hasText(part)) text = true
  if (!text) throw withoutText(parts)
}

async function hasText(part: DocumentPart): Promise<boolean> {
  for await (const piece of part.pieces({ bytes: firstBytes })) {
    if (piece.to - piece.from > mostBytes) return true
    let found = false
    for await (const { content } of documentsOf(piece)) found ||= content.length > 0
    return found
  }
  return false
}

/** Of files without a document. */
export function withoutText(parts: readonly Pick<DocumentPart, 'name' | 'bytes'>[]): DataError {
  const [first] = parts
  const nothing = parts.every(p => p.bytes === 0)
  const what = parts.length === 1 && first !== undefined ? `${first.name} ${nothing ? 'is empty' : 'holds no text but white space'}` : nothing ? `the ${parts.length} files are empty` : `none of the ${parts.length} files holds text but white space`
  return new DataError({ code: 'empty-text', what, fix: 'give files with text in them; of JSONL, CSV and Parquet it is the field "text" that is read' })
}
