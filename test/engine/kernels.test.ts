/** Products and sums by our own kernels: right, and of a row the same bits however many others there are. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { compile, full, index as indexOf, input, loose, mesh, openBackend, plan, scan, type AnyTensor, type Backend, type MeshArray, type Tree } from '../../src/engine/index.ts'
import type { DType } from '../../src/core/dtype.ts'
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
    const { text } = plan(f as never, [input('x', [{ name: 'm', size: 2 }, { name: 'k', size: k }]), ...inputs] as never, { mesh: mesh({}), layout: {}, kernels: true })
    expect(text.includes('"meshwork.dot_few"')).toBe(group >= 16)
    const all = await rows(19)
    expect(relativeError([...all], [...await rows(19, true)])).toBeLessThan(1e-6)
    for (const m of [1, 2, 3, 5, 12, 17]) expect(await rows(m)).toEqual(all.slice(0, m * n))
  })
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
