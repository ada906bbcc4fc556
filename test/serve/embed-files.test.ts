/** What becomes of embedding files that fails: at any stretch it goes on where it was, and what cannot be gone on with is told. */
import { mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { alone } from '../../src/runtime/processes.ts'
import { embedFiles, type EmbedFilesOptions } from '../../src/serve/embed-files.ts'
import type { Embedder } from '../../src/serve/embed.ts'
import { lengthsFor } from '../../src/serve/rows.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'meshwork-embed-'))
  writeFileSync(join(folder, 'texts.jsonl'), Array.from({ length: 23 }, (_, i) => `${JSON.stringify({ text: `text ${i}` })}\n`).join(''))
})
afterEach(() => { rmSync(folder, { recursive: true, force: true }) })

/** A text's number, twice; it fails before the text `fails`. */
const counting = (seen: number[], fails = Infinity, value = (n: number): number => n): Pick<Embedder, 'size' | 'window' | 'embed'> => ({
  size: 2, window: 8,
  embed: async texts => {
    const numbers = texts.map(t => Number(t.slice(5)))
    if (numbers.some(n => n === fails)) throw new Error('the devices are gone')
    seen.push(...numbers)
    return { vectors: numbers.map(n => Float32Array.of(value(n), n + 0.5)), cut: numbers.map(n => n % 10 === 3) }
  },
})
const options = (more: Partial<EmbedFilesOptions> = {}): EmbedFilesOptions => ({ input: [join(folder, 'texts.jsonl')], output: join(folder, 'v.jsonl'), identity: { model: 'a' }, stretch: 5, processes: alone, ...more })
const partial = (...names: readonly string[]): string => join(folder, '.v.jsonl.partial', ...names)
const rows = (): unknown[] => readFileSync(join(folder, 'v.jsonl'), 'utf8').trim().split('\n').map(line => JSON.parse(line) as unknown)
const whole = Array.from({ length: 23 }, (_, i) => ({ row: i, vector: [i, i + 0.5] }))

describe('a failure', () => {
  it.each([0, 4, 5, 12, 22])('before text %i: each text is embedded once, all are there, and those that were cut are counted', async fails => {
    const seen: number[] = []
    await expect(embedFiles(counting(seen, fails), options())).rejects.toThrow('the devices are gone')
    const before = 5 * Math.floor(fails / 5)
    expect(seen.length).toBe(before)
    // Nothing is left of what has nothing to go on with.
    expect(readdirSync(folder).length).toBe(before === 0 ? 1 : 2)
    expect(await embedFiles(counting(seen), options())).toMatchObject({ texts: 23, before, cut: 2 })
    expect(seen).toEqual(whole.map(w => w.row))
    expect(rows()).toEqual(whole)
    expect(readdirSync(folder).sort()).toEqual(['texts.jsonl', 'v.jsonl'])
  })

  it('three times over', async () => {
    const seen: number[] = []
    for (const fails of [7, 13, 21]) await expect(embedFiles(counting(seen, fails), options())).rejects.toThrow()
    await embedFiles(counting(seen), options())
    expect(seen).toEqual(whole.map(w => w.row))
    expect(rows()).toEqual(whole)
  })

  it('of an abort too', async () => {
    const controller = new AbortController()
    const seen: number[] = []
    const embedder = counting(seen)
    await expect(embedFiles({ ...embedder, embed: async (...args) => { if (seen.length === 5) controller.abort(); return embedder.embed(...args) } }, options({ signal: controller.signal }))).rejects.toThrow('abort')
    expect(seen.length).toBe(10)
    expect(await embedFiles(counting(seen), options())).toMatchObject({ before: 10 })
    expect(rows()).toEqual(whole)
  })
})

describe('what cannot be gone on with', () => {
  const begun = async (): Promise<void> => { await expect(embedFiles(counting([], 12), options())).rejects.toThrow() }

  it('other work, other texts, a file that is cut off', async () => {
    await begun()
    await expect(embedFiles(counting([]), options({ identity: { model: 'b' } }))).rejects.toThrow(/other-work[^]*another model[^]*then +"a"[^]*now +"b"[^]*--restart/)
    writeFileSync(join(folder, 'texts.jsonl'), '{"text":"text 99"}\n')
    await expect(embedFiles(counting([]), options())).rejects.toThrow(/other-work[^]*another texts/)
    expect(await embedFiles(counting([]), options({ restart: true }))).toMatchObject({ texts: 1, before: 0 })
  })

  it('a file of results that is shorter than what was noted', async () => {
    await begun()
    truncateSync(partial('vectors.f32'), 30)
    await expect(embedFiles(counting([]), options())).rejects.toThrow(/partial-damaged[^]*30 bytes, and 80 were written/)
    writeFileSync(partial('reached.json'), '{"items"')
    await expect(embedFiles(counting([]), options())).rejects.toThrow(/partial-damaged/)
    expect(await embedFiles(counting([]), options({ restart: true }))).toMatchObject({ texts: 23, before: 0 })
  })

  it('a vector that is not finite, told with its text', async () => {
    await expect(embedFiles(counting([], Infinity, n => (n === 17 ? NaN : n)), options())).rejects.toThrow(/not-finite[^]*texts\.jsonl:18/)
  })

  it('an output that is there, unless it is to be made anew', async () => {
    await embedFiles(counting([]), options())
    await expect(embedFiles(counting([]), options())).rejects.toThrow(/out-exists/)
    expect(await embedFiles(counting([]), options({ restart: true }))).toMatchObject({ texts: 23 })
  })
})

it('lengths are powers of two up to the window, and the window', () => {
  expect([lengthsFor(16), lengthsFor(32), lengthsFor(200), lengthsFor(512)]).toEqual([[16], [32], [32, 64, 128, 200], [32, 64, 128, 256, 512]])
})
