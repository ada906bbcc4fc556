/** Addresses, against a server of the test's own: with and without ranges, breaking off, answering errors, changing in between. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { documentsOf, openParts } from '../../../src/data/documents.ts'
import { openAddress, type Patience } from '../../../src/data/sources/http.ts'
import { openIdx } from '../../../src/data/sources/rows/index.ts'
import { all, contents, expected, failure, fixture, piecesOf } from './support.ts'

/** What the server does with a request for a file. */
interface Manner {
  readonly body: Buffer
  readonly ranges?: boolean
  readonly etag?: string
  readonly length?: boolean
  /** Bytes after which an answer to the nth request breaks off. */
  readonly breaks?: (nth: number) => number | undefined
  /** A status for the nth request, instead of an answer. */
  readonly status?: (nth: number) => number | undefined
}
const files = new Map<string, Manner>()
const asked = new Map<string, (string | undefined)[]>()

function answer(request: IncomingMessage, response: ServerResponse): void {
  const path = request.url ?? ''
  const file = files.get(path)
  const requests = asked.get(path) ?? []
  asked.set(path, [...requests, request.headers.range])
  const nth = requests.length
  const status = file === undefined ? 404 : file.status?.(nth)
  if (file === undefined || status !== undefined) return void response.writeHead(status ?? 404).end('sorry')
  if (file.etag !== undefined) response.setHeader('etag', file.etag)
  const range = file.ranges === false ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
  const { length } = file.body
  const [from, to] = range === null ? [0, length] : [Number(range[1]), Math.min(length, range[2] === '' ? length : Number(range[2]) + 1)]
  if (from >= length && range !== null) return void response.writeHead(416, { 'content-range': `bytes */${length}` }).end()
  if (range !== null) response.setHeader('content-range', `bytes ${from}-${to - 1}/${length}`)
  if (file.length !== false) response.setHeader('content-length', to - from)
  response.writeHead(range === null ? 200 : 206)
  const breaks = file.breaks?.(nth)
  if (breaks === undefined || breaks >= to - from) return void response.end(file.body.subarray(from, to))
  response.write(file.body.subarray(from, from + breaks), () => { setImmediate(() => response.destroy()) })
}

const server = createServer(answer)
let base = ''
beforeAll(async () => {
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

/** Puts a file onto the server. */
function put(path: string, manner: Manner): string {
  files.set(path, manner)
  asked.delete(path)
  return `${base}${path}`
}
const texts = Array.from({ length: 2000 }, (_, i) => `${i} ${'word '.repeat(i % 40)}`)
const jsonl = Buffer.from(texts.map(text => `${JSON.stringify({ text })}\n`).join(''))
const waits: number[] = []
/** Waits are noted, not kept. */
const patience: Patience = { tries: 3, silence: 60_000, wait: async ms => { waits.push(ms) } }
const bytesOf = async (url: string, version?: string): Promise<Buffer> => Buffer.concat((await all((await openAddress(url, version, patience)).stream())).map(c => Buffer.from(c)))

describe('documents', () => {
  test('JSONL is read in order once, its pieces have their bytes', async () => {
    const url = put('/a.jsonl', { body: jsonl, etag: '"1"' })
    const [part] = await openParts([url])
    expect(part!.bytes).toBe(jsonl.length)
    const pieces = await piecesOf(part!, { bytes: 10_000 })
    expect((await Promise.all(pieces.map(p => all(documentsOf(p))))).flat().map(d => d.content)).toEqual(texts)
    expect(pieces.every(p => p.data !== undefined)).toBe(true)
    expect(await part!.fingerprint()).toBe(`server:"1", ${jsonl.length} bytes`)
  })
  test('without ranges, without a length, and empty', async () => {
    expect(await contents(put('/b.jsonl', { body: jsonl, ranges: false }))).toEqual(texts)
    expect(await contents(put('/c.jsonl', { body: jsonl, ranges: false, length: false }))).toEqual(texts)
    expect(await contents(put('/d.jsonl', { body: Buffer.alloc(0) }))).toEqual([])
    expect(await contents([put('/e0.jsonl', { body: jsonl }), put('/e1.jsonl', { body: jsonl })].slice(0, 1).map(u => u.replace('e0', 'e{0,1}')))).toEqual([...texts, ...texts])
  })
  test('Parquet is read by ranges, by whoever makes the documents', async () => {
    const url = put('/p.parquet', { body: readFileSync(fixture('zstd.parquet')), etag: '"2"' })
    expect(await contents(url)).toEqual(expected.texts)
    expect(asked.get('/p.parquet')?.every(range => range !== undefined)).toBe(true)
    expect(await failure(contents(put('/q.parquet', { body: readFileSync(fixture('zstd.parquet')), ranges: false })))).toMatch(/can only be read from its start/)
  })
  test('IDX, compressed, with and without ranges', async () => {
    for (const ranges of [true, false]) {
      const rows = await openIdx({ image: put('/images.gz', { body: readFileSync(fixture('images-idx3-ubyte.gz')), ranges }) })
      expect([...(await rows.read([3]))['image']!]).toEqual(expected.arrays['u8']!.rows[3])
      await rows.close()
    }
  })
})

describe('what goes wrong', () => {
  test('a transfer that breaks off goes on where it stopped', async () => {
    const url = put('/breaks', { body: jsonl, etag: '"1"', breaks: nth => (nth > 0 && nth < 4 ? 20_000 : undefined) })
    expect((await bytesOf(url)).equals(jsonl)).toBe(true)
    expect(asked.get('/breaks')?.slice(2)).toEqual(['bytes=20000-', 'bytes=40000-', 'bytes=60000-'])
  })
  test('without ranges it begins again, if it is known to be the same', async () => {
    expect((await bytesOf(put('/restarts', { body: jsonl, ranges: false, etag: '"1"', breaks: nth => (nth === 1 ? 20_000 : undefined) }))).equals(jsonl)).toBe(true)
    expect(await failure(bytesOf(put('/forgets', { body: jsonl, ranges: false, breaks: nth => (nth === 1 ? 20_000 : undefined) })))).toMatch(/broke off/)
  })
  test('attempts are counted, with longer waits between them, and end', async () => {
    waits.length = 0
    expect(await failure(bytesOf(put('/busy', { body: jsonl, status: () => 503 })))).toMatch(/no-answer\].*busy cannot be read\n {2}tried +3 times\n {2}reason +the server answers 503/)
    expect(waits).toEqual([500, 1000])
    expect((await bytesOf(put('/wakes', { body: jsonl, status: nth => (nth % 3 === 2 ? undefined : 500) }))).equals(jsonl)).toBe(true)
    expect(await failure(bytesOf(put('/stuck', { body: jsonl, etag: '"1"', breaks: nth => (nth > 0 ? 0 : undefined) })))).toMatch(/no-answer/)
  })
  test('what is not there is asked for once', async () => {
    expect(await failure(bytesOf(`${base}/none`))).toMatch(/no-such-address\].*nothing at .*none\n {2}answer +404/)
    expect(asked.get('/none')).toHaveLength(1)
    expect(await failure(bytesOf(put('/secret', { body: jsonl, status: () => 403 })))).toMatch(/answer +403/)
    expect(await failure(bytesOf('http://127.0.0.1:99999/'))).toMatch(/is no address/)
    waits.length = 0
    expect(await failure(bytesOf('http://127.0.0.1:9/'))).toMatch(/no-answer|cannot be asked for/)
  })
  test('a file that changes is told', async () => {
    const url = put('/moves', { body: jsonl, etag: '"1"' })
    const source = await openAddress(url, undefined, patience)
    put('/moves', { body: jsonl, etag: '"2"' })
    expect(await failure(source.read(0, 10))).toMatch(/data-changed\].*moves has changed while it was being read\n {2}was +"1"[^]*is +"2"/)
    expect(await failure(all(source.stream()))).toMatch(/data-changed/)
    expect(await failure(bytesOf(url, source.version))).toMatch(/data-changed/)
    const ranged = await openAddress(put('/loses', { body: jsonl }), undefined, patience)
    put('/loses', { body: jsonl, ranges: false })
    expect(await failure(ranged.read(5, 10))).toMatch(/data-changed/)
  })
  test('a range that comes short is asked for again', async () => {
    const source = await openAddress(put('/short', { body: jsonl, breaks: nth => (nth === 1 ? 3 : undefined) }), undefined, patience)
    expect((await source.read(100, 200)).equals(jsonl.subarray(100, 200))).toBe(true)
  })
  test('silence counts as a failure', async () => {
    const quiet = createServer(() => undefined)
    await new Promise<void>(resolve => { quiet.listen(0, '127.0.0.1', resolve) })
    const url = `http://127.0.0.1:${(quiet.address() as AddressInfo).port}/`
    expect(await failure(openAddress(url, undefined, { tries: 2, silence: 50, wait: async () => undefined }))).toMatch(/nothing came for 0\.05 s/)
    quiet.closeAllConnections()
    quiet.close()
  })
})
