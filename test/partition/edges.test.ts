/** Where XLA's own partitioner was found wrong, at the edges of what is split: starts that are clamped, addends that move, sums that are cut, blocks of one element. The numbers are the reference's on every layout. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, dims, dynamicSlice, dynamicUpdate, full, grad, input, iota, loose, mesh, openBackend, param, roll, scatter, slice, type Backend, type Layout, type Scalar, type Tensor, type Tree } from '../../src/engine/index.ts'
import { typeOf, type Node } from '../../src/graph/node.ts'
import { evaluate } from '../../src/graph/reference/evaluate.ts'
import { valueOf } from '../../src/graph/reference/values.ts'
import { checkAddends } from '../support/addends.ts'
import { drawn, relativeError } from '../support/values.ts'

type T = Tensor<string>
const d = dims({ a: 8, b: 8, c: 4, part: 3, rows: 8 })
const grid = mesh({ x: 2, y: 4 })
let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 8 }) })
afterAll(async () => { await backend.close() })

const at = (n: number): Scalar => loose(full(n, [], 'i32')) as unknown as Scalar
const x = input('x', [d.a, d.b]) as T
const u = input('u', [d.a, d.b]) as T
const w = param('w', [d.b, d.c]) as T
const ids = input('ids', [d.rows], 'i32') as T

/** Values and gradients of f on the mesh beside the reference's. */
async function expectAlike(f: (x: T, w: T, u: T, ids: T) => readonly T[], layout: Layout, params: Layout = {}): Promise<void> {
  const given = [x, w, u, ids]
  const loss = (p: { x: T; w: T }): Scalar => f(p.x, p.w, u, ids).reduce((sum, y) => sum.add(y.cast('f32').sin().sum()), loose(full(0, []))) as unknown as Scalar
  const all = (): readonly T[] => { const g = grad(loss)({ x, w }); return [...f(x, w, u, ids), loose(g.x), loose(g.w).relayout('params')] }
  const program = await compile(((..._: readonly T[]) => all()) as unknown as (...given: readonly T[]) => Tree, given, { mesh: grid, backend, layout, params, dims: d })
  checkAddends(program.local)
  // Indices before the beginning and behind the end, and some twice.
  const data = given.map((g, i) => (g === ids ? Int32Array.of(-2, 0, 3, 3, 7, 9, 4, 7) : drawn(typeOf(g.node), 3 + i)))
  const nodes = given.map(g => g.node) as Node<'input'>[]
  const expected = evaluate({ inputs: nodes, outputs: all().map(t => t.node) }, nodes.map((n, i) => valueOf(typeOf(n), data[i] ?? [])))
  const found = await program(...data) as unknown as readonly { readonly read: () => Promise<ArrayLike<number>>; readonly dispose: () => void }[]
  for (const [i, r] of found.entries()) {
    expect(relativeError(Array.from(await r.read(), Number), expected[i]?.data ?? []), `result ${i}`).toBeLessThan(1e-5)
    r.dispose()
  }
  program.dispose()
}

const layouts: readonly Layout[] = [{ a: 'x' }, { a: 'y' }, { a: ['x', 'y'] }, { a: ['y', 'x'] }, { a: 'y', b: 'x' }, { b: 'y', c: 'x' }, { a: ['x', 'y'], c: 'x' }]
const starts = [-9, -1, 0, 1, 4, 5, 6, 7, 8, 99]
describe.each(layouts.map(l => [JSON.stringify(l), l] as const))('%s', (_, layout) => {
  test('slices and updates begin where the whole tensor lets them, not each block', async () => {
    await expectAlike(x => starts.map(s => loose(dynamicSlice(x, 'a', at(s), d.part))), layout)
    await expectAlike((x, _, u) => starts.map(s => loose(dynamicUpdate(x, 'a', at(s), slice(u.sin(), 'a', { start: 2, end: 5 })))), layout)
  })
  test('a roll along blocks of one element', async () => {
    await expectAlike(x => [-9, -1, 1, 3, 4, 8].map(by => loose(roll(x, 'a', by)).mul(by)), layout)
  })
  test('a sum that is cut behind its scatter is whole', async () => {
    await expectAlike((x, _, __, ids) => {
      const sums = loose(scatter(loose(full(0, [d.a, d.b])), 'a', ids, x.rename('a', 'rows').mul(2), 'add'))
      return [sums, loose(slice(sums, 'a', { start: 2, end: 6 })), sums.relayout({ b: ['x', 'y'] }), loose(dynamicSlice(sums, 'a', at(7), d.part))]
    }, { ...layout, rows: layout['b'] === 'x' ? 'y' : 'x' })
  })
})
test.each([{ b: ['x', 'y'] }, { b: ['y', 'x'] }, { b: 'x', a: 'y' }, { b: 'y', c: 'x' }] as const)('addends of %j that move to a layout of one axis, of the other, of both and of neither', async layout => {
  const targets = [{ a: 'x' }, { a: 'y' }, { c: 'x' }, { c: 'y', a: 'x' }, { a: ['x', 'y'] }, { a: ['y', 'x'] }, {}]
  for (const params of [{}, { b: undefined, c: 'y' }]) await expectAlike((x, w) => targets.flatMap(to => [x.dot(w, 'b').relayout(to), x.dot(w, 'b').mul(2).relayout(to).tanh()]), layout, params)
})

test('indices are the whole tensor\'s', async () => {
  await expectAlike(x => [x.mul(loose(iota(d.a)).cast('f32')), x.take('a', ids)], { a: ['x', 'y'], rows: 'y' })
})
