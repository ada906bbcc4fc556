/** Text files, good and bad, and the default corpus. */
import { mkdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { DataError } from '../../src/core/errors.ts'
import { defaultCorpus, readCorpus } from '../../src/data/corpus.ts'
import { temporaryFolder } from './temporary.ts'

const folder = temporaryFolder()
const documents = async (...paths: string[]): Promise<readonly string[]> => (await readCorpus(paths)).documents()

describe('files', () => {
  test('a byte order mark goes, lines end in \\n', async () => {
    expect(await documents(folder.file('dos.txt', '\ufeffone\r\ntwo\rthree\n'))).toEqual(['one\ntwo\rthree\n'])
  })

  test('one document a file, or several with <|endoftext|> between them', async () => {
    const [a, b] = [folder.file('a.txt', 'one'), folder.file('b.txt', 'two<|endoftext|>\n<|endoftext|>three')]
    expect(await documents(a, b)).toEqual(['one', 'two', 'three'])
  })

  test('identity: the content, not the name', async () => {
    const of = async (...paths: string[]): Promise<string> => (await readCorpus(paths)).identity
    const [a, same, other] = [folder.file('1.txt', 'ab'), folder.file('2.txt', 'ab'), folder.file('3.txt', 'ba')]
    expect(await of(a)).toBe(await of(same))
    expect(await of(a)).not.toBe(await of(other))
    expect(await of(a, other)).not.toBe(await of(folder.file('4.txt', 'abba')))
    expect(await of(a, other)).not.toBe(await of(other, a))
  })

  test('names', async () => {
    const paths = ['p', 'q', 'r', 's', 't'].map(name => folder.file(name, name))
    expect((await readCorpus(paths.slice(0, 2))).name).toBe('p, q')
    expect((await readCorpus(paths)).name).toBe('p, q, r and 2 more')
  })

  mkdirSync(folder.at('folder'))
  const latin1 = Uint8Array.of(0x63, 0x61, 0x66, 0xe9, 0x20, 0x61)
  test.each<[string, string, string, RegExp]>([
    ['missing', folder.at('nope.bin'), 'no-such-file', /there is no file .*nope\.bin/],
    ['misspelt', folder.at('speling.text'), 'no-such-file', /did you mean "spelling\.text"/],
    ['a folder', folder.at('folder'), 'is-folder', /is a folder/],
    ['below a file', `${folder.file('plain.md', 'x')}/y`, 'no-such-file', /there is no file/],
    // Even root cannot read the first page of a process.
    ['unreadable', '/proc/self/mem', 'unreadable', /cannot read/],
    ['empty', folder.file('empty.csv', ''), 'empty-text', /is empty/],
    ['white space only', folder.file('blank.csv', ' \n\t\u3000\r\n'.repeat(2000)), 'empty-text', /nothing but white space/],
    ['Latin-1', folder.file('latin1.csv', latin1), 'not-utf8', /byte 4 \(0x20\)/],
    ['a stray byte', folder.file('stray.csv', Uint8Array.of(0x61, 0xff, 0x61)), 'not-utf8', /byte 1 \(0xff\)/],
    ['cut off', folder.file('cut.csv', Buffer.from('abc😀').subarray(0, 6)), 'not-utf8', /byte 3 \(0xf0\)/],
    ['UTF-16', folder.file('utf16.csv', Buffer.from('\ufeffhello', 'utf16le')), 'not-utf8', /iconv -f UTF-16/],
  ])('%s: one clear error', async (_, path, code, message) => {
    folder.file('spelling.text', 'x')
    const problem = await readCorpus([folder.file('good.csv', 'good'), path]).catch((error: unknown) => error)
    expect(problem).toBeInstanceOf(DataError)
    const error = problem as DataError
    expect(error.code).toBe(code)
    expect(error.message).toMatch(message)
    expect(error.message).toContain(path)
    expect(error.problem.fix).toBeTypeOf('string')
  })

  test('a fault far into a large file has its offset', async () => {
    const bytes = Buffer.from('é'.repeat(500_000))
    bytes[654_321] = 0x41
    await expect(documents(folder.file('large.csv', bytes))).rejects.toThrow(/byte 654321 \(0x41\)/)
  })
})

describe('the default corpus', () => {
  test('233 addresses, in the order of their years', async () => {
    const corpus = await defaultCorpus()
    const all = await corpus.documents()
    expect(all).toHaveLength(233)
    expect(all[0]).toMatch(/^Fellow-Citizens of the Senate and House of Representatives: In meeting you again/)
    expect(all.every(text => text.length > 5000 && !text.includes('\r'))).toBe(true)
    expect(corpus.identity).toMatch(/^@stdlib\/datasets-sotu@\d/)
    expect(corpus.licence).toMatch(/PDDL-1\.0.*CC0/)
  })

  test('not installed', async () => {
    const problem = defaultCorpus(() => { throw new Error('Cannot find module') })
    await expect(problem).rejects.toThrow(DataError)
    await expect(problem).rejects.toThrow(/npm install, or .*--data FILE/)
  })
})
