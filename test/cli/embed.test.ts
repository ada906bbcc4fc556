/** Texts to vectors: the same on every mesh and in every company, whole after a kill, and what is refused. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openNpy } from '../../src/data/index.ts'
import { tinyEmbedder, tinyLlama, bertWords } from '../support/tiny-models.ts'
import { jsonLines, openServer, run, temporaryPlace, type Ended, type Server } from './support.ts'

const place = temporaryPlace()
const env = { MESHWORK_CACHE_DIR: join(place.path, 'cache') }
let server: Server
const meshwork = (...args: readonly string[]): Promise<Ended> => server.run(args, { cwd: place.path, env })
const embed = (...args: readonly string[]): Promise<Ended> => meshwork('embed', 'model', '--plugin', 'simulate', ...args)
const at = (...names: readonly string[]): string => join(place.path, ...names)

const textOf = (i: number, words = 3 + i % 5): string => Array.from({ length: words }, (_, k) => bertWords[(i * 7 + k * k) % bertWords.length]).join(' ')
const texts = Array.from({ length: 40 }, (_, i) => (i === 33 ? textOf(i, 40) : i === 5 ? textOf(i, 60) : textOf(i)))
const jsonl = (all: readonly string[]): string => all.map(text => `${JSON.stringify({ id: 1, text })}\n`).join('')
const vectorsIn = (name: string): number[][] => jsonLines(readFileSync(at(name), 'utf8')).map(line => line['vector'] as number[])
const worst = (a: readonly number[][], b: readonly number[][]): number => Math.max(...a.flatMap((row, i) => row.map((x, k) => Math.abs(x - (b[i]?.[k] ?? NaN)))))

beforeAll(async () => {
  server = openServer()
  tinyEmbedder(at('model'))
  tinyEmbedder(at('other'), { seed: 9 })
  place.file('texts.jsonl', jsonl(texts))
  const { code, out, err } = await embed('--input', 'texts.jsonl', '--output', 'whole.jsonl', '--rows', '4', '--json')
  expect({ code, err }).toEqual({ code: 0, err: '' })
  expect(JSON.parse(out)).toEqual({ output: 'whole.jsonl', texts: 40, size: 8, cut: 1, window: 48, before: 0 })
})
afterAll(() => { place.remove() })

describe('vectors', () => {
  it('are 1 long, one a text, in order; nothing is left beside them', () => {
    const found = vectorsIn('whole.jsonl')
    expect(found.length).toBe(40)
    for (const vector of found) expect(Math.hypot(...vector)).toBeCloseTo(1, 6)
    expect(place.list().filter(name => name.includes('.partial'))).toEqual([])
    // Texts differ, and so do their vectors.
    expect(worst(found.slice(0, 1), found.slice(1, 2))).toBeGreaterThan(1e-3)
  })

  it('are the same on a mesh of 2×2, in other company, and from CSV', async () => {
    expect((await embed('--input', 'texts.jsonl', '--output', 'mesh.jsonl', '--batch', '2', '--model', '2', '--rows', '6')).code).toBe(0)
    expect(worst(vectorsIn('mesh.jsonl'), vectorsIn('whole.jsonl'))).toBeLessThan(1e-6)
    place.file('few.csv', `id,body\n1,${texts[7]}\n2,"${texts[33]}"\n`)
    expect((await embed('--input', 'few.csv', '--field', 'body', '--output', 'few.jsonl', '--rows', '1')).code).toBe(0)
    const all = vectorsIn('whole.jsonl')
    expect(worst(vectorsIn('few.jsonl'), [all[7]!, all[33]!])).toBeLessThan(1e-6)
  })

  it('are the same numbers in Parquet and .npy', async () => {
    for (const output of ['whole.parquet', 'whole.npy']) expect((await embed('--input', 'texts.jsonl', '--output', output)).code).toBe(0)
    const rows = await parquetReadObjects({ file: await asyncBufferFromFile(at('whole.parquet')) }) as { vector: number[] }[]
    expect(rows.map(r => r.vector.map(x => Number(x.toPrecision(9))))).toEqual(vectorsIn('whole.jsonl'))
    const npy = await openNpy({ vector: at('whole.npy') })
    expect([npy.count, npy.columns.vector]).toEqual([40, { dtype: 'f32', shape: [8] }])
    expect(Array.from((await npy.read([39])).vector as Float32Array)).toEqual(rows[39]?.vector.map(Math.fround))
    await npy.close()
  })

  it('of a decoder are its states\' mean; of a text longer than the window, those of what is left', async () => {
    tinyLlama(at('llama'), { positions: 16 })
    const { code, out, err } = await meshwork('embed', 'llama', '--plugin', 'simulate', '--input', 'texts.jsonl', '--output', 'llama.jsonl', '--json')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(JSON.parse(out)).toMatchObject({ texts: 40, window: 16 })
    expect(vectorsIn('llama.jsonl').length).toBe(40)
  })
})

describe('a kill', () => {
  it('in the middle loses nothing and doubles nothing; other work in its place is refused', async () => {
    const args = ['embed', 'model', '--plugin', 'simulate', '--input', 'long.jsonl', '--output', 'killed.jsonl', '--rows', '1']
    // A stretch is 16 texts: the third has the first long one, and its program is told of when two are done.
    place.file('long.jsonl', jsonl(texts.filter((_, i) => i !== 5)))
    const { signal } = await run(args, { cwd: place.path, env, onOutput: (all, child) => { if (all.includes('compiling for 48')) child.kill('SIGKILL') } })
    expect(signal).toBe('SIGKILL')
    expect(existsSync(at('killed.jsonl'))).toBe(false)
    expect(JSON.parse(readFileSync(at('.killed.jsonl.partial/reached.json'), 'utf8'))).toEqual({ items: 32, bytes: 32 * 8 * 4, counts: { cut: 0 } })
    // A stretch that was written by half.
    writeFileSync(at('.killed.jsonl.partial/vectors.f32'), Buffer.concat([readFileSync(at('.killed.jsonl.partial/vectors.f32')), Buffer.alloc(50, 7)]))
    expect(await meshwork('embed', 'other', ...args.slice(2))).toMatchObject({ code: 1, err: expect.stringMatching(/other-work[^]*another model/) as string })
    expect(await meshwork(...args, '--seq', '40')).toMatchObject({ code: 1, err: expect.stringMatching(/other-work[^]*another window/) as string })
    const again = await meshwork(...args, '--json')
    expect(again.code, again.err).toBe(0)
    expect(JSON.parse(again.out)).toMatchObject({ texts: 39, before: 32 })
    expect(worst(vectorsIn('killed.jsonl'), vectorsIn('whole.jsonl').filter((_, i) => i !== 5))).toBeLessThan(1e-6)
    expect(existsSync(at('.killed.jsonl.partial'))).toBe(false)
  })
})

describe('refused', () => {
  it.each<readonly [what: string, args: readonly string[], says: RegExp]>([
    ['an output that is there', ['--input', 'texts.jsonl', '--output', 'whole.jsonl'], /out-exists[^]*--restart/],
    ['an ending that is no format', ['--input', 'texts.jsonl', '--output', 'x.bin'], /output\] x\.bin[^]*\.parquet, \.jsonl, \.npy/],
    ['a field that is missing', ['--input', 'texts.jsonl', '--field', 'body', '--output', 'x.npy'], /no-field[^]*"body"[^]*texts\.jsonl:1/],
    ['files with nothing in them', ['--input', 'empty.jsonl', '--output', 'x.npy'], /empty-data/],
    ['files that are not there', ['--input', 'nowhere.jsonl', '--output', 'x.npy'], /no-such-file/],
    ['a window that the model has not', ['--input', 'texts.jsonl', '--output', 'x.npy', '--seq', '49'], /--seq: "49"[^]*from 1 to 48/],
    ['rows that the mesh does not divide', ['--input', 'texts.jsonl', '--output', 'x.npy', '--rows', '3', '--batch', '2'], /LayoutError/],
  ])('%s', async (_, args, says) => {
    place.file('empty.jsonl', '\n')
    const { code, out, err } = await embed(...args)
    expect({ failed: code === 1 || code === 2, out }).toEqual({ failed: true, out: '' })
    expect(err).toMatch(says)
    expect([existsSync(at('x.npy')), existsSync(at('.x.npy.partial'))]).toEqual([false, false])
  })

  it('poolings and modules that are not computed, and models that give no vectors', async () => {
    const tried = async (name: string): Promise<string> => (await meshwork('embed', name, '--plugin', 'simulate', '--input', 'texts.jsonl', '--output', 'x.npy')).err
    tinyEmbedder(at('odd'), { pooling: 'weightedmean_tokens' })
    expect(await tried('odd')).toMatch(/pooling_mode_weightedmean_tokens is not computed/)
    tinyEmbedder(at('last'), { pooling: 'lasttoken' })
    expect(await tried('last')).toMatch(/pooling by "last" is not computed for a model of type bert/)
    place.file('model2/config.json', readFileSync(at('model/config.json')))
    expect(await tried('model2')).toMatch(/no-tokenizer/)
  })
})
