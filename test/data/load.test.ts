/** loadDataset: end to end, and its cache. */
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { DataError, FileError, UsageError } from '../../src/core/errors.ts'
import { endOfText, loadDataset, type DataProgress, type Dataset, type Tokens } from '../../src/data/index.ts'
import { checkedTextFile } from '../../src/data/text-file.ts'
import { temporaryFolder } from './temporary.ts'

const folder = temporaryFolder()
const corpus = readFileSync(new URL('golden/corpus.txt', import.meta.url), 'utf8')
const file = folder.file('corpus.txt', corpus)
// Millions of tokens, one by one, take the test runner half a minute.
const digest = (tokens: Tokens): string => createHash('sha256').update(tokens).digest('hex')
const content = ({ tokenizer, train, heldOut }: Dataset) =>
  ({ model: tokenizer.model, train: digest(train.tokens), heldOut: digest(heldOut.tokens) })
const entries = (root: string): string[] => readdirSync(join(root, 'data'))

test('the text, split, is the text', async () => {
  const { tokenizer, train, heldOut, ...rest } = await loadDataset({ files: [file], vocab: 300, cacheDir: folder.at('whole') })
  expect(tokenizer.decode(train.tokens) + tokenizer.decode(heldOut.tokens)).toBe(corpus)
  expect([train.tokens.at(-1), heldOut.tokens.at(-1), tokenizer.vocab]).toEqual([tokenizer.endOfText, tokenizer.endOfText, 300])
  expect(rest).toEqual({ name: 'corpus.txt', identity: expect.stringMatching(/^sha256:[0-9a-f]{64} 300$/) as string, licence: undefined, documents: 1, fromCache: false, cacheProblem: undefined })
})

test('batches', async () => {
  const shape = { batch: 4, seq: 16 }
  const data = await loadDataset({ files: [file], vocab: 300, shape, cacheDir: folder.at('whole') })
  expect(data.train.batches({ ...shape, seed: 1 }).batch(0).tokens).toHaveLength(64)
  expect(data.heldOut.batches({ ...shape, atMost: 1 })).toHaveLength(1)
})

test('progress, in its order', async () => {
  const told: DataProgress[] = []
  await loadDataset({ files: [file], vocab: 300, cacheDir: folder.at('progress'), onProgress: p => told.push(p) })
  expect([...new Set(told.map(p => p.stage))]).toEqual(['count', 'learn', 'encode'])
  expect(told.every(p => p.done <= p.total)).toBe(true)
})

test('the default corpus', async () => {
  const options = { vocab: 512, cacheDir: folder.at('default'), shape: { batch: 8, seq: 128 } }
  const first = await loadDataset(options)
  expect([first.documents, first.licence?.includes('CC0'), first.tokenizer.vocab]).toEqual([233, true, 512])
  const share = first.heldOut.tokens.length / (first.train.tokens.length + first.heldOut.tokens.length)
  expect(share).toBeGreaterThan(0.05)
  expect(share).toBeLessThan(0.1)
  const second = await loadDataset(options)
  expect([first.fromCache, second.fromCache]).toEqual([false, true])
  expect(content(second)).toEqual(content(first))
})

describe('text that comes through a pipe', () => {
  const pipe = (name: string): string => {
    execFileSync('mkfifo', [folder.at(name)])
    // A shell writes into it: to open a pipe waits for its other end.
    spawn('sh', ['-c', 'cat "$0" > "$1"', file, folder.at(name)], { stdio: 'ignore' }).unref()
    return folder.at(name)
  }

  test('is read once, and is the text', async () => {
    const piped = await loadDataset({ files: [pipe('one')], vocab: 300, cacheDir: folder.at('piped') })
    const { identity } = await loadDataset({ files: [file], vocab: 300, cacheDir: folder.at('piped') })
    expect([piped.identity, piped.name]).toEqual([identity, 'one'])
  })

  test('is kept by who checks it, and a file is not', async () => {
    const kept = await checkedTextFile(pipe('two'))
    expect(kept).toEqual({ path: folder.at('two'), bytes: readFileSync(file) })
    expect(await checkedTextFile(file)).toBe(file)
    const data = await loadDataset({ files: [kept, kept], vocab: 300, cacheDir: folder.at('piped') })
    expect(data.documents).toBe(2)
  })

  test('does not come: said so', async () => {
    const load = loadDataset({ files: ['/dev/null'], vocab: 300, cacheDir: folder.at('piped') })
    await expect(load).rejects.toThrow(/DataError\[empty-text\] no text came from \/dev\/null[^]*gives its text once/)
  })
})

describe('cache', () => {
  test('equal text hits, whatever its name; other text or another vocabulary misses', async () => {
    const cacheDir = folder.at('hits')
    const first = await loadDataset({ files: [file], vocab: 300, cacheDir })
    const again = await loadDataset({ files: [folder.file('other-name.txt', corpus)], vocab: 300, cacheDir })
    expect([first.fromCache, again.fromCache, again.name]).toEqual([false, true, 'other-name.txt'])
    expect(content(again)).toEqual(content(first))
    expect((await loadDataset({ files: [file], vocab: 301, cacheDir })).fromCache).toBe(false)
    expect((await loadDataset({ files: [folder.file('more.txt', `${corpus}.`)], vocab: 300, cacheDir })).fromCache).toBe(false)
    expect(entries(cacheDir)).toHaveLength(3)
  })

  test.each<[string, (bytes: Buffer) => Uint8Array]>([
    ['empty', () => new Uint8Array()],
    ['cut off', bytes => bytes.subarray(0, bytes.length - 100)],
    ['cut off in its head', bytes => bytes.subarray(0, 20)],
    ['a bit of a token turned', bytes => { bytes[bytes.length - 3]! ^= 4; return bytes }],
    ['a bit of the tokenizer turned', bytes => { bytes[1500]! ^= 1; return bytes }],
    ['a bit of its head turned', bytes => { bytes[9]! ^= 1; return bytes }],
    ['something else', () => Buffer.from('{"json":1}\n')],
  ])('an entry that is harmed (%s) is made again', async (name, harm) => {
    const cacheDir = folder.at(`harm ${name}`)
    const options = { files: [file], vocab: 300, cacheDir }
    const first = await loadDataset(options)
    const path = join(cacheDir, 'data', entries(cacheDir)[0]!)
    writeFileSync(path, harm(readFileSync(path)))
    const second = await loadDataset(options)
    expect(second.fromCache).toBe(false)
    expect(content(second)).toEqual(content(first))
    expect((await loadDataset(options)).fromCache).toBe(true)
    expect(entries(cacheDir)).toHaveLength(1)
  })

  test('one that cannot be written does not stop the run', async () => {
    const data = await loadDataset({ files: [file], vocab: 300, cacheDir: folder.file('a-file', '') })
    expect(data.tokenizer.vocab).toBe(300)
    expect(data.cacheProblem).toBeInstanceOf(FileError)
  })

  test('MESHWORK_CACHE_DIR, XDG_CACHE_HOME', async () => {
    const before = { ...process.env }
    try {
      process.env['XDG_CACHE_HOME'] = folder.at('xdg')
      process.env['MESHWORK_CACHE_DIR'] = ''
      await loadDataset({ files: [file], vocab: 300 })
      expect(entries(folder.at('xdg/meshwork'))).toHaveLength(1)
      process.env['MESHWORK_CACHE_DIR'] = folder.at('own')
      await loadDataset({ files: [file], vocab: 300 })
      expect(entries(folder.at('own'))).toHaveLength(1)
    } finally {
      process.env = before
    }
  })
})

describe('errors', () => {
  test.each([256, 0, -1, 300.5, NaN])('a vocabulary of %d', async vocab => {
    await expect(loadDataset({ files: [file], vocab, cacheDir: folder.at('none') })).rejects.toThrow(UsageError)
  })

  test('too little text for the batches that are wanted', async () => {
    const files = [folder.file('short.txt', 'too short')]
    const load = loadDataset({ files, vocab: 257, shape: { batch: 2, seq: 8 }, cacheDir: folder.at('none') })
    await expect(load).rejects.toThrow(DataError)
    await expect(load).rejects.toThrow(/tokens {2,}10\n {2}needed {2,}34/)
  })

  test('nothing but separators', async () => {
    const load = loadDataset({ files: [folder.file('ends.txt', endOfText)], vocab: 257, cacheDir: folder.at('none') })
    await expect(load).rejects.toThrow(/tokens {2,}0/)
  })
})
