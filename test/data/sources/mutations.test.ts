/** Damaged files of each format: a clear error or a right result, never a crash, a hang, or memory beyond a bound. 10,000 of each where all is tested. */
import { isUtf8 } from 'node:buffer'
import { readFileSync, writeFileSync } from 'node:fs'
import Papa from 'papaparse'
import { describe, expect, test } from 'vitest'
import { gunzipSync, gzipSync } from 'node:zlib'
import { DataError } from '../../../src/core/errors.ts'
import type { Document, DocumentFormat } from '../../../src/data/documents.ts'
import { openIdx, openNpy, type Rows } from '../../../src/data/sources/rows/index.ts'
import { all as deep } from '../../support/depth.ts'
import { temporaryFolder } from '../temporary.ts'
import { documents, expected, fixture } from './support.ts'
import { mutated } from './mutate.ts'

const folder = temporaryFolder()
const count = deep ? 10_000 : 250
/** What reading one of them may take: Node's own buffers for streams and tables included. */
const mostMemory = 600 * 2 ** 20

/** Reads every mutation; what does not end in an error is handed to `right`. */
async function survives<T>(name: string, bytes: Uint8Array, read: (path: string) => Promise<T>, right: (result: T, bytes: Buffer) => void, { share = 1, checksums = false } = {}): Promise<void> {
  const path = folder.at(name)
  let whole = 0
  const before = process.memoryUsage().rss
  writeFileSync(path, bytes)
  right(await read(path), Buffer.from(bytes))
  for (let nth = 0; nth < count * share; nth++) {
    const bad = mutated(bytes, 7, nth)
    writeFileSync(path, bad)
    try {
      const result = await read(path)
      whole++
      right(result, bad)
    } catch (error) {
      if (!(error instanceof DataError) || error.problem.fix === undefined || !error.message.includes(name)) throw new Error(`mutation ${nth} of ${name}`, { cause: error })
    }
    if (process.memoryUsage().rss - before > mostMemory) throw new Error(`mutation ${nth} of ${name} took ${(process.memoryUsage().rss - before) / 2 ** 20} MiB`)
  }
  // Else all of them would be errors, or none; where all bytes have a checksum, all may be.
  if (!checksums) expect(whole).toBeGreaterThan(0)
  expect(whole).toBeLessThan(count * share)
}

const read = (format?: DocumentFormat) => (path: string): Promise<Document[]> => documents(path, { bytes: 500, ...(format === undefined ? {} : { format }) })
const texts = (found: readonly Document[]): unknown[] => found.map(d => d.content)
const wellFormed = (text: string): string => text.replace(/\p{Surrogate}/gu, '\ufffd')
/** Any result of a format without checksums is right if it is one at all. */
const areDocuments = (found: readonly Document[]): void => {
  found.forEach((d, i) => { expect([d.record, typeof d.content]).toEqual([i, 'string']) })
}

describe('mutations', () => {
  test('JSONL', async () => {
    const lines = expected.texts.map((text, i) => JSON.stringify(i % 3 === 0 ? { id: i, text } : { text, more: [i] })).join('\n')
    // JSON.parse, line by line.
    await survives('a.jsonl', Buffer.from(lines), read({ format: 'jsonl', field: 'text' }), (found, bytes) => {
      expect(isUtf8(bytes)).toBe(true)
      const records = bytes.toString().replace(/^\ufeff/, '').split('\n').filter(l => /[^\t\n\v\f\r ]/.test(l)).map(l => JSON.parse(l) as { text: string | null })
      expect(texts(found)).toEqual(records.map(r => wellFormed(r.text ?? '')))
    })
  })

  test('CSV', async () => {
    let judged = 0
    await survives('a.csv', readFileSync(fixture('pandas.csv')), read(), (found, bytes) => {
      areDocuments(found)
      const judge = Papa.parse<string[]>(bytes.toString().replace(/^\ufeff/, ''), { delimiter: ',', newline: bytes.includes('\r\n') ? '\r\n' : '\n' })
      // It sees no fault in a \r, a blank line or a quote where we see one; where both see none, both see the same.
      if (judge.errors.length > 0 || bytes.includes('\r')) return
      judged++
      const records = judge.data.filter(row => row.length > 1 || row[0] !== '')
      expect(texts(found)).toEqual(records.slice(1).map(row => row[records[0]!.indexOf('text')]))
    })
    expect(judged).toBeGreaterThan(0)
  })

  test('Parquet', async () => {
    const share = 1 / 7
    for (const name of ['snappy', 'pages', 'prefixes', 'zstd', 'lz4', 'brotli']) await survives(`${name}.parquet`, readFileSync(fixture(`${name}.parquet`)), read({ format: 'parquet', field: 'nullable' }), areDocuments, { share })
    await survives('chats.parquet', readFileSync(fixture('chats.parquet')), read({ format: 'parquet', messages: 'messages' }), found => { expect(found.every(d => Array.isArray(d.content))).toBe(true) }, { share })
  })

  test('tar', async () => {
    // Its first four records, each three members of a header and a block, but that one text is empty and has none: most bytes of a whole archive are zeros at its end.
    await survives('a.tar', readFileSync(fixture('webdataset.tar')).subarray(0, 4 * 3 * 1024 - 512), read(), areDocuments, { share: 1 / 2 })
    await survives('pax.tar', readFileSync(fixture('pax.tar')), read({ format: 'tar', field: 'tags.txt' }), areDocuments, { share: 1 / 2 })
  })

  const row = async (opened: Promise<Rows>): Promise<{ readonly count: number; readonly bytes: number }> => {
    const rows = await opened
    try {
      const found = await rows.read(rows.count === 0 ? [] : [0, rows.count - 1])
      return { count: rows.count, bytes: found['x']!.byteLength }
    } finally {
      await rows.close()
    }
  }

  test('npy', async () => {
    await survives('a.npy', readFileSync(fixture('version2.npy')), path => row(openNpy({ x: path })), found => { expect(found.bytes).toBeLessThan(2000) })
  })

  test('IDX', async () => {
    await survives('a.idx', readFileSync(fixture('shorts.idx')), path => row(openIdx({ x: path })), found => { expect(found.bytes).toBeLessThan(2000) }, { share: 1 / 2 })
    await survives('images.gz', readFileSync(fixture('images-idx3-ubyte.gz')), path => row(openIdx({ x: path })), found => { expect(found.bytes).toBeLessThan(2000) }, { share: 1 / 2, checksums: true })
  })

  test('gzip', async () => {
    const plain = expected.texts.map(text => `${JSON.stringify({ text })}\n`).join('')
    await survives('a.jsonl.gz', gzipSync(plain, { level: 9 }), read(), (found, bytes) => {
      // Its checksum says so, and zlib's own judgement of the whole.
      const judge = gunzipSync(bytes).toString().split('\n').filter(l => l.trim() !== '')
      expect(texts(found)).toEqual(judge.map(l => (JSON.parse(l) as { text: string }).text))
    }, { checksums: true })
  })
})
