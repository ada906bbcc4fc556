/** Reading documents: bytes of text by second of one core, beside `JSON.parse` over readline. */
import { parquetWriteFile } from 'hyparquet-writer'
import { createReadStream } from 'node:fs'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { gzipSync } from 'node:zlib'
import { threefry2x32 } from '../src/core/threefry.ts'
import { documentsOf, openParts } from '../src/data/documents.ts'
import { interleave, median, ratio, row, type Section } from './measure.ts'

const documents = 24_000
const words = Array.from({ length: 4096 }, (_, i) => Array.from({ length: 2 + i % 8 }, (_, k) => String.fromCharCode(97 + threefry2x32(1, i, k, 0) % 26)).join(''))
/** About 1 kB each; every tenth has what must be escaped, and characters that are not ASCII. */
const text = (i: number): string => `${Array.from({ length: 40 + threefry2x32(2, i, 0, 0) % 280 }, (_, k) => words[threefry2x32(3, i, k, 0) % words.length]).join(' ')}${i % 10 === 0 ? ' "naïve",\nas they say' : ''}`

/** CPU time of this process and all its threads: what else the machine does has no part in it. */
async function cpu(work: () => Promise<number>, expected: number): Promise<number> {
  const before = process.cpuUsage()
  const characters = await work()
  const { user, system } = process.cpuUsage(before)
  if (characters !== expected) throw new Error(`${characters} characters were read, and there are ${expected}`)
  return (user + system) / 1000
}

async function ours(path: string): Promise<number> {
  let characters = 0
  for (const part of await openParts([path])) {
    for await (const piece of part.pieces()) {
      for await (const { content } of documentsOf(piece)) characters += content.length
    }
  }
  return characters
}

async function readline(path: string): Promise<number> {
  let characters = 0
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) characters += (JSON.parse(line) as { text: string }).text.length
  return characters
}

export async function dataSection(rounds: number, say: (line: string) => void): Promise<Section> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-bench-'))
  try {
    const texts = Array.from({ length: documents }, (_, i) => text(i))
    const characters = texts.reduce((n, t) => n + t.length, 0)
    const jsonl = Buffer.from(texts.map((t, id) => `${JSON.stringify({ id, text: t })}\n`).join(''))
    const path = (name: string): string => join(folder, name)
    await writeFile(path('a.jsonl'), jsonl)
    await writeFile(path('a.jsonl.gz'), gzipSync(jsonl))
    await writeFile(path('a.csv'), `id,text\n${texts.map((t, i) => `${i},"${t.replaceAll('"', '""')}"\n`).join('')}`)
    parquetWriteFile({ filename: path('a.parquet'), columnData: [{ name: 'text', data: texts, type: 'STRING' }], codec: 'SNAPPY' })
    say(`${documents} documents, ${(characters / 1e6).toFixed(0)} MB of text`)
    const names = ['a.jsonl', 'a.jsonl.gz', 'a.csv', 'a.parquet']
    const beside = 'readline + JSON.parse'
    const sides = new Map<string, () => Promise<number>>([[beside, () => cpu(() => readline(path('a.jsonl')), characters)], ...names.map(name => [name, () => cpu(() => ours(path(name)), characters)] as const)])
    // Once unmeasured: Node optimises meanwhile.
    await interleave(sides, 1, () => {})
    const found = await interleave(sides, rounds, done => { say(`round ${done} of ${rounds}`) })
    const sizes = await Promise.all(names.map(async name => `${name} ${((await stat(path(name))).size / 1e6).toFixed(0)} MB`))
    return {
      name: 'data', notes: [`${(characters / 1e6).toFixed(0)} MB of text in ${documents} documents: ${sizes.join(', ')}; MB of text by second of CPU time, cutting and reading together`],
      rows: [...[...found].map(([name, ms]) => row(name, characters / 1e3 / median(ms), 'MB/s')), row(`CPU time, a.jsonl / ${beside}`, ratio(found, 'a.jsonl', beside), '', 1)],
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
