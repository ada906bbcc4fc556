/** writeFileAtomic: whole or not there, and nothing left beside it. */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { writeAtomically, writeFileAtomic } from '../../src/io/atomic.ts'
import { FileError } from '../../src/core/errors.ts'
import { temporaryFolder } from '../data/temporary.ts'

const folder = temporaryFolder()

test('writes and replaces', async () => {
  await writeFileAtomic(folder.at('a'), 'one')
  await writeFileAtomic(folder.at('a'), new TextEncoder().encode('two'))
  expect(readFileSync(folder.at('a'), 'utf8')).toBe('two')
  expect(readdirSync(folder.path)).toEqual(['a'])
})

test('many at once: one of them, whole', async () => {
  const contents = Array.from({ length: 20 }, (_, i) => `${i}`.repeat(1000))
  await Promise.all(contents.map(content => writeFileAtomic(folder.at('race'), content)))
  expect(contents).toContain(readFileSync(folder.at('race'), 'utf8'))
  expect(readdirSync(folder.path)).toEqual(['a', 'race'])
})

test('a failure on the way leaves what was there', async () => {
  await writeFileAtomic(folder.at('kept'), 'old')
  const failing = writeAtomically(folder.at('kept'), async file => {
    await file.writeFile('half')
    throw new RangeError('stop')
  })
  await expect(failing).rejects.toThrow(RangeError)
  expect(readFileSync(folder.at('kept'), 'utf8')).toBe('old')
  expect(readdirSync(folder.path)).toEqual(['a', 'kept', 'race'])
})

test('a place that cannot be written', async () => {
  mkdirSync(folder.at('is-a-folder/with-something'), { recursive: true })
  for (const path of ['no/such/folder', 'a/below', 'is-a-folder']) {
    await expect(writeFileAtomic(folder.at(path), 'x')).rejects.toThrow(FileError)
    await expect(writeFileAtomic(folder.at(path), 'x')).rejects.toThrow(/FileError\[write\] cannot write [^]*fix {2,}/)
  }
  expect(readdirSync(folder.path)).toEqual(['a', 'is-a-folder', 'kept', 'race'])
})
