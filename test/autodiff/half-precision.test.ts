/** Cotangents of halves: however many places use a value, what they give is added in f32 and rounded once, on every mesh. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  accumulate, broadcast, compile, cond, dim, full, grad, input, iota, mesh, openBackend, plan, remat, scan, scatter, valueAndGrad, where, withGradient, type Backend, type Layout, type Scalar, type Tensor,
} from '../../src/engine/index.ts'

const [n, t, k, row] = [dim('n', 4), dim('t', 300), dim('k', 300), dim('row', 8)]
type X = Tensor<'n'>
const wide = (x: X): X => x.cast('f32')
const zero = full(0, [n])
const ones = full(1, [t], 'bf16')
/** 45 uses, one of which weighs 256. */
const written = (f: (i: number) => X): Scalar => Array.from({ length: 45 }, (_, i) => f(i).mul(i === 22 ? 256 : 1)).reduce((s, y) => s.add(y), zero).sum()

/** Summed 300; of halves, where 257 is 256, 200. */
const weights = where(iota(k).less(100), full(257, [k]), where(iota(k).less(200), full(-254, [k]), 0))

/** Functions of a vector in bf16 whose gradient is 300 everywhere: in bf16 alone, 256 + 1 is 256. */
const functions: { readonly [name: string]: (x: X) => Scalar } = {
  'a loop written out': x => written(i => wide(x.add(i))),
  'a scan that captures it': x => scan(t, zero, ones, (s, one) => [s.add(wide(x.mul(one))), {}] as const)[0].sum(),
  'a scan that carries it': x => scan(t, { s: zero, x }, ones, (c, _) => [{ s: c.s.add(wide(c.x)), x: c.x }, {}] as const)[0].s.sum(),
  'a scan that carries it and stacks': x => scan(t, x, ones, (c, one) => [c, { y: c.mul(one) }] as const)[1].y.cast('f32').sum(),
  'choices': x => written(i => cond(full(i % 2, [], 'i32').equal(0), () => wide(x.add(i)), () => wide(x.sub(i)))),
  'recomputed parts': x => written(i => remat((x: X) => wide(x.add(i)))(x)),
  'gradients by rule': x => written(i => wide(withGradient([x], ([x]) => x.add(i), g => [g]))),
  'a broadcast': x => broadcast(x, [k, n]).cast('f32').sum(),
  'a broadcast whose cotangents no half holds': x => broadcast(x, [k, n]).cast('f32').mul(weights).sum(),
  'a product': x => x.dot(full(1, [k], 'bf16')).cast('f32').sum(),
  'a table of which one row is taken': x => broadcast(x, [dim('v', 2), n]).take('v', full(1, [k], 'i32')).cast('f32').sum(),
  'a target written over': x => scatter(broadcast(x, [k, n]), k, full(1, [dim('i', 1)], 'i32'), full(0, [dim('i', 1), n], 'bf16'), 'add').cast('f32').sum(),
}

const layouts: readonly (readonly [Readonly<Record<string, number>>, Layout])[] = [[{}, {}], [{ m: 2 }, { n: 'm' }], [{ m: 2 }, { k: 'm', t: 'm', row: 'm' }]]
let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 2 }) })
afterAll(async () => { await backend.close() })

test.each(layouts)('%j %j: 300 uses', async (sizes, layout) => {
  const x = input('x', [n], 'bf16')
  const program = await compile((x_: typeof x) => Object.fromEntries(Object.entries(functions).map(([name, f]) => [name, grad(f)(x_)])), [x] as const, { mesh: mesh(sizes), layout, backend, dims: { n, t, k, row } })
  const found = await program(Float32Array.of(1, 1, 1, 1))
  for (const name of Object.keys(functions)) {
    const g = found[name]
    expect([name, g?.dtype, ...await g?.read() ?? []]).toEqual([name, 'bf16', 300, 300, 300, 300])
    g?.dispose()
  }
})

test.each(layouts)('%j %j: microbatches are not rounded before they are added', async (sizes, layout) => {
  const [x, b] = [input('x', [n], 'bf16'), input('b', [row], 'bf16')]
  const program = await compile((x_: typeof x, b_: typeof b) => accumulate(
    (p: typeof x, part: { readonly b: typeof b }) => valueAndGrad((p: typeof x) => p.dot(part.b).cast('f32').sum())(p), x_, { b: b_ }, row, 4).grads, [x, b] as const, { mesh: mesh(sizes), layout, backend, dims: { n, t, k, row } })
  // The parts' gradients: 2 + 1/128 thrice, which bf16 rounds to 2, and 2 + 5/128.
  const found = await program(new Float32Array(4), Float32Array.of(...[1, 1, 1, 5].map(e => 1 + e / 128), 1, 1, 1, 1))
  expect([...await found.read()]).toEqual([2.015625, 2.015625, 2.015625, 2.015625])
  found.dispose()
})

// 1 + 2⁻¹⁰ is no bf16; the sum of two is none either.
const odd = 1 + 2 ** -10
test.each([['bf16', 1], ['f16', odd]] as const)('a product of %s multiplies cotangents as %f, and what is added to them is not rounded', async (dtype, factor) => {
  const [x, w] = [input('x', [n, k]), input('w', [k, row])]
  const halves = dtype as 'bf16'
  const loss = (p: { readonly x: typeof x; readonly w: typeof w; readonly b: typeof b }): Scalar => p.x.cast(halves).dot(p.w.cast(halves), k).cast('f32').add(p.b).mul(odd).sum()
  const b = input('b', [n, row])
  const gradient = (x_: typeof x, w_: typeof w, b_: typeof b) => grad(loss)({ x: x_, w: w_, b: b_ })
  const all = async (found: { readonly read: () => Promise<unknown> }): Promise<readonly number[]> => [...new Set(await found.read() as Float32Array)]
  for (const [sizes, layout] of [[{}, {}], [{ m: 2 }, { n: 'm' }], [{ m: 2 }, { k: 'm' }], [{ m: 2 }, { row: 'm' }]] as const) {
    const program = await compile(gradient, [x, w, b] as const, { mesh: mesh(sizes), layout, backend, dims: { n, k, row } })
    const found = await program(new Float32Array(4 * 300).fill(1), new Float32Array(300 * 8).fill(1), new Float32Array(4 * 8))
    expect(await all(found.x)).toEqual([8 * factor])
    expect(await all(found.w)).toEqual([4 * factor])
    expect(await all(found.b)).toEqual([odd])
  }
})

test('contractions of bf16 and of their gradients multiply nothing else, in loops too that read what was widened outside', () => {
  const [x, w] = [input('x', [n, k]), input('w', [k, row])]
  const f = (x_: typeof x, w_: typeof w) => {
    const narrow = w_.cast('bf16')
    const widened = narrow.cast('f32')
    return scan(t, full(0, []), ones, (s, one) => [s.add(x_.cast('bf16').mul(one).cast('f32').dot(widened, k).square().sum()).add(x_.cast('bf16').dot(narrow, k).cast('f32').sum()), {}] as const)[0]
  }
  const { text } = plan((x_: typeof x, w_: typeof w) => grad((p: { readonly x: typeof x; readonly w: typeof w }) => f(p.x, p.w))({ x: x_, w: w_ }), [x, w] as const, { mesh: mesh({}), layout: {} })
  const contractions = text.split('\n').flatMap(line => /dot_general.*: \(tensor<[\dx]*?(\w+)>, tensor<[\dx]*?(\w+)>\) -> tensor<[\dx]*?(\w+)>/.exec(line)?.slice(1).map(type => type.replace(/^.*x/, '')).join() ?? [])
  expect([...new Set(contractions)]).toEqual(['bf16,bf16,f32'])
  expect(contractions.length).toBeGreaterThan(3)
})

test('on cards a product that is only wanted as halves is written as such', () => {
  const dots = (f: (x: Tensor<'n' | 'k'>, w: Tensor<'k' | 'row'>) => Tensor<'n' | 'row'>): string[] => {
    const { text } = plan((x: Tensor<'n' | 'k'>, w: Tensor<'k' | 'row'>) => f(x.cast('bf16'), w.cast('bf16')), [input('x', [n, k]), input('w', [k, row])] as const, { mesh: mesh({}), layout: {}, lowering: { platform: 'cuda', contractions: 'f32' } })
    return text.split('\n').flatMap(line => (line.includes('dot_general') ? [/-> tensor<4x8x(\w+)>/.exec(line)?.[1] ?? line] : []))
  }
  expect(dots((x, w) => x.dot(w, k))).toEqual(['bf16'])
  expect(dots((x, w) => x.dot(w, k).cast('f32'))).toEqual(['bf16'])
  // What is summed as it was must not be rounded.
  expect(dots((x, w) => { const product = x.cast('f32').dot(w.cast('f32'), k); return product.cast('bf16').cast('f32').add(product) })).toEqual(['f32'])
})
