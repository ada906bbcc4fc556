/** A decoder of the Llama family beside what transformers judges of it: packed documents, the next token, few bits, what its configuration refuses. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { UsageError } from '../../src/core/errors.ts'
import { compile, full, initialise, keyOf, leavesOf, mesh as meshOf, openBackend, valueAndGrad, type Backend, type MeshArray } from '../../src/engine/index.ts'
import { llama, llamaModel, llamaSchema, type LlamaGiven, type Precision } from '../../src/models/index.ts'
import { leafValues, valueOfTensor, type Operand, type T } from '../graph/support.ts'
import { draw, relativeError } from '../support/values.ts'

const given: LlamaGiven = {
  vocab: 24, seq: 8, layers: 3, embed: 8, heads: 4, kvHeads: 2, headDim: 4, hidden: 12, window: 3, unwindowed: [1], unturned: [2], localRope: { base: 100 }, norms: 'both', queryKeyNorms: 'heads', attentionBiases: 'all', feedBiases: true,
  gainsFromOne: true, scoreCap: 5, logitCap: 7, embedScale: 3,
}
const config = llamaSchema.parse(given)
const model = llama({ ...config, packed: true }, 1)
/** Weights that are drawn; those that would be 0 at first, too. */
const drawn = leavesOf(initialise(model.params, keyOf(full(1, [], 'i32')))).map(({ leaf, path }): Operand =>
  ({ tensor: leavesOf(model.params).find(l => l.path === path)?.leaf as T, data: Array.from({ length: leaf.shape.reduce((n, d) => n * d.size, 1) }, (_, i) => 0.8 * draw(path.length * 31 + path.charCodeAt(7 % path.length), i) - 0.4) }))

/** The logits of one window of documents. */
function logitsOf(documents: readonly (readonly number[])[], of: typeof model = model): number[] {
  const { tokens, segments, positions } = model.batch
  const operands = [[tokens, documents.flat()], [segments, documents.flatMap((doc, i) => doc.map(() => i))], [positions, documents.flatMap(doc => doc.map((_, p) => p))]] as const
  const batch = operands.map(([tensor, data]): Operand => ({ tensor: tensor as never, data }))
  return valueOfTensor(of.logits(model.params, { tokens, segments, positions }), ...drawn, ...batch)
}
const [a, b] = [[3, 7, 1], [9, 2, 14, 5, 11]] as const

test.each([0, 3])('a document is what it is alone, wherever it stands in a window (blocks of %i)', blockwise => {
  const of = llama({ ...config, packed: true, blockwise }, 1)
  const [first, second] = [logitsOf([a, b], of), logitsOf([b, a], of)]
  expect(relativeError(first.slice(0, 72), second.slice(120))).toBeLessThan(1e-12)
  expect(relativeError(first.slice(72), second.slice(0, 120))).toBeLessThan(1e-12)
  // What a document holds changes no bit of another.
  expect(logitsOf([[3, 7, 2], b], of).slice(72)).toEqual(first.slice(72))
  expect(logitsOf([[3, 7, 2], b], of).slice(0, 72)).not.toEqual(first.slice(0, 72))
})

describe('one that is not packed', () => {
  const plain = llama({ ...config }, 1)
  const data: readonly Operand[] = [...drawn, { tensor: plain.batch.tokens as never, data: [...a, ...b] }]
  test('sees nothing behind a token', () => {
    const all = valueOfTensor(plain.logits(model.params, plain.batch), ...data)
    const other = valueOfTensor(plain.logits(model.params, plain.batch), ...drawn, { tensor: plain.batch.tokens as never, data: [...a, 9, 2, 14, 5, 12] })
    expect(other.slice(0, 168)).toEqual(all.slice(0, 168))
  })
  test('computes nearly the same in 8 bits', () => {
    const whole = valueOfTensor(plain.logits(model.params, plain.batch), ...data)
    const few = valueOfTensor(plain.logits(plain.quantized(model.params, { bits: 8, group: 4 }), plain.batch), ...data)
    const error = relativeError(few, whole)
    expect(error).toBeLessThan(0.05)
    expect(error).toBeGreaterThan(1e-6)
  })
  test('drops in training what it is told to, by its key', () => {
    const dropping = llama({ ...config, dropout: 0.5 }, 1)
    const batch = [...data, { tensor: plain.batch.targets as never, data: [...b, ...a] }]
    const loss = (seed?: number): number => leafValues({ loss: dropping.loss(model.params, plain.batch, seed === undefined ? undefined : keyOf(full(seed, [], 'i32'))).loss }, ...batch)[0]?.[0] ?? NaN
    expect(loss()).toBe(leafValues({ loss: plain.loss(model.params, plain.batch).loss }, ...batch)[0]?.[0])
    expect(new Set([loss(), loss(1), loss(2)]).size).toBe(3)
    expect(loss(1)).toBe(loss(1))
  })
  test('drops what attention takes, too, and nothing where it does not train', () => {
    const batch = [...data, { tensor: plain.batch.targets as never, data: [...b, ...a] }]
    const loss = (rate: number, seed?: number): number => leafValues({ loss: llama({ ...config, attentionDropout: rate }, 1).loss(model.params, plain.batch, seed === undefined ? undefined : keyOf(full(seed, [], 'i32'))).loss }, ...batch)[0]?.[0] ?? NaN
    expect(loss(0.5)).toBe(loss(0))
    expect(new Set([loss(0.5), loss(0.5, 1), loss(0.5, 2)]).size).toBe(3)
    expect(loss(0, 1)).toBe(loss(0))
  })
})

describe.each([['all at once', 0], ['in blocks', 3]])('in bf16, attention %s', (_, blockwise) => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
  afterAll(async () => { await backend.close() })
  const tokens = { tokens: Int32Array.of(...a, ...b, ...b, ...a), targets: Int32Array.of(...b, ...a, ...a, ...b) }

  /** The loss, and the gradients one after another. */
  async function found(precision: Precision, sizes: { readonly batch: number; readonly model: number }): Promise<{ readonly loss: number; readonly gradients: { readonly [path: string]: readonly number[] } }> {
    const of = llama({ ...config, blockwise }, 2, precision)
    const program = await compile((params: typeof of.params, batch: typeof of.batch) => valueAndGrad((p: typeof of.params) => of.loss(p, batch).loss)(params), [of.params, of.batch], {
      mesh: meshOf(sizes), layout: { batch: 'batch', kvHeads: 'model', hidden: 'model', vocab: 'model' }, uses: of.layouts, backend, dims: of.dims,
    })
    // The weights of the other tests.
    const numbers = new Map(leavesOf(model.params).map(({ path }, i) => [path, Float32Array.from(drawn[i]?.data ?? [])]))
    const filled = (tree: object, at: string): unknown => Object.fromEntries(Object.entries(tree).map(([name, x]: [string, object]) => {
      const path = at === '' ? name : `${at}.${name}`
      return [name, numbers.get(path) ?? filled(x, path)]
    }))
    const { value, grads } = await program(filled(of.params, '') as never, tokens as never)
    const at = (path: string): MeshArray => path.split('.').reduce<unknown>((tree, name) => (tree as { readonly [name: string]: unknown })[name], grads) as MeshArray
    const gradients = await Promise.all([...numbers.keys()].map(async path => [path, Array.from(await at(path).read(), Number)] as const))
    return { loss: await value.item(), gradients: Object.fromEntries(gradients) }
  }

  test('a mesh gives what one device gives, and both what f32 gives, as near as halves can', async () => {
    const half = { params: 'f32', compute: 'bf16' } as const
    const [whole, one, four] = [await found({ params: 'f32', compute: 'f32' }, { batch: 1, model: 1 }), await found(half, { batch: 1, model: 1 }), await found(half, { batch: 2, model: 2 })]
    expect(Math.abs(four.loss - one.loss)).toBeLessThan(2 ** -8 * one.loss)
    expect(Math.abs(one.loss - whole.loss)).toBeLessThan(2 ** -8 * whole.loss)
    for (const [path, gradient] of Object.entries(one.gradients)) {
      expect(relativeError(four.gradients[path] ?? [], gradient), path).toBeLessThan(2 ** -7)
      const error = relativeError(gradient, whole.gradients[path] ?? [])
      expect(error, path).toBeLessThan(0.1)
      expect(error, path).toBeGreaterThan(1e-4)
    }
  })
})

test.each([
  [{ kvHeads: 3 }, 'the recipe: llama: kvHeads is 3'], [{ unturned: [3] }, 'the recipe: llama: unturned is [3]'], [{ rope: { share: 0.25 } }, 'the recipe: llama: rope is {"share":0.25}'],
  [{ window: undefined }, 'the recipe: llama: window is missing'], [{ kvhead: 2 }, 'the recipe: llama: a llama has no field "kvhead"'], [{ blockwise: -1 }, 'the recipe: llama: blockwise is -1'], [{ activation: 'relu' }, 'the recipe: llama: activation is "relu"'],
])('refuses %j', (change, what) => {
  const message = (): string => { try { llamaModel({ ...given, ...change } as never); return 'none' } catch (e) { return e instanceof UsageError ? e.problem.what : String(e) } }
  expect(message()).toBe(what)
})
