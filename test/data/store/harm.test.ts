/** Harm: every byte of a small store changed in turn, and every length it may be cut to, is found out or changes nothing. */
import { cpSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { MeshworkError } from '../../../src/core/errors.ts'
import { sha256 } from '../../../src/io/checksum.ts'
import { openSource } from '../../../src/data/store/open-source.ts'
import { openStore } from '../../../src/data/store/store.ts'
import { temporaryFolder } from '../temporary.ts'
import { all } from '../../support/depth.ts'
import { mutated } from '../sources/mutate.ts'
import { contentOf, makeStore } from './corpus.ts'

const at = temporaryFolder()
const messages = [{ role: 'user', content: 'a b' }, { role: 'assistant', content: 'c' }]
const store = await makeStore(at, 'small', [{ text: 'one' }, { messages }, { text: 'two 2' }].map(d => `${JSON.stringify(d)}\n`).join(''))

/** All that can be learnt of a store. */
async function everything(path: string): Promise<string> {
  const opened = await openStore(path)
  try {
    await opened.verify()
    const documents = Array.from({ length: opened.documents }, (_, d) => [[...opened.document(d)], [...opened.mask(d)], opened.source(d)])
    return JSON.stringify([opened.manifest, documents, sha256(readFileSync(join(path, 'tokenizer.json')))])
  } finally {
    opened.close()
  }
}
const calm = await everything(store)

/** The outcome with one file changed: `same`, or the error, which must be one of ours. */
async function outcome(file: string, content: Uint8Array): Promise<string> {
  writeFileSync(join(at.at('harmed'), file), content)
  try {
    return await everything(at.at('harmed')) === calm ? 'same' : 'OTHER'
  } catch (e) {
    return e instanceof MeshworkError && e.code.startsWith('store-') ? 'found' : `wrong error: ${String(e)}`
  }
}

test('every byte', async () => {
  cpSync(store, at.at('harmed'), { recursive: true })
  const seen: { [outcome: string]: number } = {}
  for (const file of readdirSync(store)) {
    const bytes = readFileSync(join(store, file))
    // Of a tokenizer, which is long, one byte in a few: each is under one checksum.
    for (let i = 0; i < bytes.length; i += file === 'tokenizer.json' && !all ? 97 : 1) {
      const changed = Uint8Array.from(bytes)
      changed[i] = (bytes[i] as number) ^ (1 << (i % 8))
      const found = await outcome(file, changed)
      seen[found] = (seen[found] ?? 0) + 1
      if (found === 'same') expect(file).toBe('manifest.json')
    }
    writeFileSync(join(at.at('harmed'), file), bytes)
  }
  expect(Object.keys(seen).filter(o => o !== 'found' && o !== 'same')).toEqual([])
  expect(seen['found']).toBeGreaterThan(1000)
  expect(contentOf(at.at('harmed'))).toEqual(contentOf(store))
  rmSync(at.at('harmed'), { recursive: true })
})

test('any changes, as many as files have', async () => {
  cpSync(store, at.at('harmed'), { recursive: true })
  const files = readdirSync(store)
  const seen = new Set<string>()
  for (let nth = 0; nth < (all ? 10_000 : 150); nth++) {
    const file = files[nth % files.length] ?? ''
    const bytes = readFileSync(join(store, file))
    const bad = mutated(bytes, 23, nth)
    // Some changes change nothing.
    if (bad.equals(bytes)) continue
    const found = await outcome(file, bad)
    if (found === 'same') expect([file, nth, JSON.parse(bad.toString())]).toEqual(['manifest.json', nth, JSON.parse(bytes.toString())])
    else seen.add(found)
    writeFileSync(join(at.at('harmed'), file), bytes)
  }
  expect([...seen]).toEqual(['found'])
  rmSync(at.at('harmed'), { recursive: true })
})

test('every length', async () => {
  cpSync(store, at.at('harmed'), { recursive: true })
  for (const file of readdirSync(store)) {
    const bytes = readFileSync(join(store, file))
    for (let n = 0; n < bytes.length; n += file === 'tokenizer.json' && !all ? 97 : 1) {
      const found = await outcome(file, bytes.subarray(0, n))
      // The manifest's last byte is a line end.
      expect([file, n, found]).toEqual([file, n, file === 'manifest.json' && n === bytes.length - 1 ? 'same' : 'found'])
    }
    rmSync(join(at.at('harmed'), file))
    await expect(openStore(at.at('harmed')).then(s => s.verify())).rejects.toThrow(file === 'manifest.json' ? /no-store/ : /store-harmed/)
    writeFileSync(join(at.at('harmed'), file), bytes)
  }
  rmSync(at.at('harmed'), { recursive: true })
})

test('what is harmed after a store was opened is found when it is read, and so is a file that shrinks', async () => {
  for (const harm of ['flip', 'cut'] as const) {
    const path = await makeStore(at, `open-${harm}`, '{"text":"one two three four"}\n'.repeat(9))
    const source = await openSource({ stores: [path], batch: 2, seq: 8, task: { kind: 'causal' }, heldOut: { share: 0 } })
    const file = join(path, 'tokens.bin')
    const bytes = readFileSync(file)
    if (harm === 'cut') truncateSync(file, bytes.length / 2)
    else writeFileSync(file, bytes.map((b, i) => (i === 7 ? b ^ 1 : b)))
    expect(() => Array.from({ length: 20 }, (_, step) => source.batch(step))).toThrow(harm === 'cut' ? /store-cut-off/ : /store-harmed/)
    source.close()
  }
})
