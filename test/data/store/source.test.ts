/** Batches of a store: the same on every mesh, with any number of workers, after any number of resumes. */
import { copyFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { sha256Parts } from '../../../src/io/checksum.ts'
import { openSource, type SourceOptions, type StoreSource } from '../../../src/data/store/open-source.ts'
import { prefetch } from '../../../src/data/store/prefetch.ts'
import { stretchesOf, type RowKind } from '../../../src/data/store/row-table.ts'
import type { AnyBatch, Task } from '../../../src/data/store/source.ts'
import { openStore } from '../../../src/data/store/store.ts'
import { restore } from '../../../src/data/tasks/spans.ts'
import { temporaryFolder } from '../temporary.ts'
import { jsonLines, makeStore } from './corpus.ts'

const at = temporaryFolder()
const one = await makeStore(at, 'one', jsonLines(1, 211, 60), { pieceBytes: 3000 })
const two = await makeStore(at, 'two', jsonLines(2, 40, 30))
const open: { close(): void }[] = []
afterAll(() => { for (const s of open) s.close() })
async function sourceOf<T extends Task>(options: Omit<Partial<SourceOptions<T>>, 'task'> & { readonly task: T }) {
  const source = await openSource<T>({ stores: [one], batch: 6, seq: 32, seed: 9, ...options })
  open.push(source)
  return source
}
const causal = { kind: 'causal' } as const

const hashOf = (batch: AnyBatch): string => sha256Parts(Object.entries(batch as unknown as { readonly [field: string]: Int32Array | Float32Array }).flatMap(([name, a]) => [name, new Uint8Array(a.buffer as ArrayBuffer, a.byteOffset, a.byteLength)]))
/** Rows of several batches under each other. */
const stacked = (parts: readonly AnyBatch[]): AnyBatch => {
  const fields = Object.keys(parts[0] as AnyBatch)
  const of = (part: AnyBatch, field: string): Int32Array | Float32Array => (part as unknown as { readonly [f: string]: Int32Array | Float32Array })[field] as Int32Array
  return Object.fromEntries(fields.map(f => {
    const all = parts.map(p => of(p, f))
    const size = all.reduce((n, a) => n + a.length, 0)
    const joined = all[0] instanceof Int32Array ? new Int32Array(size) : new Float32Array(size)
    let at = 0
    for (const a of all) {
      joined.set(a, at)
      at += a.length
    }
    return [f, joined]
  })) as unknown as AnyBatch
}

const tasks: readonly Task[] = [causal, { kind: 'prefix' }, { kind: 'masked' }, { kind: 'spans' }]
describe.each(tasks.map(t => [t.kind, t] as const))('%s', (_, task) => {
  test.each([1, 2, 3, 6])('the same of %i data-parallel coordinates, and of accumulated parts', async coordinates => {
    const source = await sourceOf({ task })
    const per = 6 / coordinates
    for (const step of [0, 1, 40, 7]) {
      const parts = Array.from({ length: coordinates }, (_, c) => source.batch(step, { from: c * per, to: (c + 1) * per }))
      expect(hashOf(stacked(parts))).toBe(hashOf(source.batch(step)))
    }
  })

  test('made ahead in threads it is what it is in this one', async () => {
    const source = await sourceOf({ task })
    const ahead = prefetch<AnyBatch>(source as StoreSource<AnyBatch>, { rows: { from: 1, to: 5 }, from: 3, depth: 3, workers: task.kind === 'causal' ? 3 : 1 })
    try {
      for (let step = 3; step < 9; step++) {
        const taken = await ahead.next()
        expect([taken.step, hashOf(taken.batch)]).toEqual([step, hashOf(source.batch(step, { from: 1, to: 5 }))])
        expect(taken.waited).toBeGreaterThanOrEqual(0)
      }
    } finally {
      await ahead.close()
    }
  })
})

describe('position', () => {
  test('three resumes in one epoch, before a new save, and one in the third, at any depth: the calm run\'s batches', async () => {
    // A number of rows that is prime, and three accumulated parts of two rows each.
    const prime = await makeStore(at, 'prime', jsonLines(4, 37, 6))
    const options = { stores: [prime], batch: 6, seq: 64, heldOut: { share: 0 }, rows: 'padded' as const, task: causal }
    const source = await sourceOf(options)
    expect(source.rows).toEqual([37])
    const part = (source: StoreSource<AnyBatch>, step: number): string => hashOf(stacked([0, 2, 4].map(from => source.batch(step, { from, to: from + 2 }))))
    const steps = Math.ceil(4 * 37 / 6)
    const calm = Array.from({ length: steps }, (_, step) => part(source, step))
    expect(new Set(calm).size).toBe(steps)
    // Runs end after so many steps, or before they have taken any; the last one begins in the third epoch.
    for (const depth of [0, 1, 8]) {
      const seen: string[] = []
      for (const take of [3, 2, 0, 1, 10, steps]) {
        const again = await sourceOf(options)
        const run = prefetch({ batch: (step: number) => part(again, step) }, { rows: { from: 0, to: 6 }, from: seen.length, depth })
        for (let i = 0; i < take && seen.length < steps; i++) seen.push((await run.next()).batch)
        await run.close()
      }
      expect(seen).toEqual(calm)
    }
  })

  test('an epoch has every row once, and ends within a step', async () => {
    const source = await sourceOf({ task: causal })
    const [rows = 0] = source.rows
    const seen: string[] = []
    for (let step = 0; step * 6 < 2 * rows; step++) seen.push(...source.documentsOfStep(step).map(row => JSON.stringify(row.map(d => [d.document, d.from]))))
    expect(new Set(seen.slice(0, rows)).size).toBe(rows)
    expect(new Set(seen.slice(rows, 2 * rows))).toEqual(new Set(seen.slice(0, rows)))
    expect(seen.slice(0, rows)).not.toEqual(seen.slice(rows, 2 * rows))
  })

  test('steps of epochs and of a budget of tokens', async () => {
    const source = await sourceOf({ task: causal })
    const [rows = 0] = source.rows
    expect(source.stepsFor({ epochs: 2 })).toBe(Math.ceil(2 * rows / 6))
    expect(source.stepsFor({ tokens: 10_000 })).toBe(Math.ceil(10_000 / (6 * 32 * source.fill)))
    expect(source.fill).toBeGreaterThan(0.9)
  })
})

describe('rows', () => {
  test.each<RowKind>(['packed', 'padded'])('%s: every token of every document is seen once, and predicted once but the first', async kind => {
    const [source, store] = [await sourceOf({ task: causal, rows: kind, heldOut: { share: 0 } }), await openStore(one)]
    open.push(store)
    const [inputs, targets] = [new Map<number, number[]>(), new Map<number, number[]>()]
    const put = (m: Map<number, number[]>, d: number, i: number, id: number): void => { m.set(d, m.get(d) ?? []); (m.get(d) as number[])[i] = id }
    const [rows = 0] = source.rows
    for (let n = 0; n < rows; n++) {
      const [step, row] = [Math.floor(n / 6), n % 6]
      const b = source.batch(step, { from: row, to: row + 1 })
      const documents = source.documentsOfStep(step, { from: row, to: row + 1 })[0] ?? []
      let place = 0
      documents.forEach(({ document, from, length }, s) => {
        for (let i = 0; i < length; i++, place++) {
          put(inputs, document, from + i, b.tokens[place] as number)
          put(targets, document, from + i + 1, b.targets[place] as number)
          if (b.segments[place] !== s + 1 || b.positions[place] !== i || b.weights[place] !== 1) throw new Error(`place ${place} of row ${n}`)
        }
      })
      for (; place < 32; place++) expect([b.segments[place], b.weights[place]]).toEqual([0, 0])
    }
    for (let d = 0; d < store.documents; d++) {
      const ids = [...store.document(d)]
      if (ids.length < 2) continue
      expect(inputs.get(d)).toEqual(ids.slice(0, -1))
      expect(targets.get(d)?.slice(1)).toEqual(ids.slice(1))
    }
  })

  test('windows: the whole text in order, each target the token behind', async () => {
    const [source, store] = [await sourceOf({ task: causal, rows: 'windows', heldOut: { share: 0 } }), await openStore(one)]
    open.push(store)
    const all = Array.from({ length: store.documents }, (_, d) => [...store.document(d)]).flat()
    const table = source.spec.stores[0]?.table
    const [rows = 0] = source.rows
    expect(rows).toBe(Math.floor((all.length - 1) / 32))
    const found = new Map<number, { readonly tokens: number[]; readonly targets: number[] }>()
    for (let n = 0; n < rows; n++) {
      const b = source.batch(Math.floor(n / 6), { from: n % 6, to: n % 6 + 1 })
      const [first] = source.documentsOfStep(Math.floor(n / 6), { from: n % 6, to: n % 6 + 1 })[0] ?? []
      found.set((store.starts[first?.document ?? 0] as number) + (first?.from ?? 0), { tokens: [...b.tokens], targets: [...b.targets] })
    }
    for (let row = 0; row < rows; row++) expect(found.get(row * 32)).toEqual({ tokens: all.slice(row * 32, row * 32 + 32), targets: all.slice(row * 32 + 1, row * 32 + 33) })
    expect(table === undefined ? [] : stretchesOf(table, 0).reduce((n, s) => n + s.length, 0)).toBe(33)
  })

  test('spans of the text, restored, are the text', async () => {
    const source = await sourceOf({ task: { kind: 'spans' }, heldOut: { share: 0 } })
    const { sentinels } = source.spec.ids
    const b = source.batch(2, { from: 3, to: 4 })
    const [documents = []] = source.documentsOfStep(2, { from: 3, to: 4 })
    const text = documents.flatMap(d => [...(source.stores[0] as StoreSource<AnyBatch>['stores'][number]).document(d.document).subarray(d.from, d.from + d.length)])
    expect(restore(b.source, b.labels, sentinels, 0)).toEqual(text)
    expect(source.vocab).toBe(500)
  })
})

describe('held out', () => {
  test('documents are in one part or the other, whatever the seed', async () => {
    const documentsOf = async (part: 'train' | 'heldOut', seed: number): Promise<Set<number>> => {
      const source = await sourceOf({ task: causal, part, seed, heldOut: { share: 0.2 } })
      const seen = new Set<number>()
      for (let step = 0; step < source.stepsFor({ epochs: 1 }); step++) for (const row of source.documentsOfStep(step)) for (const d of row) seen.add(d.document)
      return seen
    }
    const [train, held] = [await documentsOf('train', 1), await documentsOf('heldOut', 1)]
    expect([...held].every(d => !train.has(d))).toBe(true)
    expect([train.size + held.size, await documentsOf('heldOut', 2)]).toEqual([211, held])
    expect(held.size).toBeGreaterThan(20)
  })

  test('its rows come once, in their order, and a last batch is filled with nothing', async () => {
    const source = await sourceOf({ task: causal, part: 'heldOut' })
    const [rows = 0] = source.rows
    const steps = source.stepsFor({ epochs: 1 })
    const empty = source.batch(steps, { from: 0, to: 6 })
    expect([steps, empty.weights.every(w => w === 0), source.documentsOfStep(steps)]).toEqual([Math.ceil(rows / 6), true, [[], [], [], [], [], []]])
  })

  test('of one document the last rows are held out, where there are two', async () => {
    const single = await makeStore(at, 'single', jsonLines(1, 1, 60))
    const options = { stores: [single], task: causal, batch: 1, seq: 8 }
    const [train, held, all] = [await sourceOf(options), await sourceOf({ ...options, part: 'heldOut' }), await sourceOf({ ...options, part: 'all' })]
    expect([held.rows, (train.rows[0] ?? 0) + 1]).toEqual([[1], all.rows[0]])
    expect(hashOf(held.batch(0))).toBe(hashOf(all.batch((all.rows[0] ?? 0) - 1)))
    const seen = new Set(Array.from({ length: train.rows[0] ?? 0 }, (_, step) => hashOf(train.batch(step))))
    expect([seen.size, seen.has(hashOf(held.batch(0)))]).toEqual([train.rows[0], false])
    await expect(sourceOf({ ...options, seq: 4096 })).rejects.toThrow(/text-too-short[^]*1 row/)
  })
})

describe('mixtures', () => {
  test('rows of each store by its share at every prefix, each store through its own epochs', async () => {
    const source = await sourceOf({ stores: [{ path: one, weight: 3 }, { path: two, weight: 1 }], task: causal })
    expect(source.shares).toEqual([0.75, 0.25])
    let ofTwo = 0
    const seen: string[] = []
    for (let n = 0; n < 120; n++) {
      const [row = []] = source.documentsOfStep(Math.floor(n / 6), { from: n % 6, to: n % 6 + 1 })
      if (row[0]?.store === two) {
        ofTwo++
        seen.push(JSON.stringify(row))
      }
      expect(Math.abs(ofTwo - (n + 1) / 4)).toBeLessThan(1)
    }
    expect(new Set(seen.slice(0, source.rows[1])).size).toBe(Math.min(seen.length, source.rows[1] as number))
  })

  test('weights are the stores\' tokens unless told, tempered', async () => {
    const [a, b] = [await openStore(one), await openStore(two)]
    open.push(a, b)
    const source = await sourceOf({ stores: [one, two], temperature: 2, task: causal })
    const [x, y] = [Math.sqrt(a.tokens), Math.sqrt(b.tokens)]
    expect(source.shares[0]).toBeCloseTo(x / (x + y), 12)
  })

  test('Megatron\'s files, and stores of different tokenizers', async () => {
    for (const ext of ['bin', 'idx']) copyFileSync(fileURLToPath(new URL(`golden/single.${ext}`, import.meta.url)), at.at(`bare.${ext}`))
    const bare = { stores: [at.at('bare')], task: causal, rows: 'windows' as const, batch: 1, seq: 2, heldOut: { share: 0 } }
    await expect(sourceOf(bare)).rejects.toThrow(/does not say how many ids/)
    expect([...(await sourceOf({ ...bare, vocab: 10 })).batch(0).tokens]).toHaveLength(2)
    const other = await makeStore(at, 'other', jsonLines(1, 30, 60), { tokenizer: { vocab: 290 } })
    await expect(sourceOf({ stores: [one, other], task: causal })).rejects.toThrow(/tokenizers-differ/)
  })
})

test('a reader\'s failure reaches who waits for the batch', async () => {
  const source = await sourceOf({ task: causal })
  const broken = { ...source.spec, stores: source.spec.stores.map(s => ({ ...s, files: { ...s.files, tokens: at.at('nowhere') } })) }
  const ahead = prefetch({ batch: () => 0, spec: broken }, { rows: { from: 0, to: 1 }, depth: 1 })
  await expect(ahead.next()).rejects.toThrow(/DataError\[store-file\] cannot read .*nowhere/)
  await ahead.close()
})
