/** Bytes that only come in order, put into a file that has no name any more: they are read by ranges then, and nothing is left of it, however the process ends. */
import { randomUUID } from 'node:crypto'
import { open, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cannotWrite, isSystemError } from '../../../io/atomic.ts'
import { openBytes } from '../byte-source.ts'
import { compressionOf, decompressed } from '../compressed.ts'
import { regular } from '../file.ts'
import type { ByteSource } from '../source.ts'

/** @throws DataError of the chunks; FileError when the folder for temporary files is full. */
export async function spooled(name: string, chunks: AsyncIterable<Buffer>): Promise<ByteSource> {
  const path = join(tmpdir(), `meshwork-${randomUUID()}`)
  const handle = await open(path, 'wx+', 0o600).catch((cause: unknown) => { throw isSystemError(cause) ? cannotWrite(path, cause) : cause })
  try {
    await unlink(path)
    let size = 0
    for await (const chunk of chunks) {
      // A full disk writes short first, and fails at the next.
      for (let done = 0; done < chunk.length;) done += (await handle.write(chunk, done, chunk.length - done, size + done)).bytesWritten
      size += chunk.length
    }
    return regular(name, handle, size, undefined)
  } catch (cause) {
    await handle.close()
    throw isSystemError(cause) ? cannotWrite(path, cause) : cause
  }
}

/** A file or an address by ranges, unpacked where it is compressed. @throws DataError, FileError */
export async function openUnpacked(name: string): Promise<ByteSource> {
  const source = await openBytes(name)
  try {
    const head = source.ranged && source.size !== undefined ? await source.read(0, Math.min(4, source.size)) : undefined
    const compression = head === undefined ? undefined : compressionOf(head)
    if (head !== undefined && compression === undefined) return source
    const spool = await spooled(name, compression === undefined ? await sniffed(name, source) : decompressed(name, source.stream(), compression))
    await source.close()
    return spool
  } catch (cause) {
    await source.close()
    throw cause
  }
}

async function sniffed(name: string, source: ByteSource): Promise<AsyncIterable<Buffer>> {
  const stream = source.stream()[Symbol.asyncIterator]()
  const first = await stream.next()
  async function* all(): AsyncGenerator<Buffer> {
    for (let next = first; next.done !== true; next = await stream.next()) yield next.value
  }
  const compression = first.done === true ? undefined : compressionOf(first.value)
  return compression === undefined ? all() : decompressed(name, all(), compression)
}

/** Opens several, and closes those that are open already when one cannot be. */
export async function openAll<N extends string, T>(names: { readonly [C in N]: string }, one: (source: ByteSource, name: string) => Promise<T>): Promise<{ readonly [C in N]: T }> {
  const opened: ByteSource[] = []
  const found: [string, T][] = []
  try {
    for (const [column, name] of Object.entries<string>(names)) {
      const source = await openUnpacked(name)
      opened.push(source)
      found.push([column, await one(source, name)])
    }
    return Object.fromEntries(found) as { readonly [C in N]: T }
  } catch (cause) {
    for (const source of opened) await source.close()
    throw cause
  }
}
