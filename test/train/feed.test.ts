/** Batches on their way to the devices: which rows a process needs, and what each device gets of arrays with those rows. */
import { expect, test } from 'vitest'
import { MeshworkError } from '../../src/core/errors.ts'
import type { TypedArray } from '../../src/core/dtype.ts'
import { blockOf, dims, input, mesh as meshOf, openBackend, plan, type Backend, type Block, type Mesh, type Tree } from '../../src/engine/index.ts'
import type { Sharding } from '../../src/core/layout.ts'
import { alone } from '../../src/runtime/processes.ts'
import type { Run } from '../../src/train/run.ts'
import { openData } from '../../src/train/session.ts'
import { rowFields, rowsHere, sourcesOf } from '../../src/train/feed.ts'

const d = dims({ batch: 8, seq: 3, width: 4 })
const model = { pair: [input('a', [d.batch, d.seq], 'i32'), { 'b.c': input('b', [d.batch]) }] as const, image: input('image', [d.batch, d.width, d.seq], 'u8') }
/** Row r of each tensor holds 100 r and on. */
const data = (from: number, to: number) => {
  const rows = <A extends TypedArray>(make: new (n: number) => A, size: number): A => {
    const out = new make((to - from) * size)
    for (let i = 0; i < out.length; i++) out[i] = 100 * (from + Math.floor(i / size)) + i % size
    return out
  }
  return { pair: [rows(Int32Array, 3), { 'b.c': rows(Float32Array, 1) }], image: rows(Uint8Array, 12), more: 'than the model takes' }
}
const whole = { from: 0, to: 8 }
const problemOf = (run: () => unknown): string => {
  try { run() } catch (e) { if (e instanceof MeshworkError) return `${e.problem.code}: ${e.problem.what}${e.problem.details === undefined ? '' : ` | ${Object.entries(e.problem.details).map(([k, v]) => `${k}: ${v}`).join(' | ')}`}` }
  return 'none'
}

test('what a row has of each tensor', () => {
  expect(rowFields(model)).toEqual({ 'pair.0': { dtype: 'i32', shape: [3] }, 'pair.1.b.c': { dtype: 'f32', shape: [] }, image: { dtype: 'u8', shape: [4, 3] } })
  expect(rowFields(input('x', [d.batch]))).toEqual({ '': { dtype: 'f32', shape: [] } })
  expect(problemOf(() => rowFields({ x: input('x', [d.seq, d.batch]) }))).toBe('batch-dim: the model\'s batch has "x" of seq=3 batch=8')
  expect(problemOf(() => rowFields({ x: { y: input('x', []) } }))).toMatch(/batch-dim: the model's batch has "x.y"/)
})

test('a model whose rows lie otherwise is refused before any data is asked for', async () => {
  const run = { data: { batch: () => { throw new Error('never') } } } as unknown as Run
  const sideways = { batch: { x: input('x', [d.seq, d.batch]) }, dims: d }
  await expect(openData(run, sideways, { backend: { processes: alone }, tell: () => {} })).rejects.toThrow(/DataError\[batch-dim\] the model's batch has "x" of seq=3 batch=8\n.*fix +let "batch" be the first dim/)
})

/** The rows that the devices of one process need, of a program that takes the batch. */
function needed(sizes: { readonly [axis: string]: number }, layout: { readonly [dim: string]: string | readonly string[] }, addressable: readonly number[]): readonly number[] {
  const mesh = meshOf(sizes)
  const { inputs } = plan((b: typeof model) => b.pair[0], [model] as const, { mesh, layout })
  const { from, to } = rowsHere(inputs.map(i => i.placement), mesh, { addressable } as unknown as Backend)
  return [from, to]
}
test('the rows that a process needs are those of its devices', () => {
  expect(needed({ batch: 4 }, { batch: 'batch' }, [0, 1, 2, 3])).toEqual([0, 8])
  expect(needed({ batch: 4 }, { batch: 'batch' }, [2])).toEqual([4, 6])
  expect(needed({ batch: 4 }, { batch: 'batch' }, [1, 2])).toEqual([2, 6])
  // What is split otherwise leaves every device all rows.
  expect(needed({ batch: 2, model: 2 }, { batch: 'batch', width: 'model' }, [3])).toEqual([4, 8])
  expect(needed({ batch: 2, model: 2 }, { width: 'model' }, [3])).toEqual([0, 8])
  expect(needed({ batch: 2, model: 2 }, { batch: ['model', 'batch'] }, [1])).toEqual([4, 6])
  // All that lies between its devices' rows.
  expect(needed({ batch: 2, model: 2 }, { batch: ['model', 'batch'] }, [0, 1])).toEqual([0, 6])
  // A backend may have more devices than the mesh.
  expect(needed({ batch: 2 }, { batch: 'batch' }, [0, 1, 2, 3])).toEqual([0, 8])
})

type Sources = { readonly pair: readonly [(b: Block) => TypedArray, { readonly 'b.c': (b: Block) => TypedArray }]; readonly image: (b: Block) => TypedArray }
const partOn = (mesh: Mesh, sharding: Sharding, device: number, shape: Parameters<typeof blockOf>[0]): Block => blockOf(shape, sharding, mesh, device)

test('each device gets its part, of the rows that are there', () => {
  const mesh = meshOf({ batch: 4, model: 2 })
  const sharding = new Map([['batch', ['batch']], ['width', ['model']]])
  // Devices 4 and 5 have rows 4 and 5, of the image half the width each.
  const given = data(4, 6)
  const { pair: [a, { 'b.c': b }], image } = sourcesOf(model, given, { from: 4, to: 6 }) as Sources
  const of = (source: (b: Block) => TypedArray, device: number, ...shape: Parameters<typeof blockOf>[0]): number[] => Array.from(source(partOn(mesh, sharding, device, shape)), Number)
  expect(of(a, 4, d.batch, d.seq)).toEqual([400, 401, 402, 500, 501, 502])
  expect(of(b, 5, d.batch)).toEqual([400, 500])
  const bytes = (...x: number[]): number[] => [...Uint8Array.from(x)]
  expect(of(image, 4, d.batch, d.width, d.seq)).toEqual(bytes(400, 401, 402, 403, 404, 405, 500, 501, 502, 503, 504, 505))
  expect(of(image, 5, d.batch, d.width, d.seq)).toEqual(bytes(406, 407, 408, 409, 410, 411, 506, 507, 508, 509, 510, 511))
  // Of the dtype that was given, and copies.
  const part = image(partOn(mesh, sharding, 4, [d.batch, d.width, d.seq]))
  expect(part).toBeInstanceOf(Uint8Array)
  given.image.fill(7)
  expect(part[0]).toBe(400 % 256)
})

test('a batch that is one tensor', async () => {
  await using backend = await openBackend({ plugin: 'simulate', devices: 1 })
  expect(backend.addressable).toEqual([0])
  const only = sourcesOf(input('x', [d.batch]), Float32Array.from({ length: 8 }, (_, i) => i), whole) as (b: Block) => TypedArray
  expect([...only({ starts: [2], sizes: [3] })]).toEqual([2, 3, 4])
})

test.each<[string, (good: ReturnType<typeof data>) => unknown, string]>([
  ['nothing', () => undefined, 'has no "pair.0"'],
  ['an array instead of a tree', () => new Int32Array(24), 'has no "pair.0"'],
  ['a tensor that is missing', ({ pair }) => ({ pair }), 'has no "image" | the model takes: image batch=8 width=4 seq=3, u8 | rows: 8'],
  ['one that is missing deeper down', good => ({ ...good, pair: [good.pair[0], { b: { c: new Float32Array(8) } }] }), 'has no "pair.1.b.c"'],
  ['numbers that are no typed array', good => ({ ...good, image: [1, 2, 3] }), 'for "image"'],
  ['bytes without a type', good => ({ ...good, image: new DataView(new ArrayBuffer(96)) }), 'for "image"'],
  ['too few rows', good => ({ ...good, image: new Uint8Array(84) }), 'has 84 numbers for "image", and 8 rows of 12 are 96'],
  ['rows of another length', good => ({ ...good, pair: [new Int32Array(32), good.pair[1]] }), 'has 32 numbers for "pair.0", and 8 rows of 3 are 24'],
])('%s is refused', (_, of, says) => {
  const said = problemOf(() => sourcesOf(model as unknown as Tree, of(data(0, 8)), whole))
  expect(said).toContain('batch-field: the data\'s batch ')
  expect(said).toContain(says)
})
