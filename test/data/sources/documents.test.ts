/** Text, JSONL and CSV to documents; pieces of any size give the same ones; what is wrong is told with its line. */
import fc from 'fast-check'
import { closeSync, ftruncateSync, openSync, utimesSync, writeFileSync, writeSync } from 'node:fs'
import Papa from 'papaparse'
import { describe, expect, test } from 'vitest'
import { gzipSync } from 'node:zlib'
import { documentsOf, openParts, type DocumentFormat } from '../../../src/data/documents.ts'
import { temporaryFolder } from '../temporary.ts'
import { all, contents, documents, expected, failure, fixture, piecesOf } from './support.ts'

const folder = temporaryFolder()
const jsonl = (...texts: string[]): string => texts.map(text => `${JSON.stringify({ text })}\n`).join('')

describe('text', () => {
  test('one document a file: no byte order mark, lines end in \\n, nothing of a blank one', async () => {
    expect(await documents(folder.file('dos.txt', '\ufeffone\r\ntwo\rthree\n'))).toEqual([{ record: 0, at: `${folder.at('dos.txt')}:1`, content: 'one\ntwo\rthree\n' }])
    for (const blank of ['', ' \r\n\t\n', '\ufeff', '\ufeff\n']) expect(await documents(folder.file('blank.txt', blank))).toEqual([])
  })

  test('<|endoftext|> separates wherever it stands, its line end goes with it', async () => {
    const text = 'one\n<|endoftext|>\ntwo<|endoftext|><|endoftext|>\r\n three\n\n<|endoftext|>\n \n<|endoftext|>'
    for (const bytes of [1, 5, 20, 1000]) {
      expect((await documents(folder.file('many.txt', text), { bytes })).map(d => [d.record, d.at.split(':').at(-1), d.content])).toEqual([[0, '1', 'one\n'], [1, '3', 'two'], [2, '4', ' three\n\n']])
    }
  })

  test('another separator needs a line to itself', async () => {
    const format = { format: 'text', separator: '---' } as const
    expect(await contents(folder.file('lines.md', 'a --- b\n---\r\n----\n---x\n---\n---\nc\n---'), { format })).toEqual(['a --- b\n', '----\n---x\n', 'c\n'])
  })

  test('separators across chunks of the stream, and pieces of any size', async () => {
    const texts = Array.from({ length: 40 }, (_, i) => `${'x'.repeat(i * 3011)}${i}\n`)
    const path = folder.file('long.txt', texts.join('<|endoftext|>\n'))
    const whole = await documents(path)
    expect(whole.map(d => d.content)).toEqual(texts)
    for (const bytes of [1, 100_000, 2 ** 20 - 7]) expect(await documents(path, { bytes })).toEqual(whole)
  })
})

describe('JSONL', () => {
  test('a field, a chat, and what is found without being named', async () => {
    const chat = [{ role: 'user', content: 'hi' }, { role: 'assistant', content: '' }]
    const path = folder.file('mixed.jsonl', `{"text":"a"}\n{"messages":[{"role":"user","content":"hi","name":"x"},{"role":"assistant","content":null}]}\n{"prompt":"p","completion":"c"}\n{"text":null}\n`)
    expect(await contents(path)).toEqual(['a', chat, [{ role: 'user', content: 'p' }, { role: 'assistant', content: 'c' }], ''])
    expect(await contents(folder.file('own.jsonl', '{"body":"b","text":"t"}'), { format: { format: 'jsonl', field: 'body' } })).toEqual(['b'])
    expect(await contents(folder.file('turns.jsonl', '{"turns":[{"role":"r","content":"c"}]}'), { format: { format: 'jsonl', messages: 'turns' } })).toEqual([[{ role: 'r', content: 'c' }]])
  })

  test('blank lines, CRLF, a byte order mark, no last line end; lines are counted, records without the blank ones', async () => {
    const path = folder.file('odd.jsonl', `\ufeff\r\n${JSON.stringify({ text: 'a\r\n\u2028' })}\r\n \t\r\n\r\n{"text":"b"}\n\n{"text":"c"}`)
    const found = await documents(path)
    expect(found.map(d => [d.record, d.at.split(':').at(-1), d.content])).toEqual([[0, '2', 'a\r\n\u2028'], [1, '5', 'b'], [2, '7', 'c']])
    for (const bytes of [1, 12, 30]) expect(await documents(path, { bytes })).toEqual(found)
  })

  test('a lone surrogate of an escape becomes U+FFFD, a pair stays; of two equal keys the last counts', async () => {
    expect(await contents(folder.file('surrogate.jsonl', String.raw`{"text":"a\ud800b \ud83d\ude00 \udc00"}`))).toEqual(['a\ufffdb 😀 \ufffd'])
    expect(await contents(folder.file('twice.jsonl', '{"text":"a","text":"b","__proto__":{"text":"c"}}'))).toEqual(['b'])
    expect(await failure(contents(folder.file('proto.jsonl', '{"a":1}'), { format: { format: 'jsonl', field: 'constructor' } }))).toMatch(/no field "constructor"/)
  })

  test('judged by pandas, plain and compressed in several members and frames', async () => {
    for (const name of ['pandas.jsonl', 'members.jsonl.gz', 'frames.jsonl.zst']) {
      for (const bytes of [1, 700, 2 ** 20]) expect(await contents(fixture(name), { bytes })).toEqual(expected.texts)
    }
  })

  test('a piece can lie beyond 4 GiB', async () => {
    const [path, from] = [folder.at('far.jsonl'), 5 * 2 ** 30]
    const line = jsonl('far away')
    const file = openSync(path, 'w')
    ftruncateSync(file, from)
    writeSync(file, line, from)
    closeSync(file)
    const piece = { part: path, format: { format: 'jsonl' }, index: 9, first: 2 ** 33, from, to: from + line.length, layout: { line: 2 ** 34 } } as const
    expect(await all(documentsOf(piece))).toEqual([{ record: 2 ** 33, at: `${path}:${2 ** 34}`, content: 'far away' }])
  })
})

describe('CSV', () => {
  test('judged by pandas and the csv module', async () => {
    for (const name of ['pandas.csv', 'quoted.csv', 'pandas.tsv.gz']) {
      for (const bytes of [1, 700, 2 ** 20]) expect(await contents(fixture(name), { bytes })).toEqual(expected.texts)
    }
  })

  test('judged by papaparse on random records, in pieces of random size', async () => {
    const field = fc.string({ unit: fc.constantFrom('a', 'é', '日', '😀', '"', ',', ';', '\n', '\r\n', ' ', '\t', ''), maxLength: 8 })
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(field, field, field), { maxLength: 12 }), fc.constantFrom(',', ';', '\t'), fc.constantFrom('\n', '\r\n'), fc.boolean(), fc.integer({ min: 1, max: 60 }), async (rows, delimiter, newline, quotes, bytes) => {
      const written = Papa.unparse([['a', 'text', 'c'], ...rows], { delimiter, newline, quotes })
      const judge = Papa.parse<string[]>(written, { delimiter, newline })
      expect(judge.errors).toEqual([])
      const found = await contents(folder.file('random.csv', written), { format: { format: 'csv', delimiter }, bytes })
      expect(found).toEqual(judge.data.slice(1).map(row => row[1]))
      expect(found).toEqual(rows.map(row => row[1]))
    }), { numRuns: 60 })
  })

  test('lines are those at which records begin', async () => {
    const path = folder.file('lines.csv', '\ufefftext,"n"\r\n"two\r\nlines",1\r\n\r\n\r\n"",2\nx,3')
    expect((await documents(path)).map(d => [d.record, d.at.split(':').at(-1), d.content])).toEqual([[0, '2', 'two\r\nlines'], [1, '6', ''], [2, '7', 'x']])
    expect(await documents(folder.file('head.csv', 'text\n'))).toEqual([])
    expect(await documents(folder.file('none.csv', ''))).toEqual([])
  })
})

describe('pieces', () => {
  const texts = Array.from({ length: 300 }, (_, i) => `${i} ${'word '.repeat(i % 50)}`)

  test('are the same ones however often, and after one of them', async () => {
    const gz = folder.file('again.jsonl.gz', gzipSync(jsonl(...texts)))
    for (const [path, bytes] of [[folder.file('again.jsonl', jsonl(...texts)), 1000], [gz, 1000], [fixture('none.parquet'), 200]] as const) {
      const [part] = await openParts([path])
      const pieces = await piecesOf(part!, { bytes })
      expect(pieces.length).toBeGreaterThan(4)
      expect(pieces.map(p => p.index)).toEqual(pieces.map((_, i) => i))
      expect(await piecesOf(part!, { bytes })).toEqual(pieces)
      for (const after of [-1, 0, 3, pieces.length - 1]) expect(await piecesOf(part!, { bytes, after })).toEqual(pieces.slice(after + 1))
      expect(pieces.every(p => (p.data !== undefined) === (path === gz))).toBe(true)
    }
  })

  test('are about as big as asked for, and their records follow each other', async () => {
    const [part] = await openParts([folder.file('sizes.jsonl', jsonl(...texts))])
    const pieces = await piecesOf(part!, { bytes: 2000 })
    expect(pieces.slice(0, -1).every(p => p.to - p.from >= 2000 && p.to - p.from < 2400)).toBe(true)
    for (const [i, piece] of pieces.entries()) {
      const found = await all(documentsOf(piece))
      expect(found[0]?.record).toBe(piece.first)
      expect(piece.first + found.length).toBe(pieces[i + 1]?.first ?? texts.length)
      expect(piece.from).toBe(pieces[i - 1]?.to ?? 0)
    }
  })

  test('of a file that has changed since are refused', async () => {
    const path = folder.file('moving.jsonl', jsonl('a', 'b'))
    const [part] = await openParts([path])
    const [piece] = await piecesOf(part!)
    writeFileSync(path, jsonl('a', 'c'))
    utimesSync(path, 1, 1)
    expect(await failure(all(documentsOf(piece!)))).toMatch(/DataError\[data-changed\].*moving.jsonl has changed/)
    expect(await failure(piecesOf(part!))).toMatch(/data-changed/)
  })

  test('fingerprints: of content, not of names or times', async () => {
    const of = async (path: string): Promise<string> => (await openParts([path]))[0]!.fingerprint()
    const [a, b, c] = [folder.file('f1.jsonl', jsonl('a')), folder.file('f2.jsonl', jsonl('a')), folder.file('f3.jsonl', jsonl('b'))]
    utimesSync(b, 5, 5)
    expect(await of(a)).toBe(await of(b))
    expect(await of(a)).not.toBe(await of(c))
    const big = folder.at('big.txt')
    const file = openSync(big, 'w')
    ftruncateSync(file, 100 * 2 ** 20)
    const before = await of(big)
    writeSync(file, 'x', 100 * 2 ** 20 - 1)
    closeSync(file)
    expect(await of(big)).not.toBe(before)
  })
})

describe('bad input', () => {
  const table: readonly (readonly [what: string, name: string, content: string | Uint8Array, says: RegExp, format?: DocumentFormat])[] = [
    ['no JSON', 'a.jsonl', '{"text":"a"}\n\n{"text":"b"\n', /not-json\].*\n {2}in +.*a\.jsonl:3\n {2}reason +.*JSON/],
    ['a list over several lines', 'b.jsonl', '[\n{"text":"a"}\n]', /b\.jsonl:1[^]*jq -c/],
    ['a number', 'c.jsonl', '17\n', /a line is 17, no object[^]*c\.jsonl:1/],
    ['no field', 'd.jsonl', '{"text":"a"}\n{"body":"b"}', /no field "text"[^]*d\.jsonl:2[^]*has +body/],
    ['not text', 'e.jsonl', '{"text":["a"]}', /"text" is a list, no text/],
    ['no chat', 'f.jsonl', '{"messages":"hi"}', /no list of messages/],
    ['a message without a role', 'g.jsonl', '{"messages":[{"content":"x"}]}', /message 1 of "messages" has no role/],
    ['content in parts', 'h.jsonl', '{"messages":[{"role":"user","content":[{"type":"image"}]}]}', /content of message 1 of "messages" is a list/],
    ['Latin-1', 'i.jsonl', Buffer.from('{"text":"a"}\n{"text":"caf\xe9"}\n', 'latin1'), /byte 0xe9 is not UTF-8\n {2}in +.*i\.jsonl:2[^]*iconv/],
    ['a character cut off by the end', 'j.txt', Buffer.from('caf\xc3', 'latin1'), /byte 0xc3 is not UTF-8/],
    ['UTF-16', 'k.txt', Buffer.from('\ufeffab', 'utf16le'), /iconv -f UTF-16/],
    ['no column', 'l.csv', 'id,txt\n1,a', /no column "text"[^]*l\.csv:1[^]*columns +id, txt[^]*did you mean "txt"/],
    ['two columns', 'm.csv', 'text,text\na,b', /two columns are called "text"/],
    ['too many fields', 'n.csv', 'id,text\n1,a\n2,b,c\n', /a record has 3 fields, the first line 2\n {2}in +.*n\.csv:3/],
    ['too few fields', 'o.csv', 'id,text\n1,a\n2\n', /a record has 1 field, the first line 2\n {2}in +.*o\.csv:3/],
    ['an open quote', 'p.csv', 'id,text\n1,"a\nb\n', /a quote is opened and never closed[^]*p\.csv:2/],
    ['text behind a quote', 'q.csv', 'id,text\n1,"a"b\n', /text follows a closing quote[^]*q\.csv:2/],
    ['a delimiter of two characters', 'r.csv', 'text', /^UsageError\[delimiter\] .*cannot be the delimiter/, { format: 'csv', delimiter: '::' }],
    ['not gzip', 's.jsonl.gz', jsonl('a'), /not compressed by gzip/],
    ['gzip cut off', 't.jsonl.gz', gzipSync(jsonl('a', 'b')).subarray(0, -9), /data-ends\].*t\.jsonl\.gz is cut off/],
    ['gzip spoilt', 'u.jsonl.gz', gzipSync(jsonl('a'.repeat(99))).fill(0x55, 12, 18), /spoilt-archive\].*cannot be decompressed/],
    ['rubbish behind gzip', 'v.jsonl.gz', Buffer.concat([gzipSync(jsonl('a')), Buffer.from('rubbish')]), /cannot be decompressed/],
    ['an empty .gz', 'w.jsonl.gz', '', /w\.jsonl\.gz is empty/],
    ['a name without a format', 'x.dat', 'a', /^DataError\[no-format\] .* does not tell its format[^]*text, jsonl, parquet, csv or tar/],
    ['.json', 'y.json', '[]', /jq -c/],
    ['an empty separator', 'z.txt', 'a', /^UsageError\[separator\] a separator is a line/, { format: 'text', separator: '' }],
    ['no format', 'z.txt', 'a', /^UsageError\[no-format\] there is no format "jsnl"[^]*did you mean "jsonl"/, { format: 'jsnl' } as unknown as DocumentFormat],
  ]
  for (const [what, name, content, says, format] of table) {
    test(what, async () => { expect(await failure(documents(folder.file(name, content), format === undefined ? {} : { format }))).toMatch(says) })
  }

  test('zstd cut off anywhere, and windows that are too large', async () => {
    const { readFileSync } = await import('node:fs')
    const whole = readFileSync(fixture('frames.jsonl.zst'))
    for (let length = 1; length < whole.length; length += 7) {
      // Between its frames it is only shorter.
      const said = await documents(folder.file('cut.jsonl.zst', whole.subarray(0, length))).then(() => 'read', (e: unknown) => String(e))
      expect(said).toMatch(/is cut off|cannot be decompressed|not JSON|not compressed by zstd|^read$/)
      if (said === 'read') expect(length).toBeGreaterThan(100)
    }
    expect(await failure(documents(folder.file('wide.jsonl.zst', Buffer.from('28b52ffd00f8010000', 'hex'))))).toMatch(/wants a window of \d+ bytes/)
  })

  test('a line without an end is an error before it fills the memory', async () => {
    const path = folder.at('endless.jsonl')
    const file = openSync(path, 'w')
    ftruncateSync(file, 2 ** 31)
    closeSync(file)
    expect(await failure(documents(path))).toMatch(/record-too-large\] a line has more than 128 MiB/)
    expect(await failure(documents(path, { format: { format: 'csv' } }))).toMatch(/record-too-large\] a record has more than 128 MiB/)
  })
})
