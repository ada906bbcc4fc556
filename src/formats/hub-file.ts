/** One file of a Hub repository: downloaded by parts that go on where they were cut off, and used only once its checksum is right. */
import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, rename, rm, stat } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { FileError } from '../core/errors.ts'

/** What a file's bytes must show: the SHA-256 of what lies in large file storage, the SHA-1 that git names every other file by. */
export type Sum = { readonly sha256: string } | { readonly gitSha1: string }

export interface Download {
  readonly url: string
  /** Where it goes; until it is whole and right it is beside it, as `.incomplete`. */
  readonly to: string
  readonly bytes: number
  readonly sum: Sum
  readonly headers: Readonly<Record<string, string>>
  readonly fetch: typeof fetch
  readonly signal?: AbortSignal | undefined
  readonly onBytes?: ((done: number) => void) | undefined
  /** Milliseconds without a byte after which a connection counts as broken. */
  readonly idle?: number | undefined
  /** Waits before another try. */
  readonly pause?: ((ms: number, signal: AbortSignal | undefined) => Promise<void>) | undefined
}

const [mostTries, firstPause, defaultIdle] = [6, 500, 60_000]
const paused = (ms: number, signal: AbortSignal | undefined): Promise<void> => wait(ms, undefined, signal === undefined ? {} : { signal })

const hashFor = (sum: Sum, bytes: number): Hash => ('sha256' in sum ? createHash('sha256') : createHash('sha1').update(`blob ${bytes}\0`))
const wantedOf = (sum: Sum): string => ('sha256' in sum ? sum.sha256 : sum.gitSha1)

/** Whether a file is there and its bytes are right. */
export async function isRight(path: string, bytes: number, sum: Sum, signal?: AbortSignal): Promise<boolean> {
  const info = await stat(path).catch(() => undefined)
  if (info?.isFile() !== true || info.size !== bytes) return false
  const hash = hashFor(sum, bytes)
  await pipeline(createReadStream(path), hash, signal === undefined ? {} : { signal })
  return hash.digest('hex') === wantedOf(sum)
}

/** What another try may mend. */
class Broken extends Error {}

/** @throws FileError where it cannot be had, or is not what it should be; what came is kept for another try, unless it is wrong */
export async function download(file: Download): Promise<void> {
  const { to, bytes, sum, signal, pause = paused } = file
  const part = `${to}.incomplete`
  for (let tries = 1; ; tries++) {
    try {
      await append(part, file)
      break
    } catch (cause) {
      signal?.throwIfAborted()
      if (!(cause instanceof Broken)) throw cause
      if (tries === mostTries) throw new FileError({ code: 'network', what: `${file.url} cannot be downloaded`, details: { tries: String(tries), reason: cause.message }, fix: 'check the network, and run it again: it goes on where it was cut off', cause })
      await pause(firstPause * 2 ** (tries - 1), signal)
    }
  }
  if (!await isRight(part, bytes, sum, signal)) {
    await rm(part, { force: true })
    throw new FileError({ code: 'checksum', what: `${file.url} is not the file that it should be; it was deleted`, details: { expected: `${bytes} bytes, ${wantedOf(sum)}` }, fix: 'run it again; if it stays so, the network between changes it' })
  }
  await rename(part, to)
}

async function append(part: string, { url, bytes, headers, fetch: get, signal, onBytes, idle = defaultIdle }: Download): Promise<void> {
  const file = await open(part, 'a')
  try {
    let { size } = await file.stat()
    // Of another size it cannot be the beginning of this file.
    if (size > bytes) { await file.truncate(0); size = 0 }
    onBytes?.(size)
    if (size === bytes) return
    const silence = new AbortController()
    let timer = setTimeout(() => silence.abort(), idle)
    const alive = (): void => { clearTimeout(timer); timer = setTimeout(() => silence.abort(), idle) }
    try {
      const response = await get(url, { headers: { ...headers, ...size > 0 ? { Range: `bytes=${size}-` } : {}, 'Accept-Encoding': 'identity' }, signal: signal === undefined ? silence.signal : AbortSignal.any([signal, silence.signal]) })
      if (response.status >= 500 || response.status === 429) throw new Broken(`the server answers ${response.status}`)
      if (!response.ok || response.body === null) throw new FileError({ code: 'network', what: `${url} cannot be downloaded`, details: { reason: `the server answers ${response.status}` }, fix: response.status === 401 || response.status === 403 ? 'set HF_TOKEN to a token that may read it' : 'check the name and the revision' })
      // A server that knows no ranges sends the whole.
      if (size > 0 && response.status !== 206) { await file.truncate(0); size = 0 }
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        alive()
        if (size + chunk.length > bytes) { await file.truncate(0); throw new FileError({ code: 'checksum', what: `${url} sends more than the ${bytes} bytes that it should have`, fix: 'run it again; if it stays so, the network between changes it' }) }
        await file.writeFile(chunk)
        size += chunk.length
        onBytes?.(size)
      }
    } catch (cause) {
      if (cause instanceof FileError || cause instanceof Broken || isDisk(cause)) throw cause
      throw new Broken(silence.signal.aborted ? `no byte came for ${idle / 1000} s` : cause instanceof Error ? reasonOf(cause) : String(cause))
    } finally {
      clearTimeout(timer)
    }
    if (size < bytes) throw new Broken(`the connection ended at byte ${size} of ${bytes}`)
    await file.sync()
  } finally {
    await file.close()
  }
}

const isDisk = (cause: unknown): boolean => cause instanceof Error && 'syscall' in cause && ['write', 'ftruncate', 'fsync'].includes(String(cause.syscall))
const reasonOf = (e: Error): string => (e.cause instanceof Error ? `${e.message}: ${e.cause.message}` : e.message)
