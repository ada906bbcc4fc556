/** Products of large matrices by our own kernel: right in every order, size and dtype, and the same bits however it is cut. */
import { describe, expect, test } from 'vitest'
import type { DType } from '../../src/core/dtype.ts'
import { roundBf16, roundF16 } from '../../src/core/half-precision.ts'
import { broadcast, compile, input, loose, mesh, plan, scan, type AnyTensor, type MeshArray, type Tensor, type Tree } from '../../src/engine/index.ts'
import { Writer } from '../../src/stablehlo/writer.ts'
import { backendOfKernels, numbers, taken } from '../support/kernels.ts'
import { relativeError } from '../support/values.ts'

const backend = backendOfKernels(1)
const calls = 'meshwork.product'

type Product = (...args: readonly AnyTensor[]) => AnyTensor
async function computed(f: Product, args: readonly AnyTensor[], data: readonly Float32Array[]): Promise<Float32Array> {
  const where = { mesh: mesh({}), layout: {} }
  expect(plan(f as (...args: readonly Tree[]) => AnyTensor, args, { ...where, kernels: true }).text).toContain(calls)
  using program = await compile(f as (...args: readonly Tree[]) => AnyTensor, args, { ...where, backend: backend() })
  return taken(await program(...data as readonly never[]) as MeshArray)
}

interface Case { readonly b?: number; readonly m: number; readonly n: number; readonly k: number; readonly left: 'mk' | 'km'; readonly right: 'kn' | 'nk' }
const rounded = (x: number, dtype: DType): number => {
  if (dtype === 'f32') return x
  if (dtype === 'f16') return Math.round(x * 2 ** 11) / 2 ** 11
  return Math.round(x * 2 ** 7) / 2 ** 7
}
const dim = (name: string, sizes: Readonly<Record<string, number>>) => ({ name, size: sizes[name] ?? 1 })

/** Sums in f64, one after another. */
function expected({ b = 1, m, n, k, left, right }: Case, x: Float32Array, w: Float32Array): number[] {
  const out = new Array<number>(b * m * n).fill(0)
  for (let g = 0; g < b; g++)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let sum = 0
        for (let l = 0; l < k; l++) sum += (x[g * m * k + (left === 'mk' ? i * k + l : l * m + i)] ?? 0) * (w[g * k * n + (right === 'kn' ? l * n + j : j * k + l)] ?? 0)
        out[(g * m + i) * n + j] = sum
      }
  return out
}
function run(c: Case, dtype: DType, out: DType, x: Float32Array, w: Float32Array): Promise<Float32Array> {
  const sizes: Readonly<Record<string, number>> = { b: c.b ?? 1, m: c.m, n: c.n, k: c.k }
  const dims = (order: string): { readonly name: string; readonly size: number }[] => [...c.b === undefined ? [] : ['b'], ...order].map(name => dim(name, sizes))
  const f = (x: AnyTensor, w: AnyTensor): AnyTensor => {
    const product = loose(loose(x).cast(dtype)).dot(loose(loose(w).cast(dtype)), 'k')
    return loose(loose(product).cast(out)).cast('f32')
  }
  return computed(f as Product, [input('x', dims(c.left)), input('w', dims(c.right))], [x, w])
}

const sizes: readonly (readonly [number, number, number])[] = [[17, 127, 300], [129, 128, 128], [1031, 33, 17], [16, 16, 2049], [14, 544, 257], [500, 1100, 16]]
const orders = [{ left: 'mk', right: 'kn' }, { left: 'km', right: 'kn' }, { left: 'mk', right: 'nk' }, { left: 'km', right: 'nk' }] as const
describe.each(orders)('$left by $right', order => {
  test.each(sizes.map(([m, n, k]) => ({ m: Math.max(m, 16), n, k })))('$m × $n over $k', async size => {
    const c = { ...size, ...order }
    const [x, w] = [numbers(c.m * c.k, 1), numbers(c.k * c.n, 2)]
    expect(relativeError([...await run(c, 'f32', 'f32', x, w)], expected(c, x, w))).toBeLessThan(2e-6)
  })
  test('several at once', async () => {
    const c: Case = { b: 3, m: 70, n: 90, k: 40, ...order }
    const [x, w] = [numbers(3 * c.m * c.k, 1), numbers(3 * c.k * c.n, 2)]
    expect(relativeError([...await run(c, 'f32', 'f32', x, w)], expected(c, x, w))).toBeLessThan(2e-6)
  })
  test.each(['bf16', 'f16'] as const)('of %s', async dtype => {
    const c: Case = { m: 75, n: 131, k: 301, ...order }
    const [x, w] = [numbers(c.m * c.k, 1).map(v => rounded(v, dtype)), numbers(c.k * c.n, 2).map(v => rounded(v, dtype))]
    expect(relativeError([...await run(c, dtype, dtype, x, w)], expected(c, x, w))).toBeLessThan(dtype === 'bf16' ? 5e-3 : 1e-3)
  })
  // An odd number of them, in several parts of however many.
  test.each(['bf16', 'f16'] as const)('of %s over more than fit into one part', async dtype => {
    const c: Case = { m: 31, n: 70, k: 1027, ...order }
    const [x, w] = [numbers(c.m * c.k, 1).map(v => rounded(v, dtype)), numbers(c.k * c.n, 2).map(v => rounded(v, dtype))]
    expect(relativeError([...await run(c, dtype, 'f32', x, w)], expected(c, x, w))).toBeLessThan(dtype === 'bf16' ? 5e-3 : 1e-3)
  })
  // In one part, which is rounded as it is written, and in two, which are rounded when they are whole.
  test.each([{ k: 140 }, { k: 256 }, { k: 300 }].flatMap(k => (['bf16', 'f16'] as const).map(dtype => ({ ...k, dtype }))))('sums of $dtype over $k are rounded once', async ({ k, dtype }) => {
    const c: Case = { m: 75, n: 150, k, ...order }
    const [x, w] = [numbers(c.m * k, 1).map(v => rounded(v, dtype)), numbers(k * c.n, 2).map(v => rounded(v, dtype))]
    const round = dtype === 'bf16' ? roundBf16 : roundF16
    expect(await run(c, dtype, dtype, x, w)).toEqual((await run(c, 'f32', 'f32', x, w)).map(round))
  })
  test('no number and infinities spread to their rows and columns alone', async () => {
    const c: Case = { m: 50, n: 60, k: 300, ...order }
    const [x, w] = [numbers(c.m * c.k, 1), numbers(c.k * c.n, 2)]
    x[c.left === 'mk' ? 7 * c.k + 290 : 290 * c.m + 7] = NaN
    w[c.right === 'kn' ? 5 * c.n + 59 : 59 * c.k + 5] = Infinity
    const found = await run(c, 'f32', 'f32', x, w)
    expect([...found].flatMap((v, i) => (Number.isFinite(v) ? [] : [i]))).toEqual(Array.from({ length: c.m * c.n }, (_, i) => i).filter(i => Math.floor(i / c.n) === 7 || i % c.n === 59))
    expect(found[7 * c.n]).toBeNaN()
  })
})

test('an operand that was widened for the product is read as it was', async () => {
  const [m, n, k] = [{ name: 'm', size: 130 }, { name: 'n', size: 300 }, { name: 'k', size: 140 }]
  const [x, w] = [numbers(130 * 140, 5), numbers(140 * 300, 6).map(v => rounded(v, 'bf16'))]
  const args = [input('x', [m, k]), input('w', [k, n])]
  const plain: Product = (x, w) => loose(loose(x as AnyTensor).dot(loose(w as AnyTensor), 'k'))
  const widened: Product = (x, w) => plain(x as AnyTensor, loose(loose(loose(w as AnyTensor).cast('bf16')).cast('f32')))
  const { text } = plan(widened as (...args: readonly Tree[]) => AnyTensor, args, { mesh: mesh({}), layout: {}, kernels: true })
  expect(text.split('\n').find(line => line.includes(calls))).toContain('tensor<1x140x300xbf16>')
  expect(await computed(widened, args, [x, w])).toEqual(await computed(plain, args, [x, w]))
})

test('a slice of a stack is read where it is', async () => {
  const [layers, m, k] = [{ name: 'layers', size: 3 }, { name: 'm', size: 130 }, 140]
  const [stack, x] = [input('w', [layers, { name: 'k', size: k }, { name: 'n', size: k }]), input('x', [m, { name: 'k', size: k }])]
  const turn = (y: AnyTensor, w: AnyTensor): AnyTensor => loose(loose(loose(y).dot(loose(w), 'k')).mul(0.1)).rename('n', 'k')
  const f = (x: AnyTensor, w: AnyTensor): AnyTensor => scan(layers, loose(x), { w: loose(w) } as Tree, (y, given) => [loose(turn(loose(y), (given as { readonly w: AnyTensor }).w)), {}] as const)[0]
  const { text } = plan(f as unknown as (...args: readonly Tree[]) => AnyTensor, [x, stack], { mesh: mesh({}), layout: {}, kernels: true })
  expect(text).toContain('right_stack')
  // A profile tells its arithmetic, and of the stack one matrix as read.
  const traced = await backend().traced?.({ text, devices: 1, donated: [] })
  const product = traced?.parts.find(p => p.flops > 0)
  expect([product?.flops, product?.bytes]).toEqual([2 * 130 * k * k, 4 * (2 * 130 * k + k * k) + 4])
  const [a, w] = [numbers(130 * k, 3), numbers(3 * k * k, 4)]
  let wanted = [...a]
  for (let l = 0; l < 3; l++) wanted = expected({ m: 130, n: k, k, left: 'mk', right: 'kn' }, Float32Array.from(wanted), w.slice(l * k * k, (l + 1) * k * k)).map(v => v * 0.1)
  expect(relativeError([...await computed(f as Product, [x, stack], [a, w])], wanted)).toBeLessThan(5e-6)
})

describe('products of which a loop keeps each', () => {
  const [layers, m, n, k] = [{ name: 'layers', size: 3 }, { name: 'm', size: 70 }, { name: 'n', size: 150 }, { name: 'k', size: 140 }]
  const args = [input('start', [m]), input('xs', [layers, m, k]), input('w', [k, n])]
  type Turn = (product: Tensor<string>, carried: Tensor<string>) => readonly [carried: Tensor<string>, kept: AnyTensor]
  const loop = (turn: Turn, dtype: DType, reverse: boolean): Product => (start, xs, w) => {
    const [carried, { kept }] = scan(layers, loose(start as AnyTensor), { x: loose(loose(xs as AnyTensor).cast(dtype)) } as Tree, (carried, given) => {
      const product = loose(loose((given as { readonly x: AnyTensor }).x).dot(loose(loose(w as AnyTensor).cast(dtype)), 'k'))
      const [next, kept] = turn(product, loose(carried))
      return [next, { kept: loose(kept) }]
    }, { reverse }) as unknown as readonly [AnyTensor, { readonly kept: AnyTensor }]
    // Of all that is kept and carried one tensor, [layers, m, n].
    return broadcast(loose(loose(kept).cast('f32')).add(loose(carried)), [layers, m, n])
  }
  const alone: Turn = (product, carried) => [carried, product]
  const turned: Turn = (product, carried) => [carried, broadcast(product, [n, m])]
  const readTwice: Turn = (product, carried) => [loose(carried.add(loose(product.max('n')))), product]
  test.each([
    { what: 'are written where they are kept', turn: alone, dtype: 'f32', stacked: true }, { what: 'are so from the last turn to the first', turn: alone, dtype: 'f32', reverse: true, stacked: true },
    { what: 'are so turned over', turn: turned, dtype: 'f32', stacked: true }, { what: 'are rounded there where halves are kept', turn: alone, dtype: 'bf16', stacked: true }, { what: 'are computed once where something else reads them', turn: readTwice, dtype: 'f32', stacked: false },
  ] as const)('$what', async ({ turn, dtype, stacked, ...way }) => {
    const f = loop(turn, dtype, 'reverse' in way)
    const { text } = plan(f as (...args: readonly Tree[]) => AnyTensor, args, { mesh: mesh({}), layout: {}, kernels: true })
    expect(text.includes('out_stack')).toBe(stacked)
    // What another one takes the place of is not left in the text.
    expect(text.match(/meshwork\.product/g)).toHaveLength(1)
    const [start, xs, w] = [numbers(70, 9), numbers(3 * 70 * 140, 10).map(v => rounded(v, dtype)), numbers(140 * 150, 11).map(v => rounded(v, dtype))]
    const products = [0, 1, 2].map(l => expected({ m: 70, n: 150, k: 140, left: 'mk', right: 'kn' }, xs.slice(l * 70 * 140, (l + 1) * 70 * 140), w))
    const most = (l: number, i: number): number => Math.max(...products[l]?.slice(i * 150, (i + 1) * 150) ?? [])
    const carried = Array.from(start, (x, i) => (turn === readTwice ? x + most(0, i) + most(1, i) + most(2, i) : x))
    const wanted = products.flatMap(product => product.map((v, at) => v + (carried[Math.floor(at / 150)] ?? NaN)))
    expect(relativeError([...await computed(f, args, [start, xs, w])], wanted)).toBeLessThan(dtype === 'bf16' ? 5e-3 : 2e-6)
  })
  test('a stack whose columns are several dims is written where it is, too: nothing else makes one', async () => {
    const [heads, dim] = [{ name: 'heads', size: 10 }, { name: 'dim', size: 15 }]
    const f = (start: AnyTensor, xs: AnyTensor, w: AnyTensor): Tree => scan(layers, loose(start), { x: loose(xs) } as Tree, (carried, given) => [carried, { kept: loose(loose((given as { readonly x: AnyTensor }).x).dot(loose(w), 'k')) }] as const)[1] as unknown as Tree
    const { text } = plan(f as unknown as (...all: readonly Tree[]) => Tree, [input('start', [m]), input('xs', [layers, m, k]), input('w', [k, heads, dim])], { mesh: mesh({}), layout: {}, kernels: true })
    expect(text).toContain('out_stack')
    const traced = await backend().traced?.({ text, devices: 1, donated: [] })
    const stacks = traced?.parts.filter(p => p.sizes.join() === '3,70,10,15' || p.sizes.join() === '3,70,150') ?? []
    expect(stacks.map(p => p.op)).toEqual(['custom-call', 'custom-call'])
  })
  test('a profile tells the arithmetic of one, and of the stack one matrix as written', async () => {
    const { text } = plan(loop(alone, 'f32', false) as (...args: readonly Tree[]) => AnyTensor, args, { mesh: mesh({}), layout: {}, kernels: true })
    const traced = await backend().traced?.({ text, devices: 1, donated: [] })
    const [product, ...more] = traced?.parts.filter(p => p.flops > 0) ?? []
    expect([product?.flops, product?.bytes, more]).toEqual([2 * 70 * 140 * 150, 4 * (70 * 140 + 140 * 150 + 70 * 150 + 2), []])
    // Room for the stack is nothing that is read or written.
    const room = traced?.parts.filter(p => p.op === 'custom-call' && p !== product) ?? []
    expect(room.map(p => p.bytes)).toEqual([0])
    // Of the line that multiplies, and not of the loop's.
    expect(product?.lines).toEqual(text.split('\n').flatMap(line => /meshwork\.product.* loc\("(.*)":(\d+):/.exec(line)?.slice(1).join(':') ?? []))
  })
})

test('one that is wanted turned over is computed so', async () => {
  const [m, n, k] = [{ name: 'm', size: 130 }, { name: 'n', size: 300 }, { name: 'k', size: 140 }]
  const f = (x: AnyTensor, w: AnyTensor): AnyTensor => broadcast(loose(loose(x).dot(loose(w), 'k')), [n, m])
  const { text } = plan(f as (...args: readonly Tree[]) => AnyTensor, [input('x', [m, k]), input('w', [k, n])], { mesh: mesh({}), layout: {}, kernels: true })
  expect(text).not.toContain('stablehlo.transpose')
  expect(text.match(/meshwork\.product/g)).toHaveLength(1)
  const [x, w] = [numbers(130 * 140, 5), numbers(140 * 300, 6)]
  const whole = expected({ m: 130, n: 300, k: 140, left: 'mk', right: 'kn' }, x, w)
  expect(relativeError([...await computed(f as Product, [input('x', [m, k]), input('w', [k, n])], [x, w])], whole.map((_, i) => whole[i % 130 * 300 + Math.floor(i / 130)] ?? NaN))).toBeLessThan(2e-6)
})

test('one that is wanted both ways is multiplied once', () => {
  const [m, n, k] = [{ name: 'm', size: 130 }, { name: 'n', size: 300 }, { name: 'k', size: 140 }]
  const f = (x: AnyTensor, w: AnyTensor): Tree => {
    const product = loose(loose(x).dot(loose(w), 'k'))
    return { product, turned: broadcast(product, [n, m]) }
  }
  const { text } = plan(f as (...args: readonly Tree[]) => Tree, [input('x', [m, k]), input('w', [k, n])], { mesh: mesh({}), layout: {}, kernels: true })
  expect([text.split(calls).length - 1, text.includes('stablehlo.transpose')]).toEqual([1, true])
})

test('no bit hangs on how a product is cut into pieces', async () => {
  const c: Case = { m: 1100, n: 1300, k: 600, left: 'mk', right: 'kn' }
  const [x, w] = [numbers(c.m * c.k, 7), numbers(c.k * c.n, 8)]
  const [whole, some] = [await run(c, 'f32', 'f32', x, w), await run({ ...c, m: 100 }, 'f32', 'f32', x.slice(0, 100 * c.k), w)]
  expect(some).toEqual(whole.slice(0, 100 * c.n))
})

test('of lines that are taken away, what is read by others stays', () => {
  const w = new Writer()
  const x = w.constant(1, 'f32', [2])
  const from = w.length
  const shared = w.op('negate', [x], x)
  const alone = w.op('exponential', [shared], x)
  const to = w.length
  const reader = w.op('abs', [shared], x)
  w.drop(from, to)
  const made = [...w.text.matchAll(/^\s*(%\d+) =/gm)].map(([, name]) => name)
  expect(made).toEqual([x, shared, reader].map(v => v.name))
  expect(made).not.toContain(alone.name)
})
