/** Tokenised corpora in the user's cache folder: one file each, whole and unharmed or as good as not there. */
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { writeFileAtomic } from '../io/atomic.ts'
import { cacheRoot, makeCacheFolder } from '../io/cache-root.ts'
import { sha256 } from '../io/checksum.ts'
import type { Packed } from './dataset.ts'
import { formatTokenizer, parseTokenizer } from './tokenizer-json.ts'
import type { Tokenizer } from './tokenizer.ts'

/** Raise it with any change of the words, the merges, the packing or this file: entries of before are then not found. */
const codeVersion = 2

export interface Entry { readonly tokenizer: Tokenizer; readonly packed: Packed }

/** Where the entry of a corpus with a vocabulary of that size lies; `given` instead of the user's cache folder. @throws FileError where there is no such folder. */
export function cachePath(identity: string, vocab: number, given?: string): string {
  const key = sha256(JSON.stringify([codeVersion, identity, vocab])).slice(0, 32)
  return join(cacheRoot(given), 'data', key)
}

// A line of JSON, padded to headBytes; then the body: `json` bytes of JSON, padded to a multiple of 8, then the tokens.
const headBytes = 256
const headSchema = z.object({ json: z.int().positive(), width: z.union([z.literal(2), z.literal(4)]), sha256: z.string() })
const bodySchema = z.object({ tokenizer: z.string(), ends: z.array(z.int().positive()) })

/** The entry, or undefined where there is none that is whole. */
export async function readEntry(path: string): Promise<Entry | undefined> {
  try {
    const bytes = await readFile(path)
    const head = headSchema.parse(JSON.parse(bytes.toString('utf8', 0, headBytes)))
    const body = bytes.subarray(headBytes)
    if (sha256(body) !== head.sha256) return undefined
    const { tokenizer, ends } = bodySchema.parse(JSON.parse(body.toString('utf8', 0, head.json)))
    const raw = new Uint8Array(body.subarray(Math.ceil(head.json / 8) * 8)).buffer
    const tokens = head.width === 2 ? new Uint16Array(raw) : new Uint32Array(raw)
    return { tokenizer: parseTokenizer(tokenizer, path), packed: { tokens, ends } }
  } catch {
    // Missing, cut off, foreign, of other code: made again, whatever it was.
    return undefined
  }
}

/** @throws FileError when it cannot be written. */
export async function writeEntry(path: string, { tokenizer, packed: { tokens, ends } }: Entry): Promise<void> {
  const json = Buffer.from(JSON.stringify({ tokenizer: formatTokenizer(tokenizer.model), ends }))
  const data = Buffer.from(tokens.buffer, tokens.byteOffset, tokens.byteLength)
  const body = Buffer.concat([json, Buffer.alloc(-json.length & 7, ' '), data])
  const head = JSON.stringify({ json: json.length, width: tokens.BYTES_PER_ELEMENT, sha256: sha256(body) }).padEnd(headBytes - 1)
  await makeCacheFolder(dirname(path))
  await writeFileAtomic(path, Buffer.concat([Buffer.from(`${head}\n`), body]))
}
