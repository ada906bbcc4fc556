/** gzip and zstd, opened up as a stream: members and frames one after another; what is cut off or spoilt is told. */
import { Decompress } from 'fzstd'
import { Readable } from 'node:stream'
import { createGunzip, type Gunzip } from 'node:zlib'
import { DataError } from '../../core/errors.ts'
import { fault, reasonOf } from './faults.ts'
import { bufferOf } from './utf8.ts'
import { ZstdFrames } from './zstd-frames.ts'

export type Compression = 'gzip' | 'zstd'

/** By the first bytes. */
export function compressionOf(head: Uint8Array): Compression | undefined {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip'
  const magic = bufferOf(head)
  // A zstd file may begin with a frame to be skipped.
  return head.length >= 4 && (magic.readUInt32LE(0) === 0xfd2fb528 || (magic.readUInt32LE(0) & 0xfffffff0) >>> 0 === 0x184d2a50) ? 'zstd' : undefined
}

/**
 * The bytes behind compressed ones. A chunk holds until the next one is asked for.
 * @throws DataError when they are cut off or spoilt.
 */
export const decompressed = (name: string, chunks: AsyncIterable<Buffer>, by: Compression): AsyncIterable<Buffer> => by === 'gzip' ? gunzipped(name, chunks) : unzstd(name, chunks)

const spoilt = (name: string, by: Compression, read: number, cause: unknown): DataError => fault({
  code: 'spoilt-archive', what: `${name} cannot be decompressed`, details: { at: `at byte ${read} or before`, reason: reasonOf(cause) },
  fix: `it is damaged: test it with ${by === 'gzip' ? 'gzip' : 'zstd'} -t, and fetch it again`, cause,
})
const cutOff = (name: string, read: number, cause?: unknown): DataError => fault({
  code: 'data-ends', what: `${name} is cut off`, details: { there: `${read} bytes` }, fix: 'fetch it again, whole', ...(cause === undefined ? {} : { cause }),
})

async function* gunzipped(name: string, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let read = 0
  async function* counted(): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      read += chunk.length
      // The chunk is another one's as soon as the next is asked for, which the stream does before it is done with this one.
      yield Buffer.from(chunk)
    }
  }
  const source = Readable.from(counted(), { highWaterMark: 2 })
  const gunzip: Gunzip = createGunzip({ chunkSize: 2 ** 18 })
  source.on('error', cause => { gunzip.destroy(cause) })
  source.pipe(gunzip)
  try {
    for await (const chunk of gunzip as AsyncIterable<Buffer>) yield chunk
    if (read === 0) throw cutOff(name, 0)
  } catch (cause) {
    if (cause instanceof DataError) throw cause
    throw cause instanceof Error && 'code' in cause && cause.code === 'Z_BUF_ERROR' ? cutOff(name, read, cause) : spoilt(name, 'gzip', read, cause)
  } finally {
    source.destroy()
    gunzip.destroy()
  }
}

async function* unzstd(name: string, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const frames = new ZstdFrames()
  let ready: Uint8Array[] = []
  let read = 0
  const unpack = new Decompress(block => { if (block.length > 0) ready.push(block) })
  try {
    for await (const chunk of chunks) {
      read += chunk.length
      // In small steps: a block of few bytes may stand for 128 KiB.
      for (let from = 0; from < chunk.length; from += 2 ** 12) {
        const part = chunk.subarray(from, from + 2 ** 12)
        frames.push(part)
        // It keeps what it is given until a block is whole.
        unpack.push(Uint8Array.from(part))
        for (const block of ready) yield bufferOf(block)
        ready = []
      }
    }
    if (!frames.whole || read === 0) throw cutOff(name, read)
    unpack.push(new Uint8Array(0), true)
    for (const block of ready) yield bufferOf(block)
  } catch (cause) {
    throw cause instanceof DataError ? cause : spoilt(name, 'zstd', read, cause)
  }
}
