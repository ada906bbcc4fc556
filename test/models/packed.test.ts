/** Packed documents: each is what it is alone, and no other document changes a bit of it, whatever that holds. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { treeOps } from '../../src/core/tree.ts'
import { compile, dims, full, initialise, input, keyOf, lossAndGrads, mesh as meshOf, openBackend, vjp, type Backend, type MeshArray, type Tensor } from '../../src/engine/index.ts'
import { isTensor } from '../../src/graph/tensor.ts'
import { gpt, type GptParams } from '../../src/models/index.ts'
import { selfAttention, type AttentionWeights } from '../../src/nn/index.ts'
import { leafValues } from '../graph/support.ts'
import { draw, relativeError } from '../support/values.ts'

const config = { vocab: 24, seq: 8, layers: 2, embed: 8, heads: 2, headDim: 4, hidden: 16, dropout: 0 }
const model = gpt({ ...config, packed: true }, 2)
const arrays = treeOps((x): x is MeshArray => typeof x === 'object' && x !== null && 'read' in x, 'an array')
const drawn = leafValues(initialise(model.params, keyOf(full(1, [], 'i32')))).values()
const paths: string[] = []
const values = treeOps(isTensor, 'a tensor').map(model.params, (_, path) => { paths.push(path); return Float32Array.from(drawn.next().value ?? [], x => x * 8) })
/** The weights, row 23 of the embedding as one says. */
const weightsWith = (row: number): never => treeOps((x): x is Float32Array => x instanceof Float32Array, 'numbers').map(values, (data, path) =>
  path === 'tokens' ? data.map((x, i) => (i >= 23 * config.embed ? row : x)) : data) as never

/** A window of documents: their tokens one after another, padding (a document of its own) to fill it up. */
type Document = readonly number[]
interface Window { readonly tokens: number[]; readonly targets: number[]; readonly segments: number[]; readonly positions: number[] }
/** The last token of a document has no target; those of documents that do not count have none. */
function packed(documents: readonly Document[], counts: (i: number) => boolean = () => true): Window {
  const all = [...documents, Array<number>(8 - documents.flat().length).fill(0)]
  return {
    tokens: all.flat(), segments: all.flatMap((doc, i) => doc.map(() => i)), positions: all.flatMap(doc => doc.map((_, p) => p)),
    targets: all.flatMap((doc, i) => doc.map((_, p) => (i < documents.length && counts(i) ? doc[p + 1] ?? -100 : -100))),
  }
}
const batchOf = (windows: readonly Window[]) => {
  const flat = (f: (w: Window) => number[]): Int32Array => Int32Array.from(windows.flatMap(f))
  return { tokens: flat(w => w.tokens), targets: flat(w => w.targets), segments: flat(w => w.segments), positions: flat(w => w.positions) }
}
const [a, b, c] = [[3, 7, 1], [9, 2, 2, 14, 5], [11, 4, 4, 8]] as const
type Grads = ReadonlyMap<string, readonly number[]>
/** The gradient as a whole, and no parameter's far off: those of queries and keys are small differences of large terms. */
function expectAlike(found: Grads, wanted: Grads): void {
  expect(relativeError([...found.values()].flat(), [...wanted.values()].flat())).toBeLessThan(1e-5)
  for (const path of paths) expect(relativeError(found.get(path) ?? [], wanted.get(path) ?? []), path).toBeLessThan(2e-4)
}
interface Numbers { readonly loss: number; readonly weight: number; readonly logits: readonly number[]; readonly grads: Grads }

describe.each([
  ['one device', {}, {}], ['batch', { batch: 2 }, { batch: 'batch' }], ['tensor', { model: 2 }, { heads: 'model', hidden: 'model', vocab: 'model' }],
  ['queries along the sequence', { line: 2 }, { seq: 'line' }], ['keys along the sequence', { line: 4 }, { kvSeq: 'line' }],
] as const)('split by %s', (_, sizes, layout) => {
  let backend: Backend
  let run: (windows: readonly Window[], row?: number) => Promise<Numbers>
  beforeAll(async () => {
    backend = await openBackend({ plugin: 'simulate', devices: 4 })
    const program = await compile((p: GptParams, batch: typeof model.batch) => ({
      ...lossAndGrads((q: GptParams) => ({ ...model.loss(q, batch), metrics: {} }))(p), logits: model.logits(p, batch),
    }), [model.params, model.batch], { mesh: meshOf(sizes as { batch: 2 }), layout, backend, dims: model.dims })
    run = async (windows, row = 0.1) => {
      const { value, weight, logits, grads } = await program(weightsWith(row), batchOf(windows))
      const found = new Map<string, readonly number[]>()
      for (const { path, leaf } of arrays.flatten(grads)) found.set(path, Array.from(await leaf.read(), Number))
      return { loss: await value.item(), weight: await weight.item(), logits: Array.from(await logits.read(), Number), grads: found }
    }
  })
  afterAll(async () => { await backend.close() })
  const none: Window = packed([])
  const logitsOf = (n: Numbers, window: number, at: number, length: number): readonly number[] => n.logits.slice((window * 8 + at) * config.vocab, (window * 8 + at + length) * config.vocab)

  test('a document anywhere in a window is what it is alone, its gradient too', async () => {
    const alone = await run([packed([a]), none])
    const [second, third] = [await run([packed([b, a], i => i === 1), none]), await run([none, packed([c, [6], a], i => i === 2)])]
    for (const [found, window, at] of [[second, 0, 5], [third, 1, 5]] as const) {
      expect(found.weight).toBe(2)
      expect(Math.abs(found.loss - alone.loss)).toBeLessThan(1e-5 * alone.loss)
      expect(relativeError(logitsOf(found, window, at, 3), logitsOf(alone, 0, 0, 3))).toBeLessThan(1e-5)
      expectAlike(found.grads, alone.grads)
    }
  })
  test('a window\'s loss is the sum of its documents\' over the sum of their targets', async () => {
    const [both, first, second] = [await run([packed([b, a]), packed([c])]), await run([packed([b]), none]), await run([packed([a]), none])]
    const third = await run([none, packed([c])])
    expect([both, first, second, third].map(n => n.weight)).toEqual([4 + 2 + 3, 4, 2, 3])
    const sum = [first, second, third].reduce((s, n) => s + n.loss * n.weight, 0)
    expect(Math.abs(both.loss - sum / 9)).toBeLessThan(1e-5 * both.loss)
    expectAlike(both.grads, new Map(paths.map(path => [path, (both.grads.get(path) ?? []).map((_, i) => [first, second, third].reduce((s, n) => s + (n.grads.get(path)?.[i] ?? NaN) * n.weight / 9, 0))])))
  })
  test('another document changes no bit of it: not other tokens, nor huge ones', async () => {
    const mine = (others: Document, row?: number) => run([packed([others, a], i => i === 1), packed([b], () => false)], row)
    const calm = await mine([1, 2, 3, 4, 5])
    for (const [others, row] of [[[5, 5, 0, 20, 9], 0.1], [[1, 23, 23, 4, 23], 0.1]] as const) {
      const found = await mine(others, row)
      expect(logitsOf(found, 0, 5, 3)).toEqual(logitsOf(calm, 0, 5, 3))
      expect(found.loss).toBe(calm.loss)
      for (const path of paths) expect(found.grads.get(path), path).toEqual(calm.grads.get(path))
    }
    // With a row of the embedding that is huge: logits of that one class are huge as well, wherever it stands.
    for (const huge of [1e15, -1e18]) {
      const [without, within] = [await mine([1, 2, 3, 4, 5], huge), await mine([23, 23, 3, 23, 23], huge)]
      expect(logitsOf(within, 0, 5, 3)).toEqual(logitsOf(without, 0, 5, 3))
      for (const path of paths) expect(within.grads.get(path), path).toEqual(without.grads.get(path))
    }
  })
  test('nor one that is NaN, of the logits', async () => {
    const [without, within] = [await run([packed([[1, 2, 3, 4, 5], a]), none], NaN), await run([packed([[23, 2, 23, 4, 5], a]), none], NaN)]
    // The logit of the class whose row is NaN is NaN in both.
    const others = (n: Numbers): number[] => logitsOf(n, 0, 5, 3).filter((_, i) => i % config.vocab !== 23)
    expect(others(within)).toEqual(others(without))
    expect(others(within).every(Number.isFinite)).toBe(true)
    expect(logitsOf(within, 0, 0, 5).filter((_, i) => i % config.vocab !== 23).some(Number.isNaN)).toBe(true)
  })
})

describe('attention alone', () => {
  const d = dims({ batch: 1, seq: 6, kvSeq: 6, embed: 4, heads: 2, headDim: 2 })
  type X = Tensor<'batch' | 'seq' | 'embed'>
  const inputs = [input('x', [d.batch, d.seq, d.embed]), input('g', [d.batch, d.seq, d.embed]), input('segments', [d.batch, d.seq], 'i32')] as const
  const number = (seed: number, n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => 2 * draw(seed, i) - 1)
  const w = { query: input('query', [d.embed, d.heads, d.headDim]), key: input('key', [d.embed, d.heads, d.headDim]), value: input('value', [d.embed, d.heads, d.headDim]), out: input('out', [d.heads, d.headDim, d.embed]) }
  const given = { query: number(1, 16), key: number(2, 16), value: number(3, 16), out: number(4, 16) }
  const segments = Int32Array.of(0, 0, 0, 4, 4, 4)

  test.each(['simulate', 'cpu'])('the gradient of a document, too, knows nothing of another that is infinite or NaN, on %s', async plugin => {
    await using backend = await openBackend({ plugin, devices: 1, cache: false })
    const program = await compile((x: X, g: X, own: (typeof inputs)[2], weights: AttentionWeights) => {
      const { value, pull } = vjp((y: X) => selfAttention(y, weights, d, { segments: own }))(x)
      return { y: value, dx: pull(g)[0] }
    }, [...inputs, w], { mesh: meshOf({}), layout: {}, backend })
    const [x, g] = [number(5, 24), number(6, 24)]
    const run = async (x: Float32Array, g: Float32Array) => {
      const found = await program(x, g, segments, given)
      return { y: Array.from(await found.y.read(), Number), dx: Array.from(await found.dx.read(), Number) }
    }
    const calm = await run(x, g)
    for (const odd of [NaN, Infinity, 3e38, -1e20]) {
      for (const cotangents of [false, true]) {
        const found = await run(x.map((v, i) => (i >= 12 && i % 5 === 0 ? odd : v)), g.map((v, i) => (cotangents && i >= 12 ? odd : v)))
        expect(found.y.slice(0, 12)).toEqual(calm.y.slice(0, 12))
        expect(found.dx.slice(0, 12)).toEqual(calm.dx.slice(0, 12))
        // Who sees it is told: what is wrong is not hidden.
        if (!Number.isFinite(odd)) expect([found.y.slice(12), found.dx.slice(12)].flat().some(Number.isNaN)).toBe(true)
      }
    }
    // A cotangent that is no number, of a document that is well otherwise: its own gradient is none.
    const overflown = await run(x, g.map((v, i) => (i === 20 ? Infinity : v)))
    expect(overflown.y).toEqual(calm.y)
    expect(overflown.dx.slice(0, 12)).toEqual(calm.dx.slice(0, 12))
    expect(overflown.dx.slice(12).some(v => !Number.isFinite(v))).toBe(true)
  })
})

test('a prefix is seen by all of its document, and masked tokens from both sides', () => {
  const [prefix, both] = [gpt({ ...config, attention: 'prefix' }, 1), gpt({ ...config, attention: 'bidirectional' }, 1)]
  expect(Object.keys(prefix.batch)).toEqual(['tokens', 'targets', 'prefix'])
  expect(Object.keys(both.batch)).toEqual(['tokens', 'targets'])
  expect(Object.keys(gpt({ ...config, attention: 'prefix', packed: true }, 1).batch)).toEqual(['tokens', 'targets', 'segments', 'positions', 'prefix'])
  const flat: number[] = []
  treeOps((x): x is Float32Array => x instanceof Float32Array, 'numbers').map(values, data => { flat.push(...data); return data })
  /** Positions whose logits change with the token at a place. */
  const seeing = (m: { readonly params: GptParams; readonly batch: { readonly tokens: Tensor<'batch' | 'seq'> }; readonly logits: (p: GptParams, b: never) => Tensor<'batch' | 'seq' | 'vocab'> }, place: number, marked = 0): number[] => {
    const operands = (token: number) => [
      ...Object.entries(m.batch).map(([name, t]) => ({ tensor: t as never, data: Array.from({ length: 8 }, (_, i) => (name === 'prefix' ? Number(i < marked) : i === place ? token : i)) })),
      ...treesOf(m.params),
    ]
    const [one, two] = [5, 17].map(token => leafValues(m.logits(m.params, m.batch as never), ...operands(token)).flat())
    return Array.from({ length: 8 }, (_, i) => i).filter(i => one?.slice(i * 24, i * 24 + 24).some((v, k) => v !== two?.[i * 24 + k]))
  }
  const treesOf = (params: GptParams) => {
    const found: { tensor: never; data: ArrayLike<number> }[] = []
    const data = new Map<string, Float32Array>()
    treeOps((x): x is Float32Array => x instanceof Float32Array, 'numbers').map(values, (d, path) => { data.set(path, d); return d })
    treeOps(isTensor, 'a tensor').map(params, (leaf, path) => { found.push({ tensor: leaf as never, data: data.get(path) ?? [] }); return leaf })
    return found
  }
  expect(seeing(gpt(config, 1), 3)).toEqual([3, 4, 5, 6, 7])
  expect(seeing(prefix, 3, 2)).toEqual([3, 4, 5, 6, 7])
  expect(seeing(prefix, 3, 4)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  expect(seeing(both, 3)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
})
