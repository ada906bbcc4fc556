/** A store of tokens, opened: its documents, where they came from, and what else it says of itself. */
import { closeSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { DataError } from '../../core/errors.ts'
import { isSystemError } from '../../io/atomic.ts'
import { sha256, sha256File } from '../../io/checksum.ts'
import { parseTokenizer } from '../tokenizer-json.ts'
import type { Tokenizer } from '../tokenizer.ts'
import { openToRead, readFully } from './files.ts'
import { files, readChunks, readManifest, type Chunk, type Manifest } from './manifest.ts'
import { bytesOfType, readIndex, type TokenType } from './megatron.ts'
import { chunkOf, requireCrc, TokenReader, type TokenFiles } from './reader.ts'

/** Where a document came from: `record` counts from 0 in its part, `at` is where a person finds it. */
export interface DocumentSource { readonly part: string; readonly record: number; readonly at: string }

export interface Store {
  readonly path: string
  /** Undefined for Megatron's bare files. */
  readonly manifest: Manifest | undefined
  readonly documents: number
  readonly tokens: number
  readonly type: TokenType
  /** Tokens before each document, and of all; shared with threads. */
  readonly starts: Float64Array
  /** What a thread needs to read tokens. */
  readonly files: TokenFiles
  /** The tokens of a document. @throws DataError when they are not as they were written; RangeError where there is no such document. */
  document(index: number): Int32Array
  /** Which of a document's tokens are to be predicted: 1 or 0 each. */
  mask(index: number): Float32Array
  /** Undefined where nobody has written it down. @throws DataError as `document`. */
  source(index: number): DocumentSource | undefined
  /** Undefined for Megatron's bare files. @throws DataError when the file is not as it was written. */
  tokenizer(): Promise<Tokenizer | undefined>
  /** Compares everything with its checksums. @throws DataError with the first difference. */
  verify(onProgress?: (done: number, total: number) => void): Promise<void>
  close(): void
}

/** What a store's tokens are, whatever its path: equal for equal documents, tokenizer and options. */
export const storeIdentity = ({ manifest, documents, tokens }: Pick<Store, 'manifest' | 'documents' | 'tokens'>): { readonly documents: number; readonly tokens: number; readonly parts: readonly string[]; readonly tokenizer: string | null } =>
  ({ documents, tokens, parts: manifest?.parts.map(p => p.fingerprint) ?? [], tokenizer: manifest?.files.tokenizer.sha256 ?? null })

/**
 * Opens the folder that `prepareStore` wrote, or Megatron's files: `path` without `.bin` and `.idx`, or with one of them.
 * Sizes, index and table of chunks are checked now, tokens when they are first read.
 * @throws DataError when it is no store, or not as it was written.
 */
export async function openStore(path: string): Promise<Store> {
  const bare = path.replace(/\.(bin|idx)$/, '')
  const isFile = async (p: string): Promise<boolean> => stat(p).then(s => s.isFile(), () => false)
  if (await isFile(`${bare}.idx`)) return openBare(bare)
  const manifest = await readManifest(path)
  for (const [key, described] of Object.entries(manifest.files) as [keyof Manifest['files'], { readonly bytes: number } | null][]) {
    if (described === null) continue
    const file = join(path, files[key])
    const size = await sizeOf(file)
    if (size !== described.bytes) throw harmed(file, `it has ${size} bytes, not ${described.bytes}`)
  }
  const index = join(path, files.index)
  if (await sha256File(index) !== manifest.files.index.sha256) throw harmed(index, 'its checksum is another')
  const chunks = await readChunks(path, manifest)
  const { type, starts } = readIndex(index, manifest.files.tokens.bytes)
  const documents = starts.length - 1
  if (type !== manifest.dtype || documents !== manifest.documents || starts[documents] !== manifest.tokens) throw harmed(index, 'it and the manifest contradict each other')
  return assemble(path, manifest, type, starts, chunks)
}

const harmed = (file: string, reason: string): DataError => new DataError({ code: 'store-harmed', what: `${file} is not as it was written`, details: { reason }, fix: 'prepare the store again, or copy it again from where it is whole' })

async function sizeOf(file: string): Promise<number> {
  return (await stat(file).catch((cause: unknown) => {
    if (!isSystemError(cause)) throw cause
    throw harmed(file, cause.code === 'ENOENT' ? 'it is missing' : cause.message)
  })).size
}

async function openBare(bare: string): Promise<Store> {
  const { type, starts } = readIndex(`${bare}.idx`, await sizeOf(`${bare}.bin`))
  return assemble(bare, undefined, type, starts, [])
}

async function tokenizerText(path: string, manifest: Manifest): Promise<string> {
  const file = join(path, files.tokenizer)
  const text = await readFile(file).catch((cause: unknown) => { throw harmed(file, cause instanceof Error ? cause.message : String(cause)) })
  if (sha256(text) !== manifest.files.tokenizer.sha256) throw harmed(file, 'its checksum is another')
  return text.toString('utf8')
}

/** Sums of what comes before each, and of all; shared. */
function prefix(values: readonly number[]): Float64Array {
  const sums = new Float64Array(new SharedArrayBuffer(8 * (values.length + 1)))
  values.forEach((v, i) => { sums[i + 1] = (sums[i] as number) + v })
  return sums
}
const words = (values: readonly number[]): Uint32Array => {
  const out = new Uint32Array(new SharedArrayBuffer(4 * values.length))
  out.set(values)
  return out
}

function assemble(path: string, manifest: Manifest | undefined, type: TokenType, starts: Float64Array, chunks: readonly Chunk[]): Store {
  const documents = starts.length - 1
  const tokens = starts[documents] as number
  const maskStarts = prefix(chunks.map(c => c.mask))
  const maskOf = (): Float64Array => {
    const at = new Float64Array(new SharedArrayBuffer(8 * chunks.length))
    chunks.forEach((c, i) => { at[i] = c.mask === 0 ? -1 : maskStarts[i] as number })
    return at
  }
  const tokenFiles: TokenFiles = {
    tokens: manifest === undefined ? `${path}.bin` : join(path, files.tokens), type, count: tokens,
    mask: manifest === undefined || manifest.files.mask === null ? null : { path: join(path, files.mask), starts: maskOf() },
    chunks: {
      starts: prefix(chunks.map(c => c.tokens)), crc: words(chunks.map(c => c.crc.tokens)), maskCrc: words(chunks.map(c => c.crc.mask)),
      checked: new Uint8Array(new SharedArrayBuffer(chunks.length)),
    },
  }
  const firstDocuments = prefix(chunks.map(c => c.documents))
  const sourceStarts = prefix(chunks.map(c => c.sources))
  let reader: TokenReader | undefined
  const opened = (): TokenReader => reader ??= new TokenReader(tokenFiles)
  const bounds = (i: number): readonly [from: number, n: number] => {
    if (!Number.isInteger(i) || i < 0 || i >= documents) throw new RangeError(`there is no document ${i}: they are 0 to ${documents - 1}`)
    return [starts[i] as number, (starts[i + 1] as number) - (starts[i] as number)]
  }
  /** The lines of one chunk, kept for who asks for its documents one after another. */
  let lines: { readonly chunk: number; readonly of: readonly string[] } | undefined
  const linesOf = (chunk: number): readonly string[] => {
    if (lines?.chunk === chunk) return lines.of
    const at = join(path, files.sources)
    const file = openToRead(at)
    try {
      const text = readFully(file, new Uint8Array((chunks[chunk] as Chunk).sources), sourceStarts[chunk] as number, at)
      if (crc32(text) !== chunks[chunk]?.crc.sources) throw harmed(at, `the documents from ${firstDocuments[chunk]} on`)
      lines = { chunk, of: new TextDecoder().decode(text).split('\n') }
      return lines.of
    } finally {
      closeSync(file)
    }
  }
  return {
    path, manifest, documents, tokens, type, starts, files: tokenFiles,
    document(i) {
      const [from, n] = bounds(i)
      const ids = new Int32Array(n)
      opened().read(from, n, ids, 0)
      return ids
    },
    mask(i) {
      const [from, n] = bounds(i)
      const mask = new Float32Array(n)
      opened().readMask(from, n, mask, 0)
      return mask
    },
    source(i) {
      bounds(i)
      if (manifest === undefined) return undefined
      const chunk = chunkOf(firstDocuments, i)
      const [record, at] = JSON.parse(linesOf(chunk)[i - (firstDocuments[chunk] as number)] as string) as [number, string]
      return { part: manifest.parts[chunks[chunk]?.part ?? 0]?.name ?? '', record, at }
    },
    async tokenizer() {
      return manifest === undefined ? undefined : parseTokenizer(await tokenizerText(path, manifest), join(path, files.tokenizer))
    },
    async verify(onProgress = () => undefined) {
      if (manifest !== undefined) await tokenizerText(path, manifest)
      const at = join(path, files.sources)
      const sources = manifest === undefined ? undefined : openToRead(at)
      try {
        for (const [i, chunk] of chunks.entries()) {
          opened().checkChunk(i)
          if (sources !== undefined) requireCrc(sources, at, sourceStarts[i] as number, chunk.sources, chunk.crc.sources)
          onProgress((tokenFiles.chunks.starts[i + 1] as number) * bytesOfType[type], tokens * bytesOfType[type])
          await new Promise(setImmediate)
        }
      } finally {
        if (sources !== undefined) closeSync(sources)
      }
    },
    close() {
      reader?.close()
      reader = undefined
    },
  }
}
