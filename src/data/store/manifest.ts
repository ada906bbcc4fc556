/** What a store says of itself: one JSON file, with a checksum of its own content. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { DataError } from '../../core/errors.ts'
import { sha256 } from '../../io/checksum.ts'

export const files: { readonly [F in 'tokens' | 'index' | 'sources' | 'mask' | 'chunks' | 'tokenizer' | 'manifest']: string } = { tokens: 'tokens.bin', index: 'tokens.idx', sources: 'sources.jsonl', mask: 'mask.bin', chunks: 'chunks.jsonl', tokenizer: 'tokenizer.json', manifest: 'manifest.json' }
const format = 'meshwork-store'
const version = 1

const count = z.int().nonnegative()
const digest = z.string().regex(/^[0-9a-f]{64}$/)

/** What a document's tokens depend on besides the files. */
export interface Settings {
  /** The tokenizer.json given, or how many tokens were learnt from the documents themselves. */
  readonly tokenizer: { readonly sha256: string } | { readonly learnt: number }
  /** Ids that each document begins and ends with, where any. */
  readonly begin: number | null
  readonly end: number | null
  /** As it was asked for; null where each file's name decides. */
  readonly format: { readonly [key: string]: string } | null
  /** How chats become text, and the roles whose turns are learnt: all text where there are none. */
  readonly chat: string
  readonly loss: readonly string[]
  /** Bytes of a piece, about: where chunks end hangs on it. */
  readonly piece: number
}

export interface Manifest {
  readonly documents: number
  readonly tokens: number
  /** Documents without any text, which are left out. */
  readonly empty: number
  /** Bytes of text, as UTF-8. */
  readonly text: number
  readonly dtype: 'uint16' | 'int32'
  readonly vocab: number
  readonly settings: Settings
  readonly parts: readonly { readonly name: string; readonly fingerprint: string; readonly documents: number; readonly tokens: number }[]
  readonly files: {
    readonly tokens: Sized
    readonly sources: Sized
    readonly mask: Sized | null
    readonly index: Hashed
    readonly chunks: Hashed
    readonly tokenizer: Hashed
  }
}
interface Sized { readonly bytes: number }
interface Hashed extends Sized { readonly sha256: string }

/** One piece of a part, as it lies in the store. */
export interface Chunk {
  /** Place of the part in the manifest, and of the piece in it. */
  readonly part: number
  readonly piece: number
  readonly documents: number
  readonly empty: number
  readonly text: number
  readonly tokens: number
  /** Bytes of its lines in sources.jsonl, and of its mask: 0 where all of its tokens are learnt. */
  readonly sources: number
  readonly mask: number
  readonly crc: { readonly tokens: number; readonly sources: number; readonly mask: number }
}

const settings = z.strictObject({
  tokenizer: z.union([z.strictObject({ sha256: digest }), z.strictObject({ learnt: count })]),
  begin: count.nullable(), end: count.nullable(), format: z.record(z.string(), z.string()).nullable(), chat: z.string(), loss: z.array(z.string()), piece: count,
})
const store = z.strictObject({
  documents: count, tokens: count, empty: count, text: count, dtype: z.enum(['uint16', 'int32']), vocab: count, settings,
  parts: z.array(z.strictObject({ name: z.string(), fingerprint: z.string(), documents: count, tokens: count })),
  files: z.strictObject({
    tokens: z.strictObject({ bytes: count }), sources: z.strictObject({ bytes: count }), mask: z.strictObject({ bytes: count }).nullable(),
    index: z.strictObject({ bytes: count, sha256: digest }), chunks: z.strictObject({ bytes: count, sha256: digest }), tokenizer: z.strictObject({ bytes: count, sha256: digest }),
  }),
})

const file = z.strictObject({ format: z.literal(format), version: z.literal(version), sha256: digest, store })

export const formatManifest = (manifest: Manifest): string =>
  `${JSON.stringify({ format, version, sha256: sha256(JSON.stringify(manifest)), store: manifest }, null, 1)}\n`

/** @throws DataError when the folder is no store, or its manifest has been harmed. */
export async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, files.manifest)
  const wrong = (reason: string, cause?: unknown): DataError => new DataError({
    code: 'store-manifest', what: `${path} is not the manifest of a store as it was written`, details: { reason }, fix: 'prepare the store again, or copy it again from where it is whole', cause,
  })
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new DataError({ code: 'no-store', what: `${folder} holds no store`, details: { missing: path }, fix: 'give a folder that `npx meshwork data prepare FILES --out STORE` wrote, or the name of Megatron\'s files without .bin and .idx', cause })
  })
  let json: unknown
  try { json = JSON.parse(text) } catch (cause) { throw wrong('it is not JSON', cause) }
  const parsed = file.safeParse(json)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw wrong(issue === undefined ? 'unknown' : `${issue.path.join('.') || 'the whole'}: ${issue.message}`)
  }
  if (sha256(JSON.stringify(parsed.data.store)) !== parsed.data.sha256) throw wrong('its checksum is another')
  return parsed.data.store
}

const chunk = z.strictObject({
  part: count, piece: count, documents: count, empty: count, text: count, tokens: count, sources: count, mask: count,
  crc: z.strictObject({ tokens: count, sources: count, mask: count }),
})
export const formatChunks = (chunks: readonly Chunk[]): string => chunks.map(c => `${JSON.stringify(c)}\n`).join('')

/** @throws DataError when they are not those that the manifest speaks of. */
export async function readChunks(folder: string, manifest: Manifest): Promise<readonly Chunk[]> {
  const path = join(folder, files.chunks)
  const wrong = (reason: string): DataError => new DataError({ code: 'store-harmed', what: `${path} is not as it was written`, details: { reason }, fix: 'prepare the store again, or copy it again from where it is whole' })
  const text = await readFile(path).catch((cause: unknown) => { throw wrong(cause instanceof Error ? cause.message : String(cause)) })
  if (sha256(text) !== manifest.files.chunks.sha256) throw wrong('its checksum is another')
  return text.toString('utf8').split('\n').slice(0, -1).map(line => chunk.parse(JSON.parse(line)))
}
