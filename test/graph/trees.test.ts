/** Trees of tensors match by their keys, whatever order these stand in, and whatever they are called. */
import { expect, test } from 'vitest'
import { compile, cond, dims, expectDims, full, input, leavesOf, loose, mapTree, mesh, openBackend, scan, whileLoop, zipTrees, type Tensor } from '../../src/engine/index.ts'
import { inOrderOf } from '../../src/core/tree.ts'

const d = dims({ n: 2, t: 3 })
type V = Tensor<'n'>
const vector = (name: string): V => input(name, [d.n])
const numbers = async (x: { read(): Promise<ArrayLike<unknown>> }): Promise<unknown[]> => Array.from(await x.read())

test.each([[{}], [{ batch: 2 }]])('arguments in another order, also nested, in lists and with keys that are numbers, on mesh %j', async sizes => {
  const devices = mesh(sizes as { batch: number })
  const backend = await openBackend({ plugin: 'simulate', devices: devices.size })
  const args = [{ w: vector('w'), v: vector('v'), deep: { b: vector('b'), a: [vector('x'), { q: vector('q'), 10: vector('ten'), 2: vector('two') }] as const } }] as const
  const program = await compile((t: (typeof args)[0]) => ({
    zero: t.w.sub(t.v), all: t.w.add(t.v.mul(10)).add(t.deep.b.mul(100)).add(t.deep.a[0].mul(1e3)).add(t.deep.a[1].q.mul(1e4)).add(t.deep.a[1][10].mul(1e5)).add(t.deep.a[1][2].mul(1e6)), aa: t.v,
  }), args, { mesh: devices, backend, layout: { n: Object.keys(sizes) } })
  const of = (n: number): Float32Array => Float32Array.of(n, 2 * n)
  const result = await program({ deep: { a: [of(4), { 2: of(7), q: of(5), 10: of(6) }], b: of(3) }, v: of(2), w: of(1) })
  expect(Object.keys(result)).toEqual(['zero', 'all', 'aa'])
  expect(await numbers(result.all)).toEqual([7654321, 15308642])
  expect(await numbers(result.zero)).toEqual([-1, -2])
  // What is not the same is still refused, and by its names.
  await expect(program({ w: of(1), v: of(2), deep: { b: of(3), c: of(4) } } as never)).rejects.toThrow(/argument-form[^]*expected +0\.w 0\.v[^]*given +0\.w 0\.v 0\.deep\.b 0\.deep\.c[^]*fix +give trees with the same keys/)
  await backend.close()
})

test('zipTrees gives the form of its first tree', () => {
  const [a, b] = [{ x: vector('x'), y: { p: vector('p'), q: vector('q') } }, { y: { q: vector('q2'), p: vector('p2') }, x: vector('x2') }]
  const pairs: string[] = []
  const out = zipTrees(a, b, (l, r, path) => { pairs.push(`${path}: ${[l, r].map(t => (t.node.op === 'input' ? t.node.attrs.name : '')).join(' ')}`); return l })
  expect(pairs).toEqual(['x: x x2', 'y.p: p p2', 'y.q: q q2'])
  expect(leavesOf(out).map(l => l.path)).toEqual(['x', 'y.p', 'y.q'])
  expect(() => zipTrees(a, { x: vector('z') } as never, l => l)).toThrow(/tree-form/)
})

test('states of loops and results of branches in another order', async () => {
  const backend = await openBackend({ plugin: 'simulate', devices: 1 })
  const program = await compile((x: V, y: V) => {
    const [carried] = scan(d.t, { x, y }, {}, ({ x, y }: { x: V; y: V }) => [{ y: y.add(1) as V, x: x.add(y) as V }, {}] as const)
    const looped = whileLoop(({ n }) => expectDims(n.less(3), []), ({ n, x }) => ({ x: x.mul(2) as V, n: n.add(1) }), { n: loose(full(0, [], 'i32')), x })
    const chosen = cond(expectDims(x.sum().less(100), []), () => ({ a: x, b: y }), () => ({ b: x, a: y }))
    const other = cond(expectDims(x.sum().greater(100), []), () => ({ a: x, b: y }), () => ({ b: x, a: y }))
    return [carried.x, carried.y, looped.x, chosen.a, chosen.b, other.a, other.b] as const
  }, [vector('x'), vector('y')], { mesh: mesh({}), backend, layout: {} })
  const results = await program(Float32Array.of(1, 2), Float32Array.of(10, 20))
  expect(await Promise.all(results.map(numbers))).toEqual([[34, 65], [13, 23], [8, 16], [1, 2], [10, 20], [10, 20], [1, 2]])
  await backend.close()
})

test('keys that every object has, and keys of tensors', async () => {
  const backend = await openBackend({ plugin: 'simulate', devices: 1 })
  const tree = JSON.parse('{"__proto__": 1, "constructor": 2, "node": 3, "toString": 4}') as object
  const inputs = Object.fromEntries(Object.entries(tree).map(([key]) => [key, vector(`of ${key}`)]))
  const program = await compile((t: typeof inputs) => mapTree(t, (x, path) => x.mul(path.length)), [inputs], { mesh: mesh({}), backend, layout: {} })
  const result = await program(Object.fromEntries(Object.keys(tree).toReversed().map((key, i) => [key, Float32Array.of(i, 1)])))
  expect(Object.keys(result)).toEqual(['__proto__', 'constructor', 'node', 'toString'])
  const own = (key: string): { read(): Promise<ArrayLike<unknown>> } => Object.getOwnPropertyDescriptor(result, key)?.value as { read(): Promise<ArrayLike<unknown>> }
  expect(await Promise.all(Object.keys(tree).map(key => numbers(own(key))))).toEqual([[27, 9], [22, 11], [4, 4], [0, 8]])
  await backend.close()
})

test('leaves of one path keep their order', () => {
  const leaves = [{ path: 'a.b', n: 1 }, { path: 'c', n: 2 }, { path: 'a.b', n: 3 }]
  expect(inOrderOf(leaves, ['c', 'a.b', 'a.b'])?.map(l => l.n)).toEqual([2, 1, 3])
  expect(inOrderOf(leaves, ['c', 'c', 'a.b'])).toBeUndefined()
  expect(inOrderOf(leaves, ['c', 'a.b'])).toBeUndefined()
})
