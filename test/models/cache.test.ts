/** Decoders through a cache: whatever is computed at once, in whichever blocks it lies, logits are those of the whole text. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, leavesOf, mesh as meshOf, openBackend, type Backend, type MeshArray, type Tree } from '../../src/engine/index.ts'
import { gpt, llama, llamaSchema, type Gpt, type Llama, type LlamaGiven } from '../../src/models/index.ts'
import { rebuildTree } from '../../src/graph/tensor.ts'
import { fedInputs, type CacheSize, type KeyValues } from '../../src/nn/cache.ts'
import { valueOfTensor, type Operand, type T } from '../graph/support.ts'
import { draw, relativeError } from '../support/values.ts'

const sizes = { vocab: 24, seq: 12, layers: 3, embed: 8, heads: 4, headDim: 4, hidden: 12 }
const odd: LlamaGiven = {
  ...sizes, kvHeads: 2, window: 3, unwindowed: [1], unturned: [2], localRope: { base: 100 }, norms: 'both', queryKeyNorms: 'heads', attentionBiases: 'all', feedBiases: true, gainsFromOne: true, scoreCap: 5, logitCap: 7, embedScale: 3,
}
const models: Readonly<Record<string, () => Llama | Gpt>> = {
  'one over latents': () => llama(llamaSchema.parse({ ...sizes, headDim: 6, latent: { query: 5, keyValue: 4, turned: 4, value: 3, pairs: 'neighbours' } }), 1),
  'one with experts': () => llama(llamaSchema.parse({ ...sizes, kvHeads: 2, experts: { count: 4, chosen: 2, hidden: 6, dense: 1, shared: 4, sharedGate: true, scores: 'sigmoid', scale: 1.5, capacity: 4, biasRate: 0 } }), 1),
  'a Llama': () => llama({ ...llamaSchema.parse({ ...sizes, kvHeads: 2, tied: true }) }, 1), 'one with every option': () => llama(llamaSchema.parse(odd), 1), 'a GPT': () => gpt({ ...sizes, dropout: 0 }, 1),
}
const size: CacheSize = { replicas: 2, layers: 3, blocks: 6, block: 2 }
/** Of each replica two texts, and the blocks that are theirs, in no order. */
const texts = [[[3, 7, 1, 9, 2, 14, 5], [8, 8, 1]], [[4], [1, 2, 3, 4, 5, 6, 7, 8]]] as const
const tables = [[[4, 1, 5, 0], [2, 3, 0, 0]], [[5, 0, 0, 0], [3, 0, 4, 1]]] as const

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
afterAll(async () => { await backend.close() })

describe.each(Object.keys(models))('%s', name => {
  const model = (models[name] as () => Llama)()
  const values = new Map(leavesOf(model.params).map(({ path, leaf }) => [path, Float32Array.from({ length: leaf.shape.reduce((n, d) => n * d.size, 1) }, (_, i) => 0.8 * draw(path.length * 31 + path.charCodeAt(7 % path.length), i) - 0.4)]))
  const operands = leavesOf(model.params).map(({ path, leaf }): Operand => ({ tensor: leaf as T, data: [...values.get(path) ?? []] }))
  const whole = (text: readonly number[]): number[] => {
    const tokens = Array.from({ length: sizes.seq }, (_, i) => text[i] ?? 0)
    return valueOfTensor(model.logits(model.params, { tokens: model.batch.tokens }), ...operands, { tensor: model.batch.tokens as never, data: tokens }).slice(0, text.length * sizes.vocab)
  }
  const wanted = texts.map(of => of.map(whole))

  test.each([
    { axes: { batch: 1, model: 1 }, chunk: 3, dtype: 'f32', within: 2e-6 }, { axes: { batch: 2, model: 2 }, chunk: 1, dtype: 'f32', within: 2e-6 }, { axes: { batch: 2, model: 2 }, chunk: 4, dtype: 'f32', within: 2e-6 },
    { axes: { batch: 2, model: 2 }, chunk: 3, dtype: 'bf16', within: 0.02 }, { axes: { batch: 1, model: 1 }, chunk: 4, dtype: 'i8', within: 0.04 }, { axes: { batch: 2, model: 2 }, chunk: 1, dtype: 'i8', within: 0.04 },
  ] as const)('as whole, in chunks of $chunk on $axes, kept in $dtype', async ({ axes, chunk, dtype, within }) => {
    const mesh = meshOf(axes)
    const cache = model.cache(size, dtype)
    const fed = fedInputs(size, { requests: 2, seq: chunk, blocks: 4 })
    const step = await compile((params: Tree, before: KeyValues, given: typeof fed) => {
      const { states, cache: after } = model.extend(params as never, before, given, size)
      return { logits: model.head(params as never, states).relayout({}), cache: after }
    }, [model.params as Tree, cache, fed] as const, { mesh, backend, layout: { replica: 'batch', [name === 'a GPT' ? 'heads' : 'kvHeads']: 'model', hidden: 'model', vocab: 'model' } as Record<string, string>, dims: model.dims, uses: model.layouts, donate: [1] })
    // What other texts have left in blocks matters to nobody.
    const stale = (leaf: { readonly shape: readonly { readonly size: number }[]; readonly dtype: string }): ArrayLike<number> => { const count = leaf.shape.reduce((n, d) => n * d.size, 1); return leaf.dtype === 'i8' ? new Int8Array(count).fill(77) : leaf.dtype === 'bf16' ? new Uint16Array(count).fill(0x7fc0) : new Float32Array(count).fill(NaN) }
    let held: unknown = Object.fromEntries(Object.entries(cache).map(([part, leaf]) => [part, stale(leaf)]))
    const params = rebuildTree(model.params as Tree, [...values.values()] as never)
    const found = texts.map(of => of.map((): number[] => []))
    for (let from = 0; from < 8; from += chunk) {
      const each = (f: (text: readonly number[], table: readonly number[], at: number) => number): Int32Array => Int32Array.from(texts.flatMap((of, r) => of.flatMap((text, i) => Array.from({ length: chunk }, (_, s) => f(text, tables[r]?.[i] ?? [], from + s)))))
      const { logits, cache: after } = await step(params as never, held as never, {
        tokens: each((text, _, at) => text[at] ?? 0), positions: each((text, _, at) => Math.min(at, text.length - 1)), table: Int32Array.from(tables.flat(2)),
        entries: each((text, table, at) => (at < text.length ? (table[Math.floor(at / 2)] ?? 0) * 2 + at % 2 : -1)),
      } as never)
      held = after
      const read = [...await (logits as unknown as MeshArray).read()].map(Number)
      for (const [r, of] of texts.entries()) for (const [i, text] of of.entries()) for (let s = 0; s < chunk && from + s < text.length; s++) found[r]?.[i]?.push(...read.slice(((r * 2 + i) * chunk + s) * sizes.vocab).slice(0, sizes.vocab))
    }
    for (const [r, of] of found.entries()) for (const [i, logits] of of.entries()) expect(relativeError(logits, wanted[r]?.[i] ?? [])).toBeLessThan(within)
  })
})
