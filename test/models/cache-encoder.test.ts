/** A T5 through a cache: what its encoder has read lies in blocks, in whichever order, and logits are those of the whole pair of texts. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, leavesOf, mesh as meshOf, openBackend, type Backend, type MeshArray, type Tree } from '../../src/engine/index.ts'
import { t5, t5Schema } from '../../src/models/index.ts'
import { rebuildTree } from '../../src/graph/tensor.ts'
import { fedInputs, sourceInputs, type CacheSize, type KeyValues } from '../../src/nn/cache.ts'
import { valueOfTensor, type Operand, type T } from '../graph/support.ts'
import { draw, relativeError } from '../support/values.ts'

const sizes = { vocab: 24, source: 12, target: 8, encoderLayers: 2, decoderLayers: 3, embed: 8, heads: 4, headDim: 4, hidden: 12, buckets: 8, farthest: 9 }
const size: CacheSize = { replicas: 2, layers: 3, blocks: 12, block: 2 }
/** Of each replica two sources, the texts that are written to them, and the blocks that are theirs, in no order. */
const sources = [[[3, 7, 1, 9, 2, 14, 5, 4, 4, 1, 23], [8, 8, 1]], [[4], [1, 2, 3, 4, 5, 6, 7, 8]]] as const
const texts = [[[0, 5, 5, 2, 9], [0]], [[0, 1, 2, 3, 4, 5, 6, 7], [0, 20]]] as const
const sourceTables = [[[4, 1, 5, 0, 8, 2], [7, 3, 0, 0, 0, 0]], [[5, 0, 0, 0, 0, 0], [3, 0, 4, 1, 0, 0]]] as const
const tables = [[[9, 6, 11, 0], [10, 0, 0, 0]], [[2, 6, 8, 7], [11, 0, 0, 0]]] as const

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
afterAll(async () => { await backend.close() })

describe.each([{ gated: true, activation: 'gelu', tied: false }, { gated: false, activation: 'relu', tied: true }, { gated: false, activation: 'relu', tied: false, experts: { count: 4, slots: 12, encoderEvery: 2, decoderEvery: 3 } }] as const)('$activation, gated $gated, tied $tied, experts $experts.count', options => {
  const model = t5(t5Schema.parse({ ...sizes, ...options }), 1)
  const values = new Map(leavesOf(model.params).map(({ path, leaf }) => [path, Float32Array.from({ length: leaf.shape.reduce((n, d) => n * d.size, 1) }, (_, i) => 0.8 * draw(path.length * 31 + path.charCodeAt(7 % path.length), i) - 0.4)]))
  const operands = leavesOf(model.params).map(({ path, leaf }): Operand => ({ tensor: leaf as T, data: [...values.get(path) ?? []] }))
  const filled = (ids: readonly number[], n: number): number[] => Array.from({ length: n }, (_, i) => ids[i] ?? 0)
  const whole = (source: readonly number[], text: readonly number[]): number[] =>
    valueOfTensor(model.logits(model.params, model.batch), ...operands, { tensor: model.batch.source as never, data: filled(source, sizes.source) }, { tensor: model.batch.target as never, data: filled(text, sizes.target) }).slice(0, text.length * sizes.vocab)
  const wanted = texts.map((of, r) => of.map((text, i) => whole(sources[r]?.[i] ?? [], text)))

  test.each([
    { axes: { batch: 1, model: 1 }, chunk: 3, dtype: 'f32', within: 2e-6 }, { axes: { batch: 2, model: 2 }, chunk: 1, dtype: 'f32', within: 2e-6 },
    { axes: { batch: 2, model: 2 }, chunk: 4, dtype: 'bf16', within: 0.02 }, { axes: { batch: 1, model: 4 }, chunk: 8, dtype: 'i8', within: 0.04 },
  ] as const)('as whole, in chunks of $chunk on $axes, kept in $dtype', async ({ axes, chunk, dtype, within }) => {
    const where = { mesh: meshOf(axes), backend, layout: { replica: 'batch', heads: 'model', hidden: 'model', vocab: 'model' } as Record<string, string>, dims: model.dims, donate: [1] }
    const cache = model.cache(size, dtype)
    const [given, fed] = [sourceInputs(size, { requests: 2, source: sizes.source }), fedInputs(size, { requests: 2, seq: chunk, blocks: 4, sourceBlocks: 6 })]
    const read = await compile((params: Tree, before: KeyValues, of: typeof given) => model.encoder.read(params, before, of, size), [model.params as Tree, cache, given] as const, where)
    const step = await compile((params: Tree, before: KeyValues, of: typeof fed) => {
      const { states, cache: after } = model.extend(params as never, before, of, size)
      return { logits: model.head(params as never, states).relayout({}), cache: after }
    }, [model.params as Tree, cache, fed] as const, where)
    // What other texts have left in blocks matters to nobody.
    const stale = (leaf: { readonly shape: readonly { readonly size: number }[]; readonly dtype: string }): ArrayLike<number> => { const count = leaf.shape.reduce((n, d) => n * d.size, 1); return leaf.dtype === 'i8' ? new Int8Array(count).fill(77) : leaf.dtype === 'bf16' ? new Uint16Array(count).fill(0x7fc0) : new Float32Array(count).fill(NaN) }
    const params = rebuildTree(model.params as Tree, [...values.values()] as never)
    const eachSource = (f: (source: readonly number[], table: readonly number[], at: number) => number): Int32Array => Int32Array.from(sources.flatMap((of, r) => of.flatMap((source, i) => Array.from({ length: sizes.source }, (_, s) => f(source, sourceTables[r]?.[i] ?? [], s)))))
    const place = (table: readonly number[], at: number): number => (table[Math.floor(at / 2)] ?? 0) * 2 + at % 2
    let held: unknown = await read(params as never, Object.fromEntries(Object.entries(cache).map(([part, leaf]) => [part, stale(leaf)])) as never, {
      tokens: eachSource((source, _, at) => source[at] ?? 0), entries: eachSource((source, table, at) => (at < source.length ? place(table, at) : -1)),
    } as never)
    const found = texts.map(of => of.map((): number[] => []))
    for (let from = 0; from < sizes.target; from += chunk) {
      const each = (f: (text: readonly number[], table: readonly number[], at: number) => number): Int32Array => Int32Array.from(texts.flatMap((of, r) => of.flatMap((text, i) => Array.from({ length: chunk }, (_, s) => f(text, tables[r]?.[i] ?? [], from + s)))))
      const { logits, cache: after } = await step(params as never, held as never, {
        tokens: each((text, _, at) => text[at] ?? 0), positions: each((text, _, at) => Math.min(at, text.length - 1)), table: Int32Array.from(tables.flat(2)), entries: each((text, table, at) => (at < text.length ? place(table, at) : -1)),
        sourceTable: Int32Array.from(sourceTables.flat(2)), sourceLength: Int32Array.from(sources.flat().map(s => s.length)),
      } as never)
      held = after
      const all = [...await (logits as unknown as MeshArray).read()].map(Number)
      for (const [r, of] of texts.entries()) for (const [i, text] of of.entries()) for (let s = 0; s < chunk && from + s < text.length; s++) found[r]?.[i]?.push(...all.slice(((r * 2 + i) * chunk + s) * sizes.vocab).slice(0, sizes.vocab))
    }
    for (const [r, of] of found.entries()) for (const [i, logits] of of.entries()) expect(relativeError(logits, wanted[r]?.[i] ?? [])).toBeLessThan(within)
  })
})
