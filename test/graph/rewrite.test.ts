/** What compiling walks, counted: it is in proportion to the program, and deep programs need no deep stack. */
import { describe, expect, test } from 'vitest'
import { mergeScans } from '../../src/autodiff/merge-scans.ts'
import { dims, full, grad, input, mesh, param, plan, scan, where, type Tensor } from '../../src/engine/index.ts'
import { madeBy, make } from '../../src/graph/make.ts'
import { reachable, type Make, type Node } from '../../src/graph/node.ts'
import type { Attrs } from '../../src/graph/ops.ts'
import { rewriter } from '../../src/graph/rewrite.ts'
import { leavesOf } from '../../src/graph/tensor.ts'

const { n, t } = dims({ n: 2, t: 3 })
type V = Tensor<'n'>
const x = input('x', [n])
const chain = (steps: number, f: (z: V, i: number) => V): V => Array.from({ length: steps }, (_, i) => i).reduce(f, x as V)

describe('rewriting', () => {
  const counted = (): { readonly make: Make<Attrs>; readonly calls: () => number } => {
    let calls = 0
    return { make: (op, inputs, attrs, site) => { calls++; return make(op, inputs, attrs, site) }, calls: () => calls }
  }
  test('makes each node once, whatever is replaced, and only those that depend on it', () => {
    const y = chain(200, z => z.tanh()).node
    const z = input('z', [n]).node
    const { make: maker, calls } = counted()
    const image = rewriter<Attrs>(maker, new Map<Node, Node>([[x.node, z]]))
    const again = image(y)
    expect(calls()).toBe(200)
    expect(image(y)).toBe(again)
    expect(calls()).toBe(200)
    expect(reachable([again])[0]).toBe(z)
    expect(rewriter<Attrs>(maker, new Map<Node, Node>([[z, x.node]]))(y)).toBe(y)
    expect(calls()).toBe(200)
  })
  test('what replaces a node is walked too', () => {
    const [a, b] = [x.exp(), x.exp().sin()]
    const found = rewriter<Attrs>(make, new Map(), new Map<Node, Node>([[b.node, a.cos().node], [a.node, x.tanh().node]]))(b.add(1).node)
    expect(found).toBe(x.tanh().cos().add(1).node)
  })
})

describe('in proportion', () => {
  /** Nodes asked for, for a chain and one twice as long. */
  const asked = (f: (steps: number) => unknown, steps: number): number => madeBy(() => f(steps)).nodes.size
  const chains: { readonly [name: string]: (z: V, i: number) => V } = {
    where: (z, i) => where(z.greater(-i), z.mul(0.9), 0),
    'where, the other way': (z, i) => where(z.less(-i), full(0, [n]), z.mul(0.9)),
    relu: z => z.relu().add(0.1),
    clamp: (z, i) => z.clamp(-i - 1, i + 1).mul(1.01),
    maximum: (z, i) => z.maximum(x.mul(i + 1)),
    loops: z => scan(t, z, {}, (c: V) => [c.mul(2).tanh(), {}])[0],
  }
  test.each(Object.keys(chains))('the gradient of a chain: %s', name => {
    const f = (steps: number) => grad((y: V) => Array.from({ length: steps }, (_, i) => i).reduce(chains[name] ?? (z => z), y).sum())(x)
    asked(f, 5)
    expect(asked(f, 60)).toBeLessThan(2.2 * asked(f, 30) + 60)
  })
  test('loops that are one with their gradients\' forward loops, one after another', () => {
    const f = (steps: number) => mergeScans(leavesOf(grad((y: V) => Array.from({ length: steps }).reduce<V>(z => scan(t, z, {}, (c: V) => [c.mul(y).tanh(), {}])[0], y).sum())(x)).map(l => l.leaf.node))
    expect(asked(f, 40)).toBeLessThan(2.2 * asked(f, 20) + 60)
    const merged = f(3)
    expect(reachable(merged).filter(m => m.op === 'scan')).toHaveLength(6)
  })
})

test('thousands of ops one after another, and a value that a thousand use', () => {
  const w = param('w', [n])
  const compiled = (f: (y: V, w: V) => V) => plan((y: V, w: V) => grad((v: V) => f(y, v).sum())(w), [x, w] as const, { mesh: mesh({ a: 2 }), layout: { n: 'a' } }).text.split('\n').length
  expect(compiled((y, v) => Array.from({ length: 2500 }).reduce<V>(z => z.mul(v), y))).toBeGreaterThan(5000)
  expect(compiled((_, v) => { const h = v.tanh(); return Array.from({ length: 1000 }, (_, i) => i).reduce<V>((z, i) => z.add(h.mul(i + 2)), h) })).toBeGreaterThan(1000)
})
