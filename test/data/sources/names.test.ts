/** Names to files: folders, patterns, braces, in one order everywhere; pipes. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, symlinkSync } from 'node:fs'
import { relative } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openParts } from '../../../src/data/documents.ts'
import { braces, formatOf } from '../../../src/data/sources/names.ts'
import { temporaryFolder } from '../temporary.ts'
import { contents, failure, piecesOf } from './support.ts'

const folder = temporaryFolder()
mkdirSync(folder.at('d/sub/deep'), { recursive: true })
mkdirSync(folder.at('d/.git'))
mkdirSync(folder.at('bare'))
folder.file('bare/README.md', 'a')
for (const name of ['d/b.txt', 'd/a.txt', 'd/a10.jsonl', 'd/a9.jsonl', 'd/sub/c.txt', 'd/sub/deep/e.csv.gz', 'd/Z.txt', 'd/README.md', 'd/.hidden.txt', 'd/.git/x.txt', '[odd].txt']) folder.file(name, 'a')
symlinkSync('..', folder.at('d/sub/up'))
const found = async (...names: string[]): Promise<string[]> => (await openParts(names.map(n => folder.at(n)))).map(p => relative(folder.path, p.name))

describe('files', () => {
  test('a folder: all files with a format below it, by code units; nothing hidden, no circles', async () => {
    expect(await found('d')).toEqual(['d/Z.txt', 'd/a.txt', 'd/a10.jsonl', 'd/a9.jsonl', 'd/b.txt', 'd/sub/c.txt', 'd/sub/deep/e.csv.gz'])
    expect((await openParts([folder.at('d')], { format: { format: 'text' } })).map(p => relative(folder.path, p.name))).toContain('d/README.md')
  })

  test('patterns', async () => {
    expect(await found('d/*.txt')).toEqual(['d/Z.txt', 'd/a.txt', 'd/b.txt'])
    expect(await found('d/a?.jsonl', 'd/[a-b].txt')).toEqual(['d/a9.jsonl', 'd/a.txt', 'd/b.txt'])
    expect(await found('d/[!a].txt')).toEqual(['d/Z.txt', 'd/b.txt'])
    expect(await found('**/c.txt', 'd/**/*.gz')).toEqual(['d/sub/c.txt', 'd/sub/deep/e.csv.gz'])
    expect(await found('d/{b,a}.txt', 'd/a{9..10}.jsonl')).toEqual(['d/b.txt', 'd/a.txt', 'd/a9.jsonl', 'd/a10.jsonl'])
    expect(await found('[odd].txt')).toEqual(['[odd].txt'])
  })

  test('the same as what bash makes of them', async () => {
    const inBraces = ['a{1,2}b{x,y}', 's-{008..011}.tar', '{a}', '{8..10}', 'no', 'x{a,}']
    const globs = ['d/*', 'd/*/*.txt', 'd/[ab]*', 'd/?.txt']
    // A line for each, by one bash: starting it is what takes long.
    const program = ['LC_ALL=C', ...inBraces.map(p => `echo ${p}`), ...globs.map(p => `for f in ${p}; do [ -f $f ] && echo -n "$f "; done; echo`)].join('\n')
    const lines = execFileSync('bash', ['-c', program], { cwd: folder.path, encoding: 'utf8' }).trim().split('\n').map(line => line.trim().split(' '))
    expect(inBraces.map(braces)).toEqual(lines.slice(0, inBraces.length))
    for (const [i, pattern] of globs.entries()) {
      expect((await openParts([folder.at(pattern)], { format: { format: 'text' } })).map(p => relative(folder.path, p.name))).toEqual(lines[inBraces.length + i])
    }
  })

  test('bad input', async () => {
    expect(await failure(found('d/nothing*.txt'))).toMatch(/no file matches/)
    expect(await failure(found('d/bb.txt'))).toMatch(/no file .*did you mean "b\.txt"|there is no file[^]*did you mean "b\.txt"/)
    expect(await failure(found('d/a.txt', 'd/*.txt'))).toMatch(/^UsageError\[file-twice\] .*a\.txt is named twice/)
    expect(await failure(found('bare'))).toMatch(/no file in .* has a name that tells its format/)
    expect(await failure(openParts([]))).toMatch(/^UsageError\[no-files\] no data is named/)
    expect(await failure(found('x{9..1}.tar'))).toMatch(/stands for no file/)
  })

  test('formats by name', () => {
    expect(['a.JSONL.gz', 'b.tsv', 'c.tgz', 'https://h/p/d.parquet?x=.csv', 'e.constructor', 'f'].map(formatOf)).toEqual([{ format: 'jsonl' }, { format: 'csv', delimiter: '\t' }, { format: 'tar' }, { format: 'parquet' }, undefined, undefined])
  })
})

describe('a pipe', () => {
  test('gives its documents once, with their bytes, compressed or not', async () => {
    for (const write of ['printf \'{"text":"a"}\\n{"text":"b"}\'', 'printf \'{"text":"a"}\\n{"text":"b"}\' | gzip']) {
      const fifo = folder.at(`fifo${write.length}`)
      execFileSync('mkfifo', [fifo])
      const writer = spawn('bash', ['-c', `(${write}) > ${fifo}`])
      const [part] = await openParts([fifo], { format: { format: 'jsonl' } })
      const pieces = await piecesOf(part!, { bytes: 1 })
      expect(pieces.map(p => p.data?.length)).toEqual([13, 12])
      expect(part!.bytes).toBeUndefined()
      expect(await failure(piecesOf(part!))).toMatch(/is a pipe, which gives its bytes once/)
      await new Promise(resolve => writer.exitCode === null ? writer.once('exit', resolve) : resolve(undefined))
    }
  })
  test('cannot be Parquet', async () => {
    const fifo = folder.at('fifo.parquet')
    execFileSync('mkfifo', [fifo])
    const writer = spawn('bash', ['-c', `echo x > ${fifo}`])
    expect(await failure(contents(fifo))).toMatch(/can only be read from its start/)
    await new Promise(resolve => writer.exitCode === null ? writer.once('exit', resolve) : resolve(undefined))
  })
})
