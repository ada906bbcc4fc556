/** Decoders whose windows are split: logits at every position, losses and gradients are those of one device that attends as ever, whatever the form, packed documents too. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { UsageError } from '../../src/core/errors.ts'
import { compile, full, initialise, keyOf, leavesOf, lossAndGrads, mesh as meshOf, openBackend, type Backend, type MeshArray, type Tree } from '../../src/engine/index.ts'
import { treeOps } from '../../src/core/tree.ts'
import { gpt, gptModel, llama, llamaModel, llamaSchema, type Gpt, type GptConfig } from '../../src/models/index.ts'
import type { Context } from '../../src/nn/index.ts'
import { leafValues } from '../graph/support.ts'
import { all, every } from '../support/depth.ts'
import { draw, relativeError } from '../support/values.ts'

const arrays = treeOps((x): x is MeshArray => typeof x === 'object' && x !== null && 'read' in x, 'an array')
const small = { vocab: 24, seq: 16, layers: 2, embed: 8, headDim: 4, hidden: 16, dropout: 0 }
type Make = (context?: Context) => Gpt
const models: { readonly [name: string]: Make } = {
  gpt: context => gpt<GptConfig>({ ...small, heads: 4, masked: true, context, blockwise: 2 }, 2),
  'gpt of documents': context => gpt<GptConfig>({ ...small, heads: 4, packed: true, context }, 2),
  'llama, eight heads that share two': context => llama({ ...llamaSchema.parse({ ...small, heads: 8, kvHeads: 2, packed: true, context }) }, 2) as unknown as Gpt,
  'llama with windows in some layers': context => llama({ ...llamaSchema.parse({ ...small, heads: 4, window: 5, unwindowed: [1], scoreCap: 3, masked: true, context }) }, 2) as unknown as Gpt,
  // An expert takes one of the two tokens of a group at most once: half of the choices find no place, which half is for their order to say.
  'llama of experts with places in groups': context => llama({ ...llamaSchema.parse({ ...small, heads: 4, packed: true, experts: { count: 4, chosen: 2, hidden: 8, capacity: 1, groups: 8, balance: 0.1, zLoss: 0.01 }, context }) }, 2) as unknown as Gpt,
}
type Numbers = { readonly [name: string]: readonly number[] }
type Split = readonly [mesh: { readonly [axis: string]: number }, layout: { readonly [dim: string]: string | string[] }, layouts?: { readonly attention?: { readonly [dim: string]: string | string[] } }]
const lengths = [5, 4, 7, 9, 7]
/** Documents that lie across the edges of blocks; the last token of each has no target. */
const batch = {
  tokens: Int32Array.from({ length: 32 }, (_, i) => Math.floor(24 * draw(7, i))), targets: Int32Array.from({ length: 32 }, (_, i) => ([4, 8, 15, 24, 31].includes(i) ? -100 : Math.floor(24 * draw(8, i)))),
  segments: Int32Array.from(lengths.flatMap((n, i) => Array.from({ length: n }, () => i))), positions: Int32Array.from(lengths.flatMap(n => Array.from({ length: n }, (_, p) => p))),
}

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 8 }) })
afterAll(async () => { await backend.close() })
/** Logits, loss and gradients of drawn weights. */
async function numbersOf(model: Gpt, [sizes, layout, layouts = {}]: Split, targets = batch.targets): Promise<Numbers> {
  const program = await compile((p: typeof model.params, b: typeof model.batch) => ({
    ...lossAndGrads((q: typeof p) => ({ ...model.loss(q, b), metrics: {} }))(p), logits: model.logits(p, b),
  }), [model.params, model.batch], { mesh: meshOf(sizes as { a: 1 }), layout: layout as { seq: 'a' }, layouts: layouts as object, uses: model.layouts, backend, dims: model.dims })
  const drawn = leafValues(initialise(model.params as Tree, keyOf(full(1, [], 'i32')))).map(values => Float32Array.from(values, x => 4 * x)).values()
  const weights = treeOps((x): x is object => leavesOf(model.params).some(l => l.leaf === x), 'a parameter').map(model.params as never, () => drawn.next().value as never)
  const given = Object.fromEntries(Object.keys(model.batch).map(name => [name, name === 'targets' ? targets : batch[name as 'tokens']]))
  const { value, logits, grads } = await program(weights as never, given as never)
  const found = await Promise.all(arrays.flatten(grads).map(async ({ path, leaf }) => [path, Array.from(await leaf.read(), Number)] as const))
  return { loss: [await value.item()], logits: Array.from(await logits.read(), Number), ...Object.fromEntries(found) }
}
const ring = { seq: 'ring' }
const forms: readonly (readonly [name: string, model: string, Context, Split])[] = [
  ['a ring', 'gpt', { form: 'ring', blocks: 4 }, [{ ring: 4 }, ring]],
  ['zigzag in a ring', 'gpt of documents', { form: 'zigzag', blocks: 4 }, [{ ring: 4 }, ring]],
  ['zigzag of more blocks than devices', 'llama with windows in some layers', { form: 'zigzag', blocks: 4 }, [{ ring: 2 }, ring]],
  ['zigzag, tensors and data', 'llama, eight heads that share two', { form: 'zigzag', blocks: 2 }, [{ data: 2, model: 2, ring: 2 }, { batch: 'data', kvHeads: 'model', hidden: 'model', vocab: 'model', seq: 'ring' }]],
  ['gathered keys', 'llama with windows in some layers', { form: 'gather', blocks: 4 }, [{ ring: 4 }, ring]],
  ['Ulysses', 'gpt of documents', { form: 'ulysses' }, [{ heads: 4 }, { seq: 'heads' }, { attention: { seq: [], heads: 'heads' } }]],
  ['Ulysses over more devices than there are heads of keys', 'llama, eight heads that share two', { form: 'ulysses' }, [{ heads: 4 }, { seq: 'heads' }, { attention: { seq: [], group: 'heads' } }]],
  ['zigzag of as many pieces as experts have groups', 'llama of experts with places in groups', { form: 'zigzag', blocks: 4 }, [{ ring: 4 }, ring]],
  ['zigzag of fewer pieces, tensors and data', 'llama of experts with places in groups', { form: 'zigzag', blocks: 2 }, [{ data: 2, model: 2, ring: 2 }, { batch: 'data', expertHidden: 'model', seq: 'ring' }]],
  ['zigzag and Ulysses', 'gpt of documents', { form: 'zigzag', blocks: 2 }, [{ ring: 2, heads: 2 }, { seq: ['ring', 'heads'] }, { attention: { seq: 'ring', heads: 'heads' } }]],
]
test.each(every(2, forms))('%s: %s', async (_, name, context, split) => {
  const make = models[name] as Make
  const [plain, found] = [await numbersOf(make(), [{}, {}]), await numbersOf(make(context), split)]
  const error = (key: string): number => relativeError(found[key] ?? [], plain[key] ?? [])
  expect(Object.keys(found)).toEqual(Object.keys(plain))
  for (const key of ['loss', 'logits']) expect(error(key), key).toBeLessThan(2e-6)
  for (const key of Object.keys(plain)) expect(error(key), key).toBeLessThan(2e-4)
})

test('one target in all gives one gradient on 1 and 4 devices, where tests are deep on 2 too, and none gives zeros', async () => {
  const one = batch.targets.map((target, i) => (i === 19 ? target : -100))
  const model = models['gpt of documents'] as Make
  const alone = await numbersOf(model(), [{}, {}], one)
  expect(Math.max(...alone['tokens'] ?? [])).toBeGreaterThan(1e-3)
  for (const devices of all ? [1, 2, 4] : [1, 4]) {
    const zigzag = model({ form: 'zigzag', blocks: 4 })
    const found = await numbersOf(zigzag, [{ ring: devices }, ring], one)
    for (const key of Object.keys(alone)) expect(relativeError(found[key] ?? [], alone[key] ?? []), `${key} on ${devices}`).toBeLessThan(2e-4)
    if (devices === 2) continue
    const { logits: _, ...none } = await numbersOf(zigzag, [{ ring: devices }, ring], batch.targets.map(() => -100))
    for (const [key, values] of Object.entries(none)) expect(values.every(x => x === 0), key).toBe(true)
  }
})

describe('refuses, by the field', () => {
  const base = { vocab: 24, seq: 16, layers: 1, embed: 8, heads: 2, headDim: 4, hidden: 8 }
  test.each([
    ['blocks that do not divide windows', () => gptModel({ ...base, context: { form: 'ring', blocks: 3 } }), /context[^]*give blocks of which as many divide seq, which is 16/],
    ['halves of blocks that do not', () => gptModel({ ...base, context: { form: 'zigzag', blocks: 16 } }), /twice as many divide seq/],
    ['shares that are dropped', () => gptModel({ ...base, attentionDropout: 0.1, context: { form: 'ulysses' } }), /attentionDropout[^]*leave it 0 where there is a context/],
    ['zigzag without a causal mask', () => gptModel({ ...base, attention: 'bidirectional', context: { form: 'zigzag', blocks: 2 } }), /give form ring: zigzag balances what a causal mask leaves, and attention is bidirectional/],
    ['zigzag where who is dropped follows the order', () => llamaModel({ ...base, experts: { count: 2, chosen: 1, hidden: 8, capacity: 1 }, context: { form: 'zigzag', blocks: 2 } }), /experts[^]*give groups that are a multiple of 4, or context form ring/],
    ['blocks of whole sequences', () => llamaModel({ ...base, context: { form: 'ulysses', blocks: 2 } as never }), /context[^]*blocks/],
    ['a form that is none', () => llamaModel({ ...base, context: { form: 'rings', blocks: 2 } as never }), /context/],
  ])('%s', (_, make, message) => {
    expect(make).toThrow(UsageError)
    expect(make).toThrow(message)
  })
})
