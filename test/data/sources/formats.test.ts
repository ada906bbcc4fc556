/** Parquet and tar to documents, as pyarrow, webdataset and Python's tarfile write them. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { temporaryFolder } from '../temporary.ts'
import { contents, documents, expected, failure, fixture } from './support.ts'

const folder = temporaryFolder()

describe('Parquet', () => {
  const files = ['snappy', 'zstd', 'gzip', 'brotli', 'lz4', 'none', 'pages', 'lengths', 'prefixes']
  test.each(files)('%s: every column, in pieces of any size', async name => {
    for (const [field, texts] of [['text', expected.texts], ['nullable', expected.nullable], ['large', expected.texts]] as const) {
      for (const bytes of [1, 300, 2 ** 20]) {
        const found = await documents(fixture(`${name}.parquet`), { format: { format: 'parquet', field }, bytes })
        expect(found.map(d => d.content)).toEqual(texts)
        expect(found.map(d => d.record)).toEqual(texts.map((_, i) => i))
        expect(found[17]?.at).toBe(`${fixture(`${name}.parquet`)}, row 17`)
      }
    }
  })

  test('a column without nulls, a file without rows', async () => {
    expect(await contents(fixture('required.parquet'))).toEqual(expected.texts)
    expect(await contents(fixture('empty.parquet'))).toEqual([])
  })

  test('chats', async () => {
    expect(await contents(fixture('chats.parquet'), { format: { format: 'parquet', messages: 'messages' } })).toEqual(expected.chats)
  })

  test('bad input', async () => {
    const snappy = fixture('snappy.parquet')
    const bytes = readFileSync(snappy)
    expect(await failure(documents(snappy, { format: { format: 'parquet', field: 'txt' } }))).toMatch(/no column "txt"[^]*did you mean "text"/)
    expect(await failure(documents(snappy, { format: { format: 'parquet', field: 'id' } }))).toMatch(/"id" holds INT64, no text/)
    expect(await failure(documents(fixture('chats.parquet'), { format: { format: 'parquet', field: 'messages' } }))).toMatch(/"messages" holds lists or structs/)
    expect(await failure(documents(snappy, { format: { format: 'parquet', messages: 'text' } }))).toMatch(/"text" holds no chats/)
    expect(await failure(documents(folder.file('cut.parquet', bytes.subarray(0, -10))))).toMatch(/does not end as Parquet does[^]*cut off/)
    expect(await failure(documents(folder.file('packed.parquet.gz', bytes)))).toMatch(/index is at its end/)
    const spoilt = Buffer.from(readFileSync(fixture('gzip.parquet')))
    spoilt[3000] = (spoilt[3000] ?? 0) ^ 1
    expect(await failure(Promise.all(['text', 'large', 'nullable'].map(field => documents(folder.file('spoilt.parquet', spoilt), { format: { format: 'parquet', field } }))))).toMatch(/bad-parquet\] the checksum of a page is wrong\n {2}in +.*spoilt\.parquet, byte \d+/)
  })
})

describe('tar', () => {
  test('webdataset: the member that is the text, in pieces of any size', async () => {
    for (const bytes of [1, 5000, 2 ** 20]) {
      const found = await documents(fixture('webdataset.tar'), { bytes })
      expect(found.map(d => d.content)).toEqual(expected.texts.slice(0, 20).map(t => t.replaceAll('\r\n', '\n')))
      expect(found.map(d => d.record)).toEqual(found.map((_, i) => i))
      expect(found[3]?.at).toBe(`${fixture('webdataset.tar')}:shard/0003`)
    }
    expect(await contents(fixture('webdataset.tar'), { format: { format: 'tar', field: 'cls' } })).toEqual(Array.from({ length: 20 }, (_, i) => String(i)))
  })

  test('long names of GNU, pax and ustar; fields in small letters', async () => {
    for (const name of ['gnu', 'pax']) expect(await contents(fixture(`${name}.tar`), { format: { format: 'tar', field: 'tags.txt' } })).toEqual(expected.texts.slice(0, 5))
    const found = await documents(fixture('ustar.tar'))
    expect(found.map(d => d.at)).toEqual(Array.from({ length: 5 }, (_, i) => `${fixture('ustar.tar')}:${'d/'.repeat(60)}${i}`))
  })

  /** A member, its size in octal or in base 256. */
  const member = (name: string, content: string, { kind = '0', binary = false, sum = 0 } = {}): Buffer => {
    const header = Buffer.alloc(512)
    header.write(name)
    header.write('0000644', 100)
    if (binary) header.writeUIntBE(content.length, 130, 6)
    else header.write(content.length.toString(8).padStart(11, '0'), 124)
    if (binary) header[124] = 0x80
    header.write('        ', 148)
    header.write(kind, 156)
    header.write('ustar\u000000', 257)
    header.write(`${(header.reduce((n, b) => n + b, 0) + sum).toString(8).padStart(6, '0')}\0 `, 148)
    return Buffer.concat([header, Buffer.from(content), Buffer.alloc((512 - content.length % 512) % 512)])
  }
  const end = Buffer.alloc(1024)

  test('sizes in base 256; folders, names of the archive\'s own and hidden ones are passed over; no blocks at the end', async () => {
    const path = folder.file('own.tar', Buffer.concat([member('d/', '', { kind: '5' }), member('d/__meta__.txt', 'no'), member('d/.hidden', 'no'), member('d/a.txt', 'a', { binary: true }), member('d/a.x.TXT', 'b'), member('d/b.x', ''), member('d/b.txt', 'c')]))
    expect((await documents(path)).map(d => [d.at.split(':')[1], d.content])).toEqual([['d/a', 'a'], ['d/b', 'c']])
    expect(await documents(folder.file('none.tar', end))).toEqual([])
  })

  test.each([
    ['no text', [member('a.txt', 'a'), member('b.jpg', 'b'), end], /no member \.txt\n {2}in +.*:b/],
    ['two texts', [member('a.txt', 'a'), member('a.txt', 'b'), end], /two members \.txt\n {2}in +.*:a/],
    ['a wrong checksum', [member('a.txt', 'a'), member('b.txt', 'b', { sum: 1 }), end], /checksum of a header is wrong[^]*byte 1024/],
    ['cut off within a member', [member('a.txt', 'a'), member('b.txt', 'b'.repeat(2000)).subarray(0, 1000)], /is cut off/],
    ['cut off within a header', [member('a.txt', 'a'), member('b.txt', 'b').subarray(0, 100)], /ends within a header/],
    ['cut off within the last block', [member('a.txt', 'a'.repeat(400)).subarray(0, 700)], /ends behind the archive/],
    ['no archive', [Buffer.from('hello '.repeat(200))], /bad-tar/],
    ['a pax record that is none', [member('p', '99 path=x\n', { kind: 'x' }), member('a.txt', 'a'), end], /extended header is not made of/],
  ] as const)('bad input: %s', async (_, blocks, says) => {
    expect(await failure(documents(folder.file('bad.tar', Buffer.concat(blocks))))).toMatch(says)
  })
})
