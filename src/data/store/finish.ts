/** From the segments of a folder to a store: chunks in the order of parts and pieces, Megatron's index, the manifest last. */
import { createHash } from 'node:crypto'
import { link, open, rm, stat, copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { closeSync } from 'node:fs'
import { DataError } from '../../core/errors.ts'
import { isSystemError, writeFileAtomic } from '../../io/atomic.ts'
import { sha256 } from '../../io/checksum.ts'
import { Appender, openToRead, readFully, syncFolder } from './files.ts'
import { bytesOfType, headerBytes, indexBytes, indexHeader } from './megatron.ts'
import { files, formatChunks, formatManifest, type Chunk, type Manifest, type Settings } from './manifest.ts'
import type { Placed, Stream } from './segment.ts'

export interface Finishing {
  readonly work: string
  /** In the order of the store. */
  readonly chunks: readonly Placed[]
  readonly parts: readonly { readonly name: string; readonly fingerprint: string }[]
  readonly settings: Settings
  readonly tokenizer: string
  readonly dtype: 'uint16' | 'int32'
  readonly vocab: number
}

/** Writes everything but the segments' own files anew, so that it may be killed and begun again. @throws DataError, the system's error. */
export async function finishStore({ work, chunks, parts, settings, tokenizer, dtype, vocab }: Finishing): Promise<Manifest> {
  const place = new Map(parts.map((p, i) => [p.name, i]))
  const table = chunks.map(({ entry: { part, piece, documents, empty, text, bytes, crc } }): Chunk => ({
    part: place.get(part) ?? 0, piece, documents, empty, text, tokens: bytes.tokens / bytesOfType[dtype], sources: bytes.sources, mask: bytes.mask,
    crc: { tokens: crc.tokens, sources: crc.sources, mask: crc.mask },
  }))
  const sum = (of: (c: Chunk) => number, over: readonly Chunk[] = table): number => over.reduce((n, c) => n + of(c), 0)
  const [tokens, documents, masks] = [sum(c => c.tokens), sum(c => c.documents), sum(c => c.mask)]
  if (documents === 0) throw new DataError({ code: 'no-documents', what: `${parts.length === 1 ? parts[0]?.name ?? '' : 'the files'} hold${parts.length === 1 ? 's' : ''} no document with text in it`, details: { files: parts.map(p => p.name).slice(0, 5).join(', '), empty: `${sum(c => c.empty)}` }, fix: 'give files with text, or name the field that holds it' })
  await gather(work, chunks, 'tokens', files.tokens)
  await gather(work, chunks, 'sources', files.sources)
  await rm(join(work, files.mask), { force: true })
  if (masks > 0) await gather(work, chunks, 'mask', files.mask)
  const index = await writeIndex(join(work, files.index), chunks, dtype, documents)
  const chunkLines = formatChunks(table)
  await writeFileAtomic(join(work, files.chunks), chunkLines)
  await writeFileAtomic(join(work, files.tokenizer), tokenizer)
  const described = (text: string) => ({ bytes: Buffer.byteLength(text), sha256: sha256(text) })
  const manifest: Manifest = {
    documents, tokens, empty: sum(c => c.empty), text: sum(c => c.text), dtype, vocab, settings,
    parts: parts.map(({ name, fingerprint }, i) => {
      const own = table.filter(c => c.part === i)
      return { name, fingerprint, documents: sum(c => c.documents, own), tokens: sum(c => c.tokens, own) }
    }),
    files: {
      tokens: { bytes: tokens * bytesOfType[dtype] }, sources: { bytes: sum(c => c.sources) }, mask: masks === 0 ? null : { bytes: masks },
      index, chunks: described(chunkLines), tokenizer: described(tokenizer),
    },
  }
  await syncFolder(work)
  await writeFileAtomic(join(work, files.manifest), formatManifest(manifest))
  await syncFolder(work)
  return manifest
}

/** One stream of all chunks as one file. Where one segment holds them in their order, and nothing else, its file is that. */
async function gather(work: string, chunks: readonly Placed[], stream: Stream, name: string): Promise<void> {
  const target = join(work, name)
  await rm(target, { force: true })
  if (await isWhole(chunks, stream)) {
    const source = join((chunks[0] as Placed).segment, stream)
    await link(source, target).catch(async (cause: unknown) => {
      if (!isSystemError(cause)) throw cause
      // Some file systems have no links.
      await copyFile(source, target)
    })
    const file = await open(target, 'r')
    try { await file.sync() } finally { await file.close() }
    return
  }
  const file = await open(target, 'w')
  try {
    const out = new Appender(file)
    for await (const data of bytesOf(chunks, stream)) await out.append(data)
    await out.flush()
    await file.sync()
  } finally {
    await file.close()
  }
}

async function isWhole(chunks: readonly Placed[], stream: Stream): Promise<boolean> {
  const [first] = chunks
  if (first === undefined) return false
  let end = 0
  for (const { segment, at, entry } of chunks) {
    if (segment !== first.segment || at[stream] !== end) return false
    end += entry.bytes[stream]
  }
  return (await stat(join(first.segment, stream))).size === end
}

/** The bytes of the chunks one after another. @throws DataError where they are not those that were written. */
async function* bytesOf(chunks: readonly Placed[], stream: Stream): AsyncGenerator<Uint8Array> {
  const opened = new Map<string, number>()
  try {
    for (const { segment, at, entry } of chunks) {
      const path = join(segment, stream)
      const file = opened.get(path) ?? openToRead(path)
      opened.set(path, file)
      const data = readFully(file, new Uint8Array(entry.bytes[stream]), at[stream], path)
      if (crc32(data) !== entry.crc[stream]) {
        throw new DataError({ code: 'prepare-harmed', what: `${path} is not as it was written`, details: { part: entry.part, piece: `${entry.piece}` }, fix: 'begin again with --restart; if it happens twice, test the disk' })
      }
      yield data
      // A signal gets its turn.
      await new Promise(setImmediate)
    }
  } finally {
    for (const file of opened.values()) closeSync(file)
  }
}

async function writeIndex(path: string, chunks: readonly Placed[], dtype: 'uint16' | 'int32', documents: number): Promise<Manifest['files']['index']> {
  const file = await open(path, 'w+')
  const hash = createHash('sha256')
  try {
    const out = new Appender(file)
    const put = async (data: Uint8Array): Promise<void> => {
      hash.update(data)
      await out.append(data)
    }
    await put(indexHeader(dtype, documents))
    for await (const lengths of bytesOf(chunks, 'lengths')) await put(lengths)
    await out.flush()
    // The byte offsets are read from the lengths just written: memory stays flat however many documents there are.
    let offset = 0n
    await inBlocks(documents, async (first, n) => {
      const lengths = new DataView(readFully(file.fd, new Uint8Array(4 * n), headerBytes + 4 * first, path).buffer)
      const offsets = new BigInt64Array(n)
      for (let i = 0; i < n; i++) {
        offsets[i] = offset
        offset += BigInt(lengths.getInt32(4 * i, true) * bytesOfType[dtype])
      }
      await put(new Uint8Array(offsets.buffer))
    })
    await inBlocks(documents + 1, (first, n) => put(new Uint8Array(BigInt64Array.from({ length: n }, (_, i) => BigInt(first + i)).buffer)))
    await out.flush()
    await file.sync()
  } finally {
    await file.close()
  }
  return { bytes: indexBytes(documents), sha256: hash.digest('hex') }
}

async function inBlocks(count: number, work: (first: number, n: number) => Promise<void>): Promise<void> {
  for (let first = 0; first < count; first += 1 << 16) await work(first, Math.min(1 << 16, count - first))
}
