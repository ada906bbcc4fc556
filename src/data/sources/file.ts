/** Bytes of a file by range, of a pipe in order. */
import { createHash, randomUUID } from 'node:crypto'
import { readSync } from 'node:fs'
import { open, readdir, type FileHandle } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import type { DataError } from '../../core/errors.ts'
import { nearest } from '../../core/nearest.ts'
import { isSystemError } from '../../io/atomic.ts'
import { changed, fault, reasonOf } from './faults.ts'
import type { ByteSource } from './source.ts'

const chunkBytes = 2 ** 20
/** Files up to this size are hashed whole. */
const hashedWhole = 64 * 2 ** 20
const [samples, sampleBytes] = [64, 2 ** 16]

export async function openFile(name: string, version?: string): Promise<ByteSource> {
  const handle = await open(name, 'r').catch(async (cause: unknown) => {
    // Standard input may be a socket, which has no path that could be opened.
    if (isSystemError(cause) && cause.code === 'ENXIO' && stdinPaths.includes(name)) return undefined
    throw await unreadable(name, cause)
  })
  if (handle === undefined) return pipe(name, process.stdin as AsyncIterable<Buffer>, async () => undefined)
  try {
    const stats = await handle.stat({ bigint: true })
    if (stats.isDirectory()) throw fault({ code: 'is-folder', what: `${name} is a folder`, fix: 'name the files in it' })
    const is = stats.isFile() ? `${stats.size} bytes, ${stats.mtimeNs}` : undefined
    if (version !== undefined && is !== version) throw changed(name, version, is ?? 'no file')
    return stats.isFile() ? regular(name, handle, Number(stats.size), is) : pipe(name, readAlong(name, handle), () => handle.close())
  } catch (cause) {
    await handle.close()
    throw cause
  }
}

/** A file that is open. */
export function regular(name: string, handle: FileHandle, size: number, version: string | undefined): ByteSource {
  const read = async (from: number, to: number): Promise<Buffer> => {
    const buffer = Buffer.allocUnsafeSlow(to - from)
    await fill(name, handle, buffer, from)
    return buffer
  }
  return {
    name, size, version, ranged: true, near: true, read,
    readInto(target, from) {
      for (let done = 0; done < target.length;) {
        const got = fillNow(name, handle, target, from, done)
        if (got === 0) throw ends(name, from, target.length, done)
        done += got
      }
      return undefined
    },
    stream: () => chunksOf(name, handle, size),
    async fingerprint() {
      const hash = createHash('sha256').update(`${size}:`)
      if (size <= hashedWhole) for await (const chunk of chunksOf(name, handle, size)) hash.update(chunk)
      else for (let i = 0; i < samples; i++) {
        const from = Math.floor((size - sampleBytes) / (samples - 1) * i)
        hash.update(await read(from, from + sampleBytes))
      }
      return `sha256:${hash.digest('hex')}`
    },
    close: () => handle.close(),
  }
}

/** Reads all of the buffer: one call may read less than it is asked for. */
async function fill(name: string, handle: FileHandle, buffer: Buffer, from: number): Promise<void> {
  for (let done = 0; done < buffer.length;) {
    const { bytesRead } = await handle.read(buffer, done, Math.min(buffer.length - done, 2 ** 30), from + done).catch((cause: unknown) => { throw cannotRead(name, from + done, cause) })
    if (bytesRead === 0) throw ends(name, from, buffer.length, done)
    done += bytesRead
  }
}

/** A read that waits costs a sixth of one that is told of later, and rows are many and small. */
function fillNow(name: string, handle: FileHandle, target: Uint8Array, from: number, done: number): number {
  try {
    return readSync(handle.fd, target, done, Math.min(target.length - done, 2 ** 30), from + done)
  } catch (cause) {
    throw cannotRead(name, from + done, cause)
  }
}

const ends = (name: string, from: number, asked: number, done: number): DataError => fault({
  code: 'data-ends', what: `${name} ends too early`, details: { asked: `bytes ${from} to ${from + asked}`, there: `${from + done} bytes` },
  fix: 'it is cut off, or has been cut since: fetch it again, whole',
})

/** The next chunk is read while one is looked at. */
async function* chunksOf(name: string, handle: FileHandle, size: number): AsyncGenerator<Buffer> {
  const buffers = [Buffer.allocUnsafeSlow(Math.min(size, chunkBytes)), Buffer.allocUnsafeSlow(Math.min(size, chunkBytes))]
  const start = (turn: number): Promise<Buffer> | undefined => {
    const from = turn * chunkBytes
    if (from >= size) return undefined
    const buffer = (buffers[turn % 2] as Buffer).subarray(0, Math.min(chunkBytes, size - from))
    const filled = fill(name, handle, buffer, from).then(() => buffer)
    // Whoever stops early does not ask for it any more.
    filled.catch(() => undefined)
    return filled
  }
  let next = start(0)
  try {
    for (let turn = 1; next !== undefined; turn++) {
      const chunk = await next
      next = start(turn)
      yield chunk
    }
  } finally {
    await next?.catch(() => undefined)
  }
}

const stdinPaths: readonly string[] = ['/dev/stdin', '/dev/fd/0', '/proc/self/fd/0']

async function* readAlong(name: string, handle: FileHandle): AsyncGenerator<Buffer> {
  for (;;) {
    const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes).catch((cause: unknown) => { throw cannotRead(name, undefined, cause) })
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
  }
}

function pipe(name: string, chunks: AsyncIterable<Buffer>, close: () => Promise<void>): ByteSource {
  let begun = false
  const once = (): never => {
    throw fault({ code: 'read-once', what: `${name} is a pipe, which gives its bytes once and in order`, fix: 'write it into a file, and give that' })
  }
  const id = `pipe:${randomUUID()}`
  return {
    name, size: undefined, version: undefined, ranged: false, near: false,
    read: async () => once(),
    readInto: () => once(),
    stream() {
      if (begun) once()
      begun = true
      return chunks
    },
    fingerprint: async () => id,
    close,
  }
}

const cannotRead = (name: string, at: number | undefined, cause: unknown): DataError => fault({
  code: 'unreadable', what: `cannot read ${name}`, details: { ...(at === undefined ? {} : { at: `byte ${at}` }), reason: reasonOf(cause) },
  fix: 'make it readable, or give another file', cause,
})

async function unreadable(name: string, cause: unknown): Promise<DataError> {
  if (!isSystemError(cause) || (cause.code !== 'ENOENT' && cause.code !== 'ENOTDIR')) return cannotRead(name, undefined, cause)
  // Names in the system's own folders are no texts.
  const names = /^\/(dev|proc|sys)\//.test(name) ? [] : await readdir(dirname(name)).catch(() => [])
  const near = nearest(basename(name), names)
  return fault({
    code: 'no-such-file', what: `there is no file ${name}`, cause,
    fix: name === '-' ? 'for what comes through a pipe: /dev/stdin, as in --data /dev/stdin' : near === undefined ? 'give the path of a file, a folder, a pattern or an address' : `did you mean "${near}" in the same folder?`,
  })
}
