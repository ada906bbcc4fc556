/** Attention by our own kernel, forward and back, beside the reference evaluator and beside what XLA computes without it. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { compile, expectDims, input, loose, mesh, openBackend, param, plan, scan, valueAndGrad, type AnyTensor, type Backend, type MeshArray, type Scalar, type Tensor, type Tree } from '../../src/engine/index.ts'
import { compileTraced } from '../../src/engine/compile.ts'
import type { DType } from '../../src/core/dtype.ts'
import { attention, seeing } from '../../src/nn/index.ts'
import { every } from '../support/depth.ts'
import { draw, relativeError } from '../support/values.ts'

type T = Tensor<string>
let backend: Backend
let reference: Backend
let built: boolean
beforeAll(async () => {
  backend = await openBackend({ devices: 2, cache: false })
  reference = await openBackend({ plugin: 'simulate', devices: 1 })
  built = await backend.kernels()
})
afterAll(async () => { await Promise.all([backend.close(), reference.close()]) })
beforeEach(({ skip }) => { skip(!built, 'there is no C compiler here that builds the kernels') })

interface Sizes { readonly batch?: number; readonly seq: number; readonly kvSeq?: number; readonly heads: number; readonly group?: number; readonly headDim: number }
interface Case extends Sizes { readonly dtype?: DType; readonly causal: boolean; readonly window?: number }
const numbers = (n: number, seed: number): Float32Array<ArrayBuffer> => Float32Array.from({ length: n }, (_, i) => 2 * draw(seed, i) - 1)
const f32 = (x: AnyTensor): T => loose(loose(x).cast('f32'))

function programOf({ batch = 2, seq, kvSeq = seq, heads, group = 1, headDim, dtype = 'f32', causal, window }: Case) {
  const d = { batch: { name: 'batch', size: batch }, seq: { name: 'seq', size: seq }, kvSeq: { name: 'kvSeq', size: kvSeq }, heads: { name: 'heads', size: heads }, group: { name: 'group', size: group }, headDim: { name: 'headDim', size: headDim } }
  const groups = group === 1 ? [] : [d.group]
  const shapes = { q: [d.batch, d.seq, d.heads, ...groups, d.headDim], k: [d.batch, d.kvSeq, d.heads, d.headDim], v: [d.batch, d.kvSeq, d.heads, d.headDim] }
  const params = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, param(name, shape)])) as Record<'q' | 'k' | 'v', T>
  const weights = input('weights', shapes.q) as T
  const attended = (p: typeof params): T => {
    const [q, k, v] = [p.q, p.k, p.v].map(x => loose(loose(x).cast(dtype))) as [T, T, T]
    return loose(attention<string, string, string, string, string>(q, k, v, { headDim: d.headDim, kvSeq: d.kvSeq }, causal || window !== undefined ? { visible: seeing(d.seq, d.kvSeq, { causal, ...(window === undefined ? {} : { window }) }) } : {}))
  }
  const loss = (weights: T) => (p: typeof params): Scalar => expectDims(loose(f32(attended(p)).mul(weights).sum()), [])
  // Of squares, so that the cotangent hangs on the result.
  const f = (p: typeof params, weights: T) => valueAndGrad((p: typeof params): Scalar => { const y = f32(attended(p)); return expectDims(loose(y.mul(y).mul(weights).sum()), []) })(p)
  const again = (p: typeof params, weights: T) => valueAndGrad(loss(weights))(p)
  const forward = (p: typeof params) => f32(attended(p))
  const size = (shape: readonly { readonly size: number }[]): number => shape.reduce((n, x) => n * x.size, 1)
  const data = { q: numbers(size(shapes.q), 1), k: numbers(size(shapes.k), 2), v: numbers(size(shapes.v), 3) }
  return { f, again, forward, params, weights, data, weightsData: numbers(size(shapes.q), 4), dims: d }
}
type Made = ReturnType<typeof programOf>
type Found = Readonly<Record<'result' | 'q' | 'k' | 'v', Float32Array>>
/** As a backend without kernels computes it. */
const plainly = (of: Backend): Backend => new Proxy(of, { get: (target, name) => {
  if (name === 'kernels') return () => Promise.resolve(false)
  const found = Reflect.get(target, name) as unknown
  return typeof found === 'function' ? (found as (...args: readonly unknown[]) => unknown).bind(target) : found
} })
type Ran<R> = Disposable & ((...args: readonly unknown[]) => Promise<R>)
async function computed({ f, forward, params, weights, data, weightsData }: Made, on: Backend, sizes: { readonly [axis: string]: number } = {}): Promise<Found> {
  const how = { mesh: mesh(sizes), layout: Object.keys(sizes).length === 0 ? {} : { heads: 'model' }, backend: on }
  using alone = await compile(forward as never, [params] as never, how as never) as unknown as Ran<MeshArray>
  using program = await compile(f as never, [params, weights] as never, how as never) as unknown as Ran<{ readonly grads: Record<string, MeshArray> }>
  const { grads } = await program(data, weightsData)
  const read = async (x: MeshArray | undefined): Promise<Float32Array> => (await x?.read() as Float32Array).slice()
  return { result: await read(await alone(data)), q: await read(grads['q']), k: await read(grads['k']), v: await read(grads['v']) }
}
const callsIn = (made: Made, kernels = true, f: unknown = made.f): { readonly forward: number; readonly backward: number } => {
  const { text } = plan(f as never, [made.params, made.weights] as never, { mesh: mesh({}), layout: {}, kernels })
  return { forward: text.match(/"meshwork\.flash_forward"/g)?.length ?? 0, backward: text.match(/"meshwork\.flash_backward"/g)?.length ?? 0 }
}
const differ = (a: Found, b: Found): number => Math.max(...(['result', 'q', 'k', 'v'] as const).map(name => relativeError([...a[name]], [...b[name]])))

const cases: readonly (Case & { readonly what: string })[] = [
  { what: 'one place', seq: 1, heads: 2, headDim: 8, causal: true },
  { what: 'fewer places than a vector has', seq: 7, heads: 2, headDim: 8, causal: true },
  { what: 'a window of 64', seq: 64, heads: 2, headDim: 32, causal: true },
  { what: 'a window of 64, all seen', seq: 64, heads: 2, headDim: 40, causal: false },
  { what: 'gpt-tiny\'s', seq: 128, heads: 2, headDim: 32, causal: true },
  { what: 'heads of 128', seq: 33, heads: 1, headDim: 128, causal: true },
  { what: 'no whole blocks', seq: 200, batch: 1, heads: 1, headDim: 64, causal: true },
  { what: 'heads that share keys', seq: 70, heads: 2, group: 3, headDim: 16, causal: true },
  { what: 'heads that share keys, all seen', seq: 20, heads: 1, group: 4, headDim: 12, causal: false },
  { what: 'fewer keys than queries', seq: 40, kvSeq: 9, heads: 2, headDim: 8, causal: false },
  { what: 'more keys than queries', seq: 5, kvSeq: 50, heads: 2, headDim: 24, causal: false },
  { what: 'a window that slides', seq: 50, heads: 2, headDim: 16, causal: true, window: 9 },
  { what: 'bf16', seq: 64, heads: 2, headDim: 32, dtype: 'bf16', causal: true },
  { what: 'f16', seq: 37, heads: 2, headDim: 16, dtype: 'f16', causal: false },
]
const asXla = every(4, cases).map(c => c.what)
describe('attention by our own kernel', () => {
  test.each(cases)('$what: a call forward and one back, and the reference\'s numbers', async ({ what, ...of }) => {
    const made = programOf(of)
    expect(callsIn(made)).toEqual({ forward: 1, backward: 1 })
    // What hangs on no result is made by the way.
    expect(callsIn(made, true, made.again)).toEqual({ forward: 0, backward: 1 })
    expect(callsIn(made, false)).toEqual({ forward: 0, backward: 0 })
    const found = await computed(made, backend)
    const half = of.dtype !== undefined && of.dtype !== 'f32'
    expect(differ(found, await computed(made, reference))).toBeLessThan(half ? 0.02 : 2e-5)
    // What XLA computes without it is a second witness, and takes as long again.
    if (asXla.includes(what)) expect(differ(found, await computed(made, plainly(backend)))).toBeLessThan(half ? 0.02 : 2e-5)
  })

  test('of heads that a mesh splits the same numbers', async () => {
    const made = programOf({ seq: 64, heads: 4, headDim: 32, causal: true })
    expect(differ(await computed(made, backend, { model: 2 }), await computed(made, backend))).toBeLessThan(1e-6)
  })

  test('the same bits each time, on however many threads', async () => {
    const made = programOf({ batch: 1, seq: 300, heads: 2, headDim: 32, causal: true })
    const one = await computed(made, backend)
    for (let i = 0; i < 3; i++) expect(await computed(made, backend)).toEqual(one)
    // A backend of one device leaves a thread more to help.
    await using alone = await openBackend({ devices: 1, cache: false })
    await alone.kernels()
    expect(await computed(made, alone)).toEqual(one)
  })

  test.each([NaN, Infinity])('%s in a query is there in what it gives, and others are as without', async value => {
    const made = programOf({ batch: 1, seq: 40, heads: 2, headDim: 8, causal: true })
    const clean = await computed(made, backend)
    made.data.q[5 * 16 + 3] = value
    const [found, plain] = [await computed(made, backend), await computed(made, plainly(backend))]
    // Results have their heads before their places.
    const head = (x: Float32Array): number[] => [...x.slice(5 * 8, 5 * 8 + 8)]
    const others = (x: Float32Array): number[] => [...x.slice(0, 5 * 8), ...x.slice(5 * 8 + 8)]
    expect(head(plain.result)).toEqual(head(plain.result).map(() => NaN))
    expect(head(found.result)).toEqual(head(plain.result))
    expect(others(found.result)).toEqual(others(clean.result))
    expect([...found.q.slice(5 * 16, 5 * 16 + 8)]).toEqual([...plain.q.slice(5 * 16, 5 * 16 + 8)])
    expect(found.k.some(Number.isNaN) && found.v.some(Number.isNaN)).toBe(true)
  })

  test('has its operations told where a program is timed', async () => {
    const { f, params, weights } = programOf({ seq: 16, heads: 2, headDim: 8, causal: true })
    using traced = await compileTraced(f as never, [params, weights] as never, { mesh: mesh({}), layout: {}, backend } as never)
    const parts = traced.parts.filter(p => p.target.startsWith('meshwork.flash')).map(p => [p.target, p.flops])
    // Scores and results of two windows, two heads: 2 · 16 · 16 · 8 each.
    expect(parts).toEqual([['meshwork.flash_forward', 2 * 4 * 4096], ['meshwork.flash_backward', 5 * 4 * 4096]])
  })

  test('in a loop over layers a call forward, and one back that makes the result again', async () => {
    const d = { layers: { name: 'layers', size: 3 }, batch: { name: 'batch', size: 2 }, seq: { name: 'seq', size: 20 }, heads: { name: 'heads', size: 2 }, headDim: { name: 'headDim', size: 8 } }
    const w = param('w', [d.layers, d.heads, d.headDim]) as T
    const x = input('x', [d.batch, d.seq, d.heads, d.headDim]) as T
    const layer = (x: T, w: T): T => {
      const keys = loose(loose(x.mul(w)).rename('seq', 'kvSeq'))
      const found = loose(attention<string, string, string, string, string>(x, keys, loose(keys.sin()), { headDim: 'headDim', kvSeq: 'kvSeq' }, { visible: seeing(d.seq, { name: 'kvSeq', size: 20 }, { causal: true }) }))
      return loose(x.add(loose(found.mul(w))))
    }
    const step = (policy: 'everything' | 'nothing') => (p: { readonly w: T }, x: T) => valueAndGrad((p: { readonly w: T }): Scalar => expectDims(loose(loose(scan(d.layers, x, p.w, (x: T, w: T) => [layer(x, w), {}] as const)[0]).sum()), []), { remat: policy })(p)
    const data = [{ w: numbers(48, 8) }, numbers(640, 9)]
    const grads = async (policy: 'everything' | 'nothing', on: Backend): Promise<Float32Array> => {
      using program = await compile(step(policy) as never, [{ w }, x] as never, { mesh: mesh({}), layout: {}, backend: on } as never) as unknown as Disposable & ((...args: readonly unknown[]) => Promise<{ readonly grads: { readonly w: MeshArray } }>)
      return (await (await program(...data)).grads.w.read() as Float32Array).slice()
    }
    const { text } = plan(step('everything') as never, [{ w }, x] as never, { mesh: mesh({}), layout: {}, kernels: true })
    expect(text.match(/"meshwork\.flash_forward"/g)).toHaveLength(1)
    expect(text.match(/:4 = "stablehlo\.custom_call"\(.*"meshwork\.flash_backward"/g)).toHaveLength(1)
    // Of a loop that keeps the shares nothing is left to make again.
    expect(plan(step('nothing') as never, [{ w }, x] as never, { mesh: mesh({}), layout: {}, kernels: true }).text).not.toContain('meshwork.flash')
    const expected = [...await grads('nothing', reference)]
    expect(relativeError([...await grads('everything', backend)], expected)).toBeLessThan(2e-5)
    expect(relativeError([...await grads('nothing', backend)], expected)).toBeLessThan(2e-5)
  })

  test('is left to XLA where the kernel has none: caps, and heads that are too long', () => {
    const textOf = (headDim: number, rest: object): string => {
      const d = { seq: { name: 'seq', size: 8 }, kvSeq: { name: 'kvSeq', size: 8 }, heads: { name: 'heads', size: 2 }, headDim: { name: 'headDim', size: headDim } }
      const of = (name: string, along: 'seq' | 'kvSeq'): T => input(name, [d[along], d.heads, d.headDim]) as T
      return plan((q: T, k: T, v: T): Tree => attention<string, string, string, string, string>(q, k, v, { headDim: d.headDim, kvSeq: d.kvSeq }, rest) as Tree, [of('q', 'seq'), of('k', 'kvSeq'), of('v', 'kvSeq')] as const, { mesh: mesh({}), layout: {}, kernels: true }).text
    }
    expect(textOf(256, {})).toContain('meshwork.flash_forward')
    expect(textOf(264, {})).not.toContain('meshwork.flash')
    expect(textOf(16, { softCap: 5 })).not.toContain('meshwork.flash')
  })
})
