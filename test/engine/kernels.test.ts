/** Products and sums by our own kernels: right, and of a row the same bits however many others there are. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { compile, full, index as indexOf, input, loose, mesh, openBackend, plan, scan, type AnyTensor, type Backend, type MeshArray, type Tensor, type Tree } from '../../src/engine/index.ts'
import type { DType } from '../../src/core/dtype.ts'
import { attention } from '../../src/nn/attention.ts'
import { cacheInputs, fedInputs, reading } from '../../src/nn/cache.ts'
import { linear } from '../../src/nn/linear.ts'
import { draw, relativeError } from '../support/values.ts'

let backend: Backend
let built: boolean
beforeAll(async () => {
  backend = await openBackend({ devices: 1, cache: false })
  built = await backend.kernels()
})
afterAll(async () => { await backend.close() })

const numbers = (n: number, seed: number): Float32Array<ArrayBuffer> => Float32Array.from({ length: n }, (_, i) => 2 * draw(seed, i) - 1)
const where = () => ({ mesh: mesh({}), layout: {}, backend })
async function computed(f: unknown, args: readonly AnyTensor[], data: readonly Float32Array[], batchInvariant = true): Promise<Float32Array> {
  using program = await compile(f as (...args: readonly Tree[]) => AnyTensor, args, { ...where(), batchInvariant })
  const found = await program(...data as readonly never[]) as MeshArray
  const read = await found.read() as Float32Array
  found.dispose()
  return read.slice()
}

beforeEach(({ skip }) => { skip(!built, 'there is no C compiler here that builds the kernels') })

const k = 83
describe.each([{ order: 'columns', n: 37 }, { order: 'rows', n: 37 }, { order: 'rows', n: 150 }])('products with $n that lie in $order', ({ order, n }) => {
  const wOf = (dtype: DType) => input('w', order === 'columns' ? [{ name: 'n', size: n }, { name: 'k', size: k }] : [{ name: 'k', size: k }, { name: 'n', size: n }], dtype)
  const data = numbers(n * k, 2)
  test.each(['f32', 'bf16', 'f16'] as const)('of %s', async dtype => {
    const rows = (m: number, plain = false): Promise<Float32Array> => computed((x: AnyTensor, w: AnyTensor) => loose(x).dot(loose(w).cast('f32'), 'k'), [input('x', [{ name: 'm', size: m }, { name: 'k', size: k }]), wOf(dtype)], [numbers(m * k, 1), data], !plain)
    const all = await rows(9)
    expect(relativeError([...all], [...await rows(9, true)])).toBeLessThan(1e-6)
    for (const m of [1, 2, 4, 6]) expect(await rows(m)).toEqual(all.slice(0, m * n))
  })
  test('in a loop over a stack', async () => {
    const stack = input('w', [{ name: 'layers', size: 3 }, ...wOf('f32').shape])
    const x = input('x', [{ name: 'm', size: 5 }, { name: 'k', size: k }])
    const f = (x: AnyTensor, w: AnyTensor): AnyTensor => scan({ name: 'layers', size: 3 }, loose(x), { w: loose(w) } as Tree, (y, given) => [loose(y).add(loose(loose(y).dot(loose((given as { readonly w: AnyTensor }).w), 'k')).mean('n').mul(0.1)), {}] as const)[0]
    const given = [numbers(5 * k, 3), numbers(3 * n * k, 4)]
    expect(relativeError([...await computed(f, [x, stack], given)], [...await computed(f, [x, stack], given, false)])).toBeLessThan(1e-6)
  })
})

/** XLA's estimate of 1 / √x begins at some length. */
const roots: { readonly [name: string]: (x: Tensor<string>, y: Tensor<string>) => AnyTensor } = { '√x': x => x.sqrt(), '1 / √x': x => x.rsqrt(), 'y / √x': (x, y) => y.div(x.sqrt()), 'x^−½': x => x.pow(-0.5) }
test.each(Object.keys(roots))('%s is the same, whatever stands beside x', async name => {
  const f = roots[name] as (x: Tensor<string>, y: Tensor<string>) => AnyTensor
  const of = (n: number): Promise<Float32Array> => {
    const along = (what: string): AnyTensor => input(what, [{ name: 'n', size: n }])
    return computed((x: AnyTensor, y: AnyTensor) => f(loose(x), loose(y)), [along('x'), along('y')], [numbers(n, 5).map(x => x * x + 0.01), numbers(n, 6)])
  }
  const all = await of(300)
  expect([...all].every(Number.isFinite)).toBe(true)
  for (const n of [1, 33]) expect(await of(n)).toEqual(all.slice(0, n))
})

describe.each([
  { what: '8 bits', group: 32, bits: 8, offsets: false }, { what: '8 bits in small groups', group: 16, bits: 8, offsets: false }, { what: '8 bits with offsets', group: 32, bits: 8, offsets: true },
  { what: '4 bits', group: 32, bits: 4, offsets: false }, { what: '4 bits with offsets', group: 64, bits: 4, offsets: true }, { what: '8 bits in groups that the kernel has none of', group: 8, bits: 8, offsets: false },
] as const)('products with weights of $what', ({ group, bits, offsets }) => {
  const [n, k] = [37, 192]
  const along = (size: number) => [{ name: 'layers', size: 3 }, { name: 'n', size: n }, { name: 'k', size }]
  const whole = (count: number, seed: number) => Array.from({ length: count }, (_, i) => Math.floor(256 * draw(seed, i)))
  const values = bits === 8 ? Int8Array.from(whole(3 * n * k, 2), x => x - 128) : Uint8Array.from(whole(3 * n * k / 2, 2))
  const given = [values, numbers(3 * n * k / group, 3), ...(offsets ? [numbers(3 * n * k / group, 4)] : [])] as unknown as readonly Float32Array[]
  const inputs = [input('values', along(bits === 8 ? k : k / 2), bits === 8 ? 'i8' : 'u8'), input('scale', along(k / group), 'f16'), ...(offsets ? [input('offset', along(k / group), 'f16')] : [])]
  type Layer = { readonly [name: string]: AnyTensor }
  const product = (x: AnyTensor, w: Layer): AnyTensor => loose(linear(loose(x), w as never, 'k'))
  const loop = (x: AnyTensor, ...w: readonly AnyTensor[]): AnyTensor => {
    const layers = Object.fromEntries(inputs.map((_, i) => [['values', 'scale', 'offset'][i] ?? '', loose(w[i] as AnyTensor)])) as Tree
    return loose(scan({ name: 'layers', size: 3 }, loose(full(0, [{ name: 'm', size: x.shape[0]?.size ?? 0 }, { name: 'n', size: n }])), layers, (y, layer) => [loose(y).mul(0.5).add(loose(product(x, layer as Layer))), {}] as const)[0])
  }
  const one = (x: AnyTensor, ...w: readonly AnyTensor[]): AnyTensor => product(x, Object.fromEntries(inputs.map((_, i) => [['values', 'scale', 'offset'][i] ?? '', loose(indexOf(loose(w[i] as AnyTensor), 'layers', 1))])))
  test.each([{ where: 'in a loop over a stack', f: loop }, { where: 'alone', f: one }])('$where', async ({ f }) => {
    const rows = (m: number, plain = false): Promise<Float32Array> => computed(f, [input('x', [{ name: 'm', size: m }, { name: 'k', size: k }]), ...inputs], [numbers(m * k, 1), ...given], !plain)
    const { text } = plan(f as never, [input('x', [{ name: 'm', size: 2 }, { name: 'k', size: k }]), ...inputs] as never, { mesh: mesh({}), layout: {}, kernels: true, batchInvariant: true })
    expect(text.includes('"meshwork.dot_few"')).toBe(group >= 16)
    const all = await rows(19)
    expect(relativeError([...all], [...await rows(19, true)])).toBeLessThan(1e-6)
    for (const m of [1, 2, 3, 5, 12, 17]) expect(await rows(m)).toEqual(all.slice(0, m * n))
  })
})

describe.each([{ size: 16, window: undefined, dtype: 'f32' }, { size: 64, window: undefined, dtype: 'bf16' }, { size: 80, window: 7, dtype: 'f32' }, { size: 32, window: 20, dtype: 'f16' }] as const)('attention through a cache of $dtype, heads of $size, window $window', ({ size, window, dtype }) => {
  const [heads, group, block, blocks] = [{ name: 'kvHeads', size: 2 }, { name: 'group', size: 3 }, 16, 12]
  const headDim = { name: 'headDim', size }
  const length = 40
  const row = 2 * size
  const stored = (seed: number): Float32Array<ArrayBuffer> => numbers(blocks * block * row, seed)
  /** Of texts whose blocks lie apart and out of order what the last tokens see, or the last one alone. */
  const shape = (requests: number, seq: number, tables: number, last = false) => {
    const cache = { replicas: 1, layers: 1, blocks, block }
    const fed = fedInputs(cache, { requests, seq, blocks: tables })
    const dims = [{ name: 'replica', size: 1 }, { name: 'request', size: requests }, { name: 'seq', size: seq }, heads]
    const inputs = [input('query', [...dims, group, headDim]), input('key', [...dims, headDim]), input('value', [...dims, headDim]), ...Object.values(cacheInputs(cache, [heads, headDim], dtype)), fed.positions, fed.entries, fed.table] as const
    const f = (...args: readonly AnyTensor[]): AnyTensor => {
      const [q, k, v, keys, values, positions, entries, table] = args.map(a => loose(a)) as [Tensor<string>, AnyTensor, AnyTensor, Tensor<string>, Tensor<string>, never, never, never]
      const read = reading(cache, { ...fed, positions, entries, table }, 'kvSeq')
      const found = read.through(full(0, [], 'i32'), { keys, values }, k, v)
      const attended = loose(attention(q, found.keys, found.values, { headDim: 'headDim', kvSeq: 'kvSeq' }, { visible: read.visible(window) }))
      return last ? loose(indexOf(attended, 'seq', seq - 1)) : attended
    }
    return { inputs, f }
  }
  const data = (requests: number, seq: number, tables: number): Float32Array[] => {
    const of = (each: (request: number) => readonly number[]): Int32Array => Int32Array.from(Array.from({ length: requests }, (_, i) => each(i)).flat())
    const places = Array.from({ length: seq }, (_, i) => length - seq + i)
    const blockOf = (request: number, i: number): number => (request + 7 * i + 3) % blocks
    // Of each text the tokens that end it, by their places: shorter ends are parts of longer ones.
    const tokens = (width: number, seed: number): Float32Array<ArrayBuffer> => Float32Array.from(Array.from({ length: requests }, (_, i) => places.map(p => Array.from({ length: width }, (_, j) => 2 * draw(seed + i, p * width + j) - 1)).flat()).flat())
    return [tokens(row * group.size, 20), tokens(row, 40), tokens(row, 60), stored(1), stored(2), of(() => places), of(i => places.map(p => blockOf(i, Math.floor(p / block)) * block + p % block)), of(i => Array.from({ length: tables }, (_, b) => (b < 3 ? blockOf(i, b) : 0)))] as never
  }
  const run = (requests: number, seq: number, tables: number, plain = false): Promise<Float32Array> => {
    const { inputs, f } = shape(requests, seq, tables)
    return computed(f, inputs, data(requests, seq, tables), !plain)
  }
  test('is right, and of a text the same alone, with others, and behind fewer of its tokens', async () => {
    const { inputs, f } = shape(2, 3, 3)
    expect(plan(f as never, inputs as never, { mesh: mesh({}), layout: {}, kernels: true, batchInvariant: true }).text).toContain('"meshwork.attend"')
    const all = await run(2, 3, 3)
    const token = row * group.size
    expect(relativeError([...all], [...await run(2, 3, 3, true)])).toBeLessThan(1e-5)
    expect(await run(1, 3, 3)).toEqual(all.slice(0, 3 * token))
    expect(await run(1, 3, 6)).toEqual(all.slice(0, 3 * token))
    // The one before it lies in the store as it would have been written.
    const [short, long] = [shape(1, 1, 3, true), shape(1, 3, 3, true)]
    expect(await computed(short.f, short.inputs, withTokens(data(1, 1, 3), data(1, 3, 3)))).toEqual(await computed(long.f, long.inputs, data(1, 3, 3)))
  })
  /** What a shorter end is computed with, where the tokens before it have been written. */
  function withTokens(short: Float32Array[], long: Float32Array[]): Float32Array[] {
    const [, keys, values, , , , entries] = long as unknown as [never, Float32Array, Float32Array, never, never, never, Int32Array]
    const put = (into: Float32Array, from: Float32Array): Float32Array => {
      const made = into.slice()
      entries.forEach((e, i) => { made.set(from.subarray(i * row, (i + 1) * row), e * row) })
      return made
    }
    return short.map((x, i) => (i === 3 ? put(x, keys) : i === 4 ? put(x, values) : x))
  }
})

test('of many at once, as of heads', async () => {
  const shape = (...sizes: readonly [string, number][]) => sizes.map(([name, size]) => ({ name, size }))
  const f = (q: AnyTensor, v: AnyTensor): AnyTensor => loose(q).dot(loose(v), 'd')
  const args = [input('q', shape(['m', 5], ['h', 3], ['d', 20])), input('v', shape(['t', 7], ['h', 3], ['d', 20]))]
  const given = [numbers(300, 5), numbers(420, 6)]
  expect(relativeError([...await computed(f, args, given)], [...await computed(f, args, given, false)])).toBeLessThan(1e-6)
})

test('zeros behind what is summed change no bit', async () => {
  const sums = (n: number): Promise<Float32Array> => {
    const data = new Float32Array(3 * n)
    for (let row = 0; row < 3; row++) data.set(numbers(45, row), row * n)
    return computed((x: AnyTensor) => loose(x).sum('n'), [input('x', [{ name: 'm', size: 3 }, { name: 'n', size: n }])], [data])
  }
  const short = await sums(45)
  expect(relativeError([...short], [0, 1, 2].map(row => numbers(45, row).reduce((a, b) => a + b, 0)))).toBeLessThan(1e-5)
  for (const n of [46, 64, 200]) expect(await sums(n)).toEqual(short)
})
