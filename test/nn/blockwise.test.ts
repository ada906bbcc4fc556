/** Attention in blocks: the plain form's values and gradients, whatever the blocks, what is visible and the mesh; and no bit of a document changed by another. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DimError } from '../../src/core/errors.ts'
import { compile, dims, expectDims, full, input, loose, mesh as meshOf, openBackend, vjp, type Backend, type Tensor } from '../../src/engine/index.ts'
import { attention, crossAttention, seeing, type AttentionOptions, type HeadWeights, type Seeing, type Visibility } from '../../src/nn/index.ts'
import { given, leafValues, type Operand, type T } from '../graph/support.ts'
import { draw, relativeError } from '../support/values.ts'

const d = dims({ batch: 2, seq: 7, kvSeq: 7, kvHeads: 2, group: 2, headDim: 4 })
type Shape = Parameters<typeof given>[0]
const random = (shape: Shape, seed: number, scale = 1): Operand => given(shape, Array.from({ length: shape.reduce((n, e) => n * e.size, 1) }, (_, i) => scale * (2 * draw(seed, i) - 1)))
const q = random([d.batch, d.seq, d.kvHeads, d.group, d.headDim], 1, 2)
const [k, v] = [random([d.batch, d.kvSeq, d.kvHeads, d.headDim], 2, 2), random([d.batch, d.kvSeq, d.kvHeads, d.headDim], 3)]
const bias = random([d.kvHeads, d.group, d.seq, d.kvSeq], 4)
const far = random([d.group, d.kvSeq], 9)
const g = random([d.batch, d.seq, d.kvHeads, d.group, d.headDim], 5)
const segments = given([d.batch, d.seq], [0, 0, 1, 1, 1, 3, 3, 2, 2, 2, 2, 4, 4, 4], 'i32')
const prefix = given([d.batch, d.seq], [1, 1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0], 'bool')
const mask = given([d.batch, d.seq, d.kvSeq], Array.from({ length: 98 }, (_, i) => (i % 7 === 0 || draw(6, i) > 0.4 ? 1 : 0)), 'bool')
const all = [q, k, v, bias, far, g, segments, prefix, mask]

type Options = AttentionOptions<string>
const attended = (options: Options, x: readonly T[]): T => {
  const [query, key, value] = x as [T, T, T]
  return expectDims(attention(query, key, value, { headDim: 'headDim' as string, kvSeq: 'kvSeq' as string }, options), query.shape)
}
/** The result and the gradients of query, key, value, and the bias where there is one. */
function valuesOf(options: Options): number[][] {
  const inputs = [q.tensor, k.tensor, v.tensor, ...(options.bias === undefined ? [] : [options.bias])]
  const { value, pull } = vjp((x: readonly T[]) => attended(options.bias === undefined ? options : { ...options, bias: x[3] as T }, x))(inputs)
  return leafValues([value, ...pull(g.tensor)[0] as readonly T[]], ...all)
}
const seen = (how: Seeing): Visibility => seeing(d.seq, d.kvSeq, how)
const cases: readonly (readonly [string, Options])[] = [
  ['all', {}],
  ['causal', { visible: seen({}) }],
  ['a window', { visible: seen({ window: 3 }) }],
  ['a window of one', { visible: seen({ window: 1 }) }],
  ['a window to both sides', { visible: seen({ causal: false, window: 2 }) }],
  ['a window that the program knows', { visible: seen({ window: full(2, [], 'i32') }) }],
  ['everything, though there is a window', { visible: seen({ window: full(2 ** 30, [], 'i32') }) }],
  ['a prefix', { visible: seen({ prefix: prefix.tensor }) }],
  ['a prefix in a window', { visible: seen({ prefix: prefix.tensor, window: 4 }) }],
  ['documents', { visible: seen({ segments: segments.tensor }) }],
  ['documents seen from both sides', { visible: seen({ causal: false, segments: segments.tensor }) }],
  ['documents with a prefix, a window, a cap, a bias, a scale', { visible: seen({ segments: segments.tensor, prefix: prefix.tensor, window: 3 }), softCap: 1.5, bias: bias.tensor, scale: 0.7 }],
  ['a cap and a bias of fewer dims', { visible: seen({}), softCap: 0.8, bias: far.tensor }],
  ['bools that say what is visible', { visible: mask.tensor }],
  ['bools, apart', { visible: mask.tensor, isolate: true, softCap: 2 }],
]
describe.each(cases)('%s', (_, options) => {
  const plain = valuesOf(options)
  test.each([2, 3, 64])('in blocks of %i', block => {
    const found = valuesOf({ ...options, block })
    expect(found.length).toBe(plain.length)
    found.forEach((values, i) => { expect(relativeError(values, plain[i] ?? [])).toBeLessThan(1e-12) })
  })
})

test('who sees nothing gets 0, and gives no gradient', () => {
  const none = given([d.batch, d.seq, d.kvSeq], Array.from({ length: 98 }, (_, i) => (Math.floor(i / 7) % 7 === 2 ? 0 : 1)), 'bool')
  const { value, pull } = vjp((x: readonly T[]) => attended({ visible: none.tensor, block: 2 }, x))([q.tensor, k.tensor, v.tensor])
  const [y = [], dq = []] = leafValues([value, (pull(g.tensor)[0] as readonly T[])[0] ?? value], ...all, none)
  for (const values of [y, dq]) values.forEach((n, i) => { expect(n === 0).toBe(Math.floor(i / 16) % 7 === 2) })
})

test('of another sequence, whatever the dims are called, with and without padding', () => {
  const e = dims({ batch: 2, target: 5, source: 7, embed: 4, heads: 2, headDim: 2 })
  const [x, memory] = [random([e.batch, e.target, e.embed], 11), random([e.batch, e.source, e.embed], 12)]
  const weights = ['query', 'key', 'value', 'out'].map((name, i) => [name, random([e.embed, e.heads, e.headDim], 13 + i)] as const)
  const keep = given([e.batch, e.source], Array.from({ length: 14 }, (_, i) => (i % 7 < 4 ? 1 : 0)), 'bool')
  const w = Object.fromEntries(weights.map(([name, { tensor }]) => [name, tensor])) as unknown as HeadWeights<string, string, string>
  const valuesIn = (how: { readonly block?: number; readonly keep?: T }): number[][] => {
    const { value, pull } = vjp((a: T, b: T) => expectDims(crossAttention<string, string, string, string, string, string, string>(a, b, w, { seq: e.target, kvSeq: e.source, embed: e.embed, heads: e.heads, headDim: e.headDim }, how), a.shape))(x.tensor, memory.tensor)
    return leafValues([value, ...pull(value.cos())], x, memory, keep, ...weights.map(([, operand]) => operand))
  }
  for (const options of [{}, { keep: keep.tensor }]) {
    const plain = valuesIn(options)
    valuesIn({ ...options, block: 3 }).forEach((values, i) => { expect(relativeError(values, plain[i] ?? [])).toBeLessThan(1e-12) })
  }
})

test('of values that are numbers, or as wide as they like', () => {
  for (const v of [random([d.batch, d.kvSeq, d.kvHeads], 21), random([d.batch, d.kvSeq, d.kvHeads, { ...d.headDim, size: 3 }], 22)]) {
    const valuesIn = (block: number | undefined, isolate: boolean): number[][] => {
      const { value, pull } = vjp((query: T, key: T, value: T) => {
        const found = loose(attention(query, key, value, { headDim: 'headDim' as string, kvSeq: 'kvSeq' as string }, { visible: seen({ window: 3 }), isolate, ...(block === undefined ? {} : { block }) }))
        return expectDims(found, [d.batch, d.seq, d.kvHeads, d.group, ...v.tensor.shape.filter(e => e.name === 'headDim')])
      })(q.tensor, k.tensor, v.tensor as T)
      return leafValues([value, ...pull(value.cos())], ...all, v)
    }
    for (const isolate of [false, true]) {
      const plain = valuesIn(undefined, isolate)
      valuesIn(2, isolate).forEach((values, i) => { expect(relativeError(values, plain[i] ?? [])).toBeLessThan(1e-12) })
    }
  }
})

test('refuses what is no block', () => {
  const code = (block: number): string => { try { attended({ block }, [q.tensor, k.tensor, v.tensor]); return 'none' } catch (e) { return e instanceof DimError ? e.problem.what : String(e) } }
  expect([0, 1.5, -2].map(code)).toEqual(['attention: block is 0', 'attention: block is 1.5', 'attention: block is -2'])
})

type Q = Tensor<'batch' | 'seq' | 'kvHeads' | 'group' | 'headDim'>
type K = Tensor<'batch' | 'kvSeq' | 'kvHeads' | 'headDim'>
const m = dims({ batch: 2, seq: 8, kvSeq: 8, kvHeads: 2, group: 2, headDim: 4 })
const given8 = {
  q: input('q', [m.batch, m.seq, m.kvHeads, m.group, m.headDim]), k: input('k', [m.batch, m.kvSeq, m.kvHeads, m.headDim]), v: input('v', [m.batch, m.kvSeq, m.kvHeads, m.headDim]),
  g: input('g', [m.batch, m.seq, m.kvHeads, m.group, m.headDim]), segments: input('segments', [m.batch, m.seq], 'i32'),
}
const drawn = (seed: number, n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => 2 * draw(seed, i) - 1)
const numbers = { q: drawn(1, 256), k: drawn(2, 128), v: drawn(3, 128), g: drawn(4, 256), segments: Int32Array.of(0, 0, 0, 1, 1, 2, 2, 2, 5, 5, 5, 5, 5, 5, 6, 6) }
/** The result and gradients, documents apart, in blocks or not. */
const program = (block?: number) => ({ q: x, k: y, v: z, g: w, segments: s }: typeof given8) => {
  const { value, pull } = vjp((a: Q, b: K, c: K) => expectDims(attention(a, b, c, { headDim: m.headDim, kvSeq: m.kvSeq }, { visible: seeing(m.seq, m.kvSeq, { segments: s, window: 4 }), softCap: 3, ...(block === undefined ? {} : { block }) }), a.shape) as Q)(x, y, z)
  const [dq, dk, dv] = pull(w)
  return { value, dq, dk, dv }
}

describe('on devices', () => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
  afterAll(async () => { await backend.close() })
  const run = async (block: number | undefined, sizes: object, layout: object, of = numbers): Promise<{ readonly [name: string]: readonly number[] }> => {
    const compiled = await compile(program(block), [given8], { mesh: meshOf(sizes as { a: 4 }), layout: layout as { seq: 'a' }, backend, dims: m })
    const found = await compiled(of as never)
    return Object.fromEntries(await Promise.all(Object.entries(found).map(async ([name, x]) => [name, Array.from(await x.read(), Number)] as const)))
  }
  test.each([
    ['one device', {}, {}], ['batch × heads', { a: 2, b: 2 }, { batch: 'a', kvHeads: 'b' }], ['heads that share', { a: 2 }, { group: 'a' }], ['queries', { a: 2 }, { seq: 'a' }], ['keys', { a: 4 }, { kvSeq: 'a' }],
  ] as const)('the numbers are the same split by %s', async (_, sizes, layout) => {
    const [plain, blocks] = [await run(undefined, {}, {}), await run(3, sizes, layout)]
    for (const name of Object.keys(plain)) expect(relativeError(blocks[name] ?? [], plain[name] ?? []), name).toBeLessThan(1e-5)
  })
  test('no bit of a document is changed by another, though it be infinite or NaN', async () => {
    const calm = await run(3, {}, {})
    // Of the first window the middle document, positions 3 and 4, is another: queries and cotangents have 16 numbers a position, keys and values 8.
    const rows = { q: 16, k: 8, v: 8, g: 16 }
    for (const odd of [7, NaN, Infinity, 3e38]) {
      for (const changed of [['q', 'k', 'v'], ['g'], ['k']] as const) {
        const of = { ...numbers, ...Object.fromEntries(changed.map(n => [n, numbers[n].map((x, i) => (i >= 3 * rows[n] && i < 5 * rows[n] && i % 3 === 0 ? odd : x))])) }
        const found = await run(3, {}, {}, of)
        for (const [name, width] of [['value', 16], ['dq', 16], ['dk', 8], ['dv', 8]] as const) {
          const others = (x: readonly number[] | undefined): readonly number[] => (x ?? []).filter((_, i) => i < 3 * width || i >= 5 * width)
          expect(others(found[name]), `${name} ${odd} ${changed.join()}`).toEqual(others(calm[name]))
        }
        // Who sees it is told.
        if (!Number.isFinite(odd)) expect([...found['dq'] ?? [], ...found['dk'] ?? []].some(Number.isNaN)).toBe(true)
      }
    }
  })
})
