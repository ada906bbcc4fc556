/** A store of the cache is found again by files that nobody has touched, and none of them is read. */
import { mkdirSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { seen } from '../../../src/data/store/seen.ts'
import { prepareStore } from '../../../src/data/store/prepare.ts'
import { temporaryFolder } from '../temporary.ts'
import { tokenizerPath } from './corpus.ts'

const at = temporaryFolder()
const cache = at.at('cache')
mkdirSync(cache)
const text = at.file('text.txt', 'a text\n')
const about = { names: [text], further: [tokenizerPath], anyFormat: false, asked: '' }
/** When all files have lain still for long enough to be vouched for. */
const later = (): number => Date.now() + 5000
const look = () => seen(cache, about, later())

describe('files that were seen', () => {
  test('lead to the store, until one is touched', async () => {
    const first = await look()
    expect(first.folder).toBeUndefined()
    await first.note('/elsewhere/store')
    expect((await look()).folder).toBe(`${cache}/store`)
    // Asked for something else, or with another file beside them, they lead nowhere.
    expect((await seen(cache, { ...about, asked: 'windows' }, later())).folder).toBeUndefined()
    expect((await seen(cache, { ...about, further: [] }, later())).folder).toBeUndefined()
    // Of the same length, and with the same time of writing: the file system knows that it was touched all the same.
    const { atime, mtime } = statSync(text)
    writeFileSync(text, 'b text\n')
    utimesSync(text, atime, mtime)
    expect((await look()).folder).toBeUndefined()
  })

  test('are not remembered while a clock might not show that they are written again, nor where they changed meanwhile', async () => {
    const young = at.file('young.txt', 'a text\n')
    const of = { ...about, names: [young] }
    await (await seen(cache, of)).note('store')
    expect((await seen(cache, of)).folder).toBeUndefined()
    const before = await seen(cache, of, later())
    writeFileSync(young, 'another text\n')
    await before.note('store')
    expect((await seen(cache, of, later())).folder).toBeUndefined()
  })

  test('of a folder are all in it; what is no file is not remembered', async () => {
    const folder = at.at('folder')
    mkdirSync(folder)
    writeFileSync(`${folder}/one.txt`, 'one\n')
    const of = { ...about, names: [folder] }
    await (await seen(cache, of, later())).note('store')
    expect((await seen(cache, of, later())).folder).toBe(`${cache}/store`)
    writeFileSync(`${folder}/two.txt`, 'two\n')
    expect((await seen(cache, of, later())).folder).toBeUndefined()
    const there = readdirSync(cache).length
    await (await seen(cache, { ...about, names: [at.at('missing')] }, later())).note('store')
    expect(readdirSync(cache)).toHaveLength(there)
  })

  test('are no proof that the store is there', async () => {
    const options = { files: [text], out: { cache }, tokenizer: { path: tokenizerPath }, workers: 0 }
    const made = await prepareStore(options)
    expect(await prepareStore(options)).toMatchObject({ folder: made.folder, made: false })
    rmSync(made.folder, { recursive: true })
    expect(await prepareStore(options)).toMatchObject({ folder: made.folder, made: true })
  })
})
