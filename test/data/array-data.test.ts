/** Arrays as data: every row once an epoch, in an order that no mesh changes; what is held out in its own; errors that name what does not fit. */
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import type { DType } from '../../src/core/dtype.ts'
import { MeshworkError } from '../../src/core/errors.ts'
import { arrayData, joinRows, openCsvRows, openIdx, type ArrayRows, type DataRequest, type OpenData } from '../../src/data/index.ts'
import { convNetModel, mlp } from '../../src/models/index.ts'
import { adamwCosine, defineRun } from '../../src/train/index.ts'
import { temporaryFolder } from './temporary.ts'

const folder = temporaryFolder()
/** An IDX file of bytes. */
const idx = (name: string, shape: readonly number[], values: readonly number[]): string => {
  const head = Buffer.alloc(4 + 4 * shape.length)
  head.set([0, 0, 8, shape.length])
  shape.forEach((d, i) => head.writeUInt32BE(d, 4 + 4 * i))
  const bytes = Buffer.concat([head, Buffer.from(values)])
  return folder.file(name, name.endsWith('.gz') ? gzipSync(bytes) : bytes)
}
/** Images of 2 × 3 that are full of their number, whose labels are it. */
const count = 11
const numbered = Array.from({ length: count }, (_, i) => i)
const images = idx('images.idx.gz', [count, 2, 3], numbered.flatMap(i => Array<number>(6).fill(i)))
const labels = idx('labels.idx', [count], numbered)
const held = { images: idx('held-images.idx', [6, 2, 3], [20, 21, 22, 23, 24, 25].flatMap(i => Array<number>(6).fill(i))), labels: idx('held-labels.idx', [6], [20, 21, 22, 23, 24, 25]) }

const field = (dtype: DType, ...shape: number[]) => ({ dtype, shape })
const request: DataRequest = {
  batch: 4, seed: 3, fields: { images: field('u8', 2, 3, 1), labels: field('i32') }, vocab: undefined, ignored: -100, heldOut: 8,
  ranks: { rank: 0, count: 1, exchange: async bytes => [await bytes] }, signal: undefined, onProgress: () => undefined, onNote: () => undefined,
}
type Batch = { readonly [name: string]: ArrayLike<number> }
async function using<T>(opened: Promise<OpenData<unknown>>, use: (data: OpenData<unknown>) => Promise<T>): Promise<T> {
  const data = await opened
  try { return await use(data) } finally { await data.close?.() }
}
const files = arrayData({ train: { images, labels }, heldOut: held })
const open = (more: Partial<DataRequest> = {}): Promise<OpenData<unknown>> => files.build().open({ ...request, ...more })
const all = { from: 0, to: 4 }
const labelsOf = async (data: OpenData<unknown>, step: number, rows = all): Promise<number[]> => Array.from((await data.batch(step, rows) as Batch)['labels'] ?? [])

describe('the order', () => {
  test('takes each row once an epoch, and in another order in the next one', () => using(open(), async data => {
    const seen: number[] = []
    for (let step = 0; step < count; step++) seen.push(...await labelsOf(data, step))
    const epochs = [0, 1, 2, 3].map(e => seen.slice(e * count, (e + 1) * count))
    for (const epoch of epochs) expect([...epoch].sort((a, b) => a - b)).toEqual(numbered)
    expect(new Set(epochs.map(String)).size).toBe(4)
    expect(epochs.map(String)).not.toContain(String(numbered))
  }))

  test('is the same for one, two and four coordinates, and for who begins in the middle', async () => {
    const whole = await using(open(), async data => Promise.all([0, 1, 2, 7].map(step => data.batch(step, all) as Promise<Batch>)))
    for (const parts of [2, 4]) {
      await using(open(), async data => {
        for (const [i, step] of [7, 0, 1, 2].entries()) {
          const wanted = whole[[3, 0, 1, 2][i]!]!
          for (const name of ['images', 'labels']) {
            const found = await Promise.all(Array.from({ length: parts }, async (_, p) => Array.from((await data.batch(step, { from: p * 4 / parts, to: (p + 1) * 4 / parts }) as Batch)[name]!)))
            expect(found.flat()).toEqual(Array.from(wanted[name]!))
          }
        }
      })
    }
  })

  test('hangs on the seed', async () => {
    const [a, b, again] = await Promise.all([3, 4, 3].map(seed => using(open({ seed }), async data => [...await labelsOf(data, 0), ...await labelsOf(data, 1)])))
    expect(a).not.toEqual(b)
    expect(again).toEqual(a)
  })

  test('images stay with their labels, in the dtypes that the model takes', () => using(open(), async data => {
    const batch = await data.batch(5, all) as Batch
    expect(batch['images']).toBeInstanceOf(Uint8Array)
    expect(batch['labels']).toBeInstanceOf(Int32Array)
    expect(Array.from(batch['images']!)).toEqual(Array.from(batch['labels']!).flatMap(i => Array<number>(6).fill(i)))
  }))

  test('an epoch is over with the step that takes its last row', () => using(open(), async data => {
    expect([1, 4, 0.5].map(epochs => data.stepsFor?.({ epochs }))).toEqual([3, 11, 2])
  }))

  test('the rows of a step have names', () => using(open(), async data => {
    const named = (rows?: { from: number; to: number }): unknown => data.documentsOfStep?.(2, rows).map(([only, ...more]) => [only?.source?.at, more.length])
    const taken = (await labelsOf(data, 2)).map(row => [`images.idx.gz row ${row}`, 0])
    expect(named()).toEqual(taken)
    expect(named({ from: 1, to: 3 })).toEqual(taken.slice(1, 3))
    expect(data.about).toEqual({ name: 'images.idx.gz, labels.idx', licence: 'your own', rows: count })
  }))
})

describe('what is held out', () => {
  test('comes in its order, each row once; what fills the last batch up does not count', () => using(open(), async data => {
    const { source, batches } = data.heldOut!
    expect(batches).toBe(2)
    const found = await Promise.all([0, 1].map(step => source.batch(step, all) as Promise<Batch>))
    expect(found.map(b => Array.from(b['labels']!))).toEqual([[20, 21, 22, 23], [24, 25, -100, -100]])
    expect(Array.from(found[1]!['images']!)).toEqual([24, 25, 20, 20].flatMap(i => Array<number>(6).fill(i)))
    const parts = await Promise.all([[0, 1], [1, 3], [3, 4]].map(([from, to]) => source.batch(1, { from: from!, to: to! }) as Promise<Batch>))
    expect(parts.flatMap(b => Array.from(b['labels']!))).toEqual([24, 25, -100, -100])
  }))

  test('is left out behind the last whole batch where all counts, and goes no further than is asked for', async () => {
    await using(open({ ignored: undefined }), async data => { expect(data.heldOut?.batches).toBe(1) })
    // A byte has no −100.
    await using(open({ fields: { ...request.fields, labels: field('u8') } }), async data => { expect(data.heldOut?.batches).toBe(1) })
    await using(open({ heldOut: 1 }), async data => { expect(data.heldOut?.batches).toBe(1) })
    await using(arrayData({ train: { images, labels } }).build().open(request), async data => { expect(data.heldOut).toBeUndefined() })
  })
})

test('its identity is that of its content, wherever that lies', async () => {
  const copies = { images: idx('copy-images.idx', [count, 2, 3], numbered.flatMap(i => Array<number>(6).fill(i))), labels }
  const other = { images, labels: idx('other-labels.idx', [count], numbered.map(i => 10 - i)) }
  const [a, b, c] = await Promise.all([{ images, labels }, copies, other].map(train => using(arrayData({ train }).build().open(request), data => Promise.resolve(data.identity))))
  expect(b).toEqual(a)
  expect(c).not.toEqual(a)
})

describe('rows that are open', () => {
  const csv = folder.file('table.csv', ['a,b,class', ...numbered.map(i => `${i},${i + 0.5},${i}`)].join('\n'))
  const table = () => openCsvRows(csv, { columns: { x: { from: 'a', count: 2 }, labels: { from: 'class' } } })
  const fields = { x: field('f32', 2), labels: field('i32') }

  test('of CSV, whose floats are a model\'s whole numbers; joined', async () => {
    const rows = joinRows(await openIdx({ images }), await table())
    const data = arrayData({ train: rows, name: 'a table', licence: 'CC0' })
    const inOrder = await using(data.open({ ...request, fields: { ...request.fields, ...fields } }), async open => {
      expect(open.about).toEqual({ name: 'a table', licence: 'CC0', rows: count })
      const batch = await open.batch(0, all) as unknown as Batch
      const taken = Array.from(batch['labels']!)
      expect(Array.from(batch['x']!)).toEqual(taken.flatMap(i => [i, i + 0.5]))
      expect(Array.from(batch['images']!)).toEqual(taken.flatMap(i => Array<number>(6).fill(i)))
      return taken
    })
    // Who opened them closes them: they serve another run.
    await using(data.open({ ...request, fields }), async open => { expect(await labelsOf(open, 0)).toEqual(inOrder) })
    await rows.close()
    await expect(rows.read([0])).rejects.toThrow()
  })

  test('what opens them is called for each run, and they are closed with it', async () => {
    const opened: ArrayRows<'x' | 'labels'>[] = []
    let closed = 0
    const data = arrayData({ train: async () => {
      const rows = await table()
      opened.push(rows)
      return { ...rows, close: async () => { closed++; await rows.close() } }
    } })
    for (const n of [1, 2]) {
      await using(data.open({ ...request, fields }), async open => { await labelsOf(open, 0); expect([opened.length, closed]).toEqual([n, n - 1]) })
      expect(closed).toBe(n)
    }
  })
})

describe('errors', () => {
  const failure = async (promise: Promise<OpenData<unknown>>): Promise<string> => {
    const error = await promise.then(data => data.close?.(), (e: unknown) => e)
    if (!(error instanceof MeshworkError)) throw new Error(`no MeshworkError: ${String(error)}`)
    expect(error.problem.fix).toBeDefined()
    return error.problem.what
  }
  const of = (train: { readonly [column: string]: string }, more: Partial<DataRequest> = {}): Promise<string> => failure(arrayData({ train }).build().open({ ...request, ...more }))
  test.each<[string, () => Promise<string>, string]>([
    ['files of unlike lengths', () => of({ images, labels: held.labels }), '"images" has 11 rows, "labels" 6'],
    ['a file that is missing', () => of({ images, labels: folder.at('none.idx') }), 'none.idx'],
    ['a file of another kind', () => of({ images, labels: folder.file('text.idx', 'some text') }), 'it does not begin as IDX does'],
    ['a column that the model wants', () => of({ images, label: labels }), 'the model takes "labels", and the data has no column of that name'],
    ['another shape', () => of({ images, labels }, { fields: { ...request.fields, images: field('u8', 8, 8, 1) } }), 'a row of "images" is [2, 3], and the model takes [8, 8, 1]'],
    ['labels that are whole images', () => of({ images, labels: images }), 'a row of "labels" is [2, 3], and the model takes one number'],
    ['no rows', () => of({ images: idx('no-images.idx', [0, 2, 3], []), labels: idx('no-labels.idx', [0], []) }), 'the data has no rows'],
    ['no files', () => of({}), 'no file of arrays is named'],
    ['held-out rows that fill no batch', () => failure(open({ batch: 7, ignored: undefined })), 'held out are 6 rows, and a batch has 7'],
    ['held-out rows of another shape', () => failure(arrayData({ train: { images, labels }, heldOut: { images: labels, labels } }).build().open(request)), 'a row of "images" is one number'],
    ['a column of labels that the model lacks', () => failure(arrayData({ train: { images, labels, extra: labels }, heldOut: { ...held, extra: held.labels }, labels: 'extra' }).build().open(request)), 'data.labels is "extra", which the model does not take'],
  ])('%s', async (_, found, what) => { expect(await found()).toContain(what) })

  test('a number that the model\'s dtype does not hold names its row', async () => {
    const csv = folder.file('halves.csv', ['labels', ...numbered.map(i => i + 0.5)].join('\n'))
    const data = arrayData({ train: () => openCsvRows(csv, { columns: { labels: { from: 0 } } }) })
    await using(data.open({ ...request, fields: { labels: field('i32') } }), async open => {
      await expect(open.batch(0, { from: 0, to: 1 })).rejects.toThrow(/row \d+ of "labels" has \d+\.5, which i32 does not hold/)
    })
    await using(arrayData({ train: () => openCsvRows(folder.file('large.csv', 'labels\n300\n'), { columns: { labels: { from: 0 } } }) }).open({ ...request, fields: { labels: field('u8') } }), async open => {
      await expect(open.batch(0, { from: 0, to: 1 })).rejects.toThrow('row 0 of "labels" has 300, which u8 does not hold')
    })
  })
})

test('a model that takes other names does not compile', () => {
  const rest = { name: 'typed', batch: 4, steps: 1, optimizer: adamwCosine({ rate: 1e-3 }) }
  const model = convNetModel({})
  const run = defineRun({ ...rest, model, data: arrayData({ train: { images, labels, more: labels } }) })
  expect(run.name).toBe('typed')
  // @ts-expect-error: the model takes labels.
  defineRun({ ...rest, model, data: arrayData({ train: { images, label: labels } }) })
  // @ts-expect-error: the model takes x and y.
  defineRun({ ...rest, model: mlp({ inputs: 6, hidden: 4, outputs: 1 }, 4), data: arrayData({ train: { images, labels } }) })
  const rows = () => openIdx({ images, labels })
  defineRun({ ...rest, model, data: arrayData({ train: rows }) })
  // @ts-expect-error: of columns that are not named nothing is known.
  defineRun({ ...rest, model, data: arrayData({ train: () => openCsvRows('x.csv') }) })
  // @ts-expect-error: what is held out has the same columns.
  arrayData({ train: { images, labels }, heldOut: { images } })
  defineRun({ ...rest, model, data: arrayData({ train: { images, labels }, labels: 'labels' }) })
})
