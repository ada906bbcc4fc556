/**
 * What one process has tokenised so far: files that only grow, and a ledger of the chunks in them. A line of the ledger is written after the bytes it
 * speaks of, so that a kill costs the chunks under way; what lies behind the ledger's last line is cut off by whoever goes on.
 */
import { closeSync, existsSync, fstatSync, readFileSync } from 'node:fs'
import { mkdir, open, readdir, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { z } from 'zod'
import { syncFolder, writeFully, openToRead, readFully } from './files.ts'
import type { Encoded } from './encode.ts'

export type Stream = 'tokens' | 'lengths' | 'sources' | 'mask'
const streams: readonly Stream[] = ['tokens', 'lengths', 'sources', 'mask']
type PerStream = { readonly [S in Stream]: number }

/** A chunk by the name and content of the part it is of. */
export interface Entry {
  readonly part: string
  readonly fingerprint: string
  readonly piece: number
  /** Bytes of the part. */
  readonly size: number
  readonly documents: number
  readonly empty: number
  readonly text: number
  readonly bytes: PerStream
  readonly crc: PerStream
}

const count = z.int().nonnegative()
const perStream = z.strictObject({ tokens: count, lengths: count, sources: count, mask: count })
const line = z.strictObject({ part: z.string(), fingerprint: z.string(), piece: count, size: count, documents: count, empty: count, text: count, bytes: perStream, crc: perStream })
/** Everything above it is on the disk. */
const mark = z.strictObject({ synced: z.literal(true) })

/** A chunk and where its bytes lie in the files of its segment. */
export interface Placed { readonly entry: Entry; readonly segment: string; readonly at: PerStream }

interface Ledger { readonly chunks: readonly Placed[]; readonly ends: PerStream; readonly bytes: number; readonly unsynced: number }

function readLedger(folder: string): Ledger {
  const path = join(folder, 'ledger')
  const text = existsSync(path) ? readFileSync(path) : Buffer.alloc(0)
  const chunks: Placed[] = []
  let at = { tokens: 0, lengths: 0, sources: 0, mask: 0 }
  let [bytes, unsynced] = [0, 0]
  for (let end = text.indexOf(10); end >= 0; end = text.indexOf(10, end + 1)) {
    let json: unknown
    try { json = JSON.parse(text.toString('utf8', bytes, end)) } catch { break }
    if (mark.safeParse(json).success) unsynced = chunks.length
    else {
      const { data: entry } = line.safeParse(json)
      if (entry === undefined) break
      chunks.push({ entry, segment: folder, at })
      at = { tokens: at.tokens + entry.bytes.tokens, lengths: at.lengths + entry.bytes.lengths, sources: at.sources + entry.bytes.sources, mask: at.mask + entry.bytes.mask }
    }
    bytes = end + 1
  }
  return { chunks, ends: at, bytes, unsynced }
}

async function segmentsIn(work: string): Promise<readonly { readonly rank: number; readonly folder: string }[]> {
  const names = (await readdir(work)).filter(n => /^segment-\d+$/.test(n))
  return names.map(name => ({ rank: Number(name.slice(8)), folder: join(work, name) })).sort((a, b) => a.rank - b.rank)
}

/** The chunks of all segments in a folder, by whatever process they were made. */
export const placedChunks = async (work: string): Promise<Placed[]> => (await segmentsIn(work)).flatMap(({ folder }) => readLedger(folder).chunks)

/** Cuts off what is not whole in the segments of ranks that there were before and are no more. */
export async function mendSegments(work: string, ranks: number): Promise<void> {
  for (const { rank, folder } of await segmentsIn(work)) if (rank >= ranks) await (await Segment.open(folder)).close()
}

/** Bytes between two times of making sure that they are on the disk. */
const syncEvery = 1 << 26

export class Segment {
  readonly #folder: string
  readonly #files: { readonly [S in Stream]: FileHandle }
  readonly #ledger: FileHandle
  readonly #at: { [S in Stream]: number }
  #ledgerAt: number
  #sinceSync = 0

  private constructor(folder: string, files: { readonly [S in Stream]: FileHandle }, ledger: FileHandle, at: { [S in Stream]: number }, ledgerAt: number) {
    this.#folder = folder
    this.#files = files
    this.#ledger = ledger
    this.#at = at
    this.#ledgerAt = ledgerAt
  }

  /** Opens a segment to go on with, at the end of what is whole in it. @throws the system's error. */
  static async open(folder: string): Promise<Segment> {
    await mkdir(folder, { recursive: true })
    const files = Object.fromEntries(await Promise.all(streams.map(async s => [s, await open(join(folder, s), existsSync(join(folder, s)) ? 'r+' : 'w+')] as const))) as unknown as { readonly [S in Stream]: FileHandle }
    const ledger = await open(join(folder, 'ledger'), existsSync(join(folder, 'ledger')) ? 'r+' : 'w+')
    const { chunks, bytes, ends, unsynced } = readLedger(folder)
    // A power cut may keep the ledger and lose what it speaks of: what was not made sure of is looked at again.
    const bad = chunks.findIndex((c, i) => i >= unsynced && !whole(c))
    const kept = bad < 0 ? ends : (chunks[bad] as Placed).at
    const ledgerAt = bad < 0 ? bytes : lineStart(readFileSync(join(folder, 'ledger')), bad)
    for (const s of streams) await files[s].truncate(kept[s])
    await ledger.truncate(ledgerAt)
    return new Segment(folder, files, ledger, { ...kept }, ledgerAt)
  }

  async append(chunk: Encoded, of: Pick<Entry, 'part' | 'fingerprint' | 'piece' | 'size'>): Promise<void> {
    for (const s of streams) {
      await writeFully(this.#files[s], chunk[s], this.#at[s])
      this.#at[s] += chunk[s].length
      this.#sinceSync += chunk[s].length
    }
    const { documents, empty, text, crc } = chunk
    const bytes = { tokens: chunk.tokens.length, lengths: chunk.lengths.length, sources: chunk.sources.length, mask: chunk.mask.length }
    await this.#write({ ...of, documents, empty, text, bytes, crc } satisfies Entry)
    if (this.#sinceSync >= syncEvery) await this.sync()
  }

  async #write(entry: object): Promise<void> {
    const data = Buffer.from(`${JSON.stringify(entry)}\n`)
    await writeFully(this.#ledger, data, this.#ledgerAt)
    this.#ledgerAt += data.length
  }

  /** Resolves when everything appended so far is on the disk. */
  async sync(): Promise<void> {
    for (const s of streams) await this.#files[s].datasync()
    await this.#write({ synced: true })
    await this.#ledger.datasync()
    await syncFolder(this.#folder)
    this.#sinceSync = 0
  }

  async close(): Promise<void> {
    await Promise.all([...streams.map(s => this.#files[s].close()), this.#ledger.close()])
  }
}

/** Where the line of a chunk begins, of those that are no marks. */
function lineStart(text: Buffer, chunk: number): number {
  let seen = 0
  for (let at = 0; at < text.length;) {
    const end = text.indexOf(10, at)
    if (!text.toString('utf8', at, end).startsWith('{"synced"') && seen++ === chunk) return at
    at = end + 1
  }
  return text.length
}

/** Whether the bytes of a chunk are those that its line speaks of. */
function whole({ entry, segment, at }: Placed): boolean {
  return streams.every(s => {
    const path = join(segment, s)
    const file = openToRead(path)
    try {
      if (fstatSync(file).size < at[s] + entry.bytes[s]) return false
      return crc32(readFully(file, new Uint8Array(entry.bytes[s]), at[s], path)) === entry.crc[s]
    } finally {
      closeSync(file)
    }
  })
}
