/** Bytes behind http(s) addresses: by ranges where the server has them, else in order. Interrupted transfers go on where they stopped. */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { DataError } from '../../core/errors.ts'
import { changed, fault, reasonOf } from './faults.ts'
import type { ByteSource } from './source.ts'

export interface Patience {
  /** Attempts in a row without a byte. */
  readonly tries: number
  /** Milliseconds without an answer or a byte until an attempt counts as failed. */
  readonly silence: number
  readonly wait: (ms: number) => Promise<unknown>
}
const usual: Patience = { tries: 6, silence: 60_000, wait: ms => sleep(ms) }

export const isAddress = (name: string): boolean => /^https?:\/\//i.test(name)

/** An attempt that failed in a way that another one may not. */
class Again extends Error {
  readonly after: number | undefined
  constructor(message: string, after?: number) {
    super(message)
    this.after = after
  }
}

interface Answer { readonly status: number; readonly headers: Headers; readonly chunks: AsyncIterable<Uint8Array> }

async function ask(url: string, range: string | undefined, { silence }: Patience): Promise<Answer> {
  const control = new AbortController()
  const stop = (): void => { control.abort(new Again(`nothing came for ${silence / 1000} s`)) }
  let timer = setTimeout(stop, silence)
  // Ranges count the bytes that are sent, so they must not be compressed on the way.
  const headers = { 'accept-encoding': 'identity', ...(range === undefined ? {} : { range: `bytes=${range}` }) }
  const response = await fetch(url, { headers, signal: control.signal }).catch((cause: unknown) => {
    clearTimeout(timer)
    throw cause instanceof TypeError && cause.cause === undefined ? cause : again(cause)
  })
  async function* chunks(): AsyncGenerator<Uint8Array> {
    try {
      if (response.body !== null) {
        for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
          clearTimeout(timer)
          yield chunk
          timer = setTimeout(stop, silence)
        }
      }
    } catch (cause) {
      throw again(cause)
    } finally {
      clearTimeout(timer)
      // Whoever has enough does not leave the rest on its way.
      control.abort()
    }
  }
  return { status: response.status, headers: response.headers, chunks: chunks() }
}

const again = (cause: unknown): Error => cause instanceof Again || cause instanceof DataError ? cause
  : new Again(cause instanceof Error && cause.cause instanceof Error ? `${cause.message}: ${cause.cause.message}` : reasonOf(cause))

/** Drops an answer whose body nobody wants. */
const drop = async ({ chunks }: Answer): Promise<void> => {
  for await (const _ of chunks) return
}

const size = (headers: Headers): number | undefined => {
  const all = /\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1] ?? (headers.has('content-range') ? undefined : headers.get('content-length') ?? undefined)
  return all === undefined ? undefined : Number(all)
}
const versionOf = (headers: Headers): string | undefined => {
  const told = headers.get('etag') ?? headers.get('last-modified')
  return told === null ? undefined : `${told}${size(headers) === undefined ? '' : `, ${size(headers)} bytes`}`
}

/** What an answer that is none of those wanted means. */
function refused(url: string, { status, headers }: Answer): Error {
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    const after = Number(headers.get('retry-after') ?? NaN)
    return new Again(`the server answers ${status}`, Number.isFinite(after) ? Math.min(after, 60) * 1000 : undefined)
  }
  const fixes: { readonly [status: number]: string } = { 401: 'it wants a password: download it, and give the file', 403: 'the address may have expired, or wants a password: download it, and give the file', 404: 'check the address', 410: 'check the address' }
  return fault({ code: 'no-such-address', what: `the server has nothing at ${url}`, details: { answer: String(status) }, fix: fixes[status] ?? 'try the address with curl -I' })
}

/** Tries until it works, each time after a longer wait. */
async function patiently<R>(url: string, patience: Patience, attempt: () => Promise<R>): Promise<R> {
  for (let failed = 1; ; failed++) {
    try {
      return await attempt()
    } catch (cause) {
      await waitAfter(url, patience, failed, cause)
    }
  }
}

async function waitAfter(url: string, { tries, wait }: Patience, failed: number, cause: unknown): Promise<void> {
  if (cause instanceof DataError) throw cause
  if (!(cause instanceof Again)) throw fault({ code: 'bad-address', what: `${url} cannot be asked for`, details: { reason: reasonOf(cause) }, fix: 'check the address', cause })
  if (failed >= tries) throw fault({ code: 'no-answer', what: `${url} cannot be read`, details: { tried: `${failed} times`, reason: cause.message }, fix: 'try again later, or download it and give the file', cause })
  await wait(cause.after ?? 500 * 2 ** (failed - 1))
}

/**
 * Opens an address. `version` is the one it must have.
 * @throws DataError when the server has nothing there, or does not answer.
 */
export async function openAddress(url: string, version?: string, patience: Patience = usual): Promise<ByteSource> {
  if (!URL.canParse(url)) throw fault({ code: 'bad-address', what: `${url} is no address`, fix: 'write it as in https://host/folder/file.jsonl' })
  const first = await patiently(url, patience, async () => {
    const answer = await ask(url, '0-0', patience)
    await drop(answer)
    if (answer.status === 200 || answer.status === 206 || answer.status === 416) return answer
    throw refused(url, answer)
  })
  // What is empty has no first byte.
  const empty = first.status === 416
  const total = empty ? 0 : size(first.headers)
  const is = versionOf(first.headers)
  if (version !== undefined && is !== version) throw changed(url, version, is ?? 'unknown')
  const ranged = first.status === 206 && total !== undefined
  const same = ({ headers }: Answer): void => {
    const now = versionOf(headers)
    if (is !== undefined && now !== is) throw changed(url, is, now ?? 'unknown')
  }
  const read = async (from: number, to: number): Promise<Buffer> => {
    if (from === to) return Buffer.alloc(0)
    return patiently(url, patience, async () => {
      const answer = await ask(url, `${from}-${to - 1}`, patience)
      if (answer.status !== 206) {
        await drop(answer)
        throw answer.status === 200 || answer.status === 416 ? changed(url, `${total ?? 0} bytes, in ranges`, `an answer ${answer.status}`) : refused(url, answer)
      }
      same(answer)
      const buffer = Buffer.allocUnsafeSlow(to - from)
      let done = 0
      for await (const chunk of answer.chunks) {
        buffer.set(chunk.subarray(0, buffer.length - done), done)
        done += chunk.length
      }
      if (done !== buffer.length) throw new Again(`${done} of ${buffer.length} bytes came`)
      return buffer
    })
  }
  async function* stream(): AsyncGenerator<Buffer> {
    for (let [at, failed] = [0, 0]; total === undefined || at < total;) {
      try {
        const answer = await ask(url, at > 0 && ranged ? `${at}-` : undefined, patience)
        const wanted = at > 0 && ranged ? 206 : 200
        if (answer.status !== wanted) {
          await drop(answer)
          throw answer.status < 300 ? changed(url, `an answer ${wanted}`, `an answer ${answer.status}`) : refused(url, answer)
        }
        same(answer)
        // Without ranges, what has come already comes again.
        let skip = wanted === 206 ? 0 : at
        if (skip > 0 && is === undefined) throw fault({ code: 'no-answer', what: `${url} broke off`, details: { after: `${at} bytes` }, fix: 'its server can neither go on in the middle nor tell whether it is the same file still: download it, and give the file' })
        for await (const chunk of answer.chunks) {
          const rest = chunk.subarray(Math.min(skip, chunk.length))
          skip -= chunk.length - rest.length
          if (rest.length === 0) continue
          failed = 0
          at += rest.length
          yield Buffer.from(rest.buffer, rest.byteOffset, rest.length)
        }
        if (total === undefined) return
        if (at > total) throw changed(url, `${total} bytes`, `${at} bytes`)
        if (at < total) throw new Again(`${at} of ${total} bytes came`)
      } catch (cause) {
        await waitAfter(url, patience, ++failed, cause)
      }
    }
  }
  return {
    name: url, size: total, version: is, ranged, near: false, read, stream,
    readInto: (target, from) => read(from, from + target.length).then(bytes => { target.set(bytes) }),
    async fingerprint() {
      if (is !== undefined) return `server:${is}`
      const hash = createHash('sha256')
      for await (const chunk of stream()) hash.update(chunk)
      return `sha256:${hash.digest('hex')}`
    },
    close: async () => undefined,
  }
}
