/** Nodes: frozen, interned, ordered by what they are made of and not by when. */
import { describe, expect, test } from 'vitest'
import { dims, dim, full, input, iota, leavesOf, mapTree, zipTrees } from '../../src/engine/index.ts'
import { print } from '../../src/graph/describe.ts'
import { broadcastTo, constantNode, fullNode, make, rewrite, splatValue } from '../../src/graph/make.ts'
import { operand, reachable, typeOf, visit, type Node, type Table } from '../../src/graph/node.ts'
import type { Attrs } from '../../src/graph/ops.ts'
import { DimError } from '../../src/core/errors.ts'

const { a, b } = dims({ a: 2, b: 3 })
const x = input('x', [a, b])
const y = input('y', [b])

describe('interning', () => {
  test('equal nodes are one object', () => {
    expect(x.dot(y, b).node).toBe(x.dot(y, b).node)
    expect(x.add(y).exp().node).toBe(x.add(y).exp().node)
    expect(full(2, [a]).node).toBe(full(2, [dim('a', 2)]).node)
    expect(x.sum(b).node).toBe(x.sum('b').node)
  })

  test('what differs in op, operands, attributes or dtype does not', () => {
    const distinct = [
      x.add(y), x.sub(y), x.mul(y), y.sub(x), x.sum(a), x.sum(b), x.sum(a, b), x.max(a), x.min(a), x.rename(a, 'c'), x.rename(a, 'd'),
      full(0, []), full(-0, []), full(0, [], 'i32'), full(0, [], 'bool'), full(NaN, []), full(Infinity, []), full(1, []), iota(a), iota(b), iota(dim('a', 3)),
      x.relayout({}), x.relayout({ a: 'x' }), x.relayout({ a: ['x'] }), x.relayout('params'), x.stopGradient(), x.cast('i32'), x.cast('bf16'),
    ].map(t => t.node)
    expect(new Set(distinct).size).toBe(distinct.length)
    expect(full(NaN, []).node).toBe(full(NaN, []).node)
  })

  test('two inputs are never one, however alike', () => {
    expect(input('x', [a]).node).not.toBe(input('x', [a]).node)
  })

  test('functions count by identity', () => {
    const [f, g] = [() => [], () => []]
    const made = (vjp: () => never[]): Node => make('customGradient', [x.node, x.node], { vjp })
    expect(made(f)).toBe(made(f))
    expect(made(f)).not.toBe(made(g))
  })

  test('nodes are frozen', () => {
    const n = x.dot(y, b).node
    expect(Object.isFrozen(n) && Object.isFrozen(n.inputs) && Object.isFrozen(n.attrs)).toBe(true)
  })

  test('a node that fits nothing is not made, and not remembered', () => {
    for (let i = 0; i < 2; i++) expect(() => make('reduce', [x.node], { kind: 'sum', over: ['c'] })).toThrow(DimError)
  })
})

describe('order', () => {
  test('operands come before users, each node once, inputs of loops not entered', () => {
    const roots = [x.add(y).mul(x.add(y)).sum().node, y.exp().node]
    const order = reachable(roots)
    expect(new Set(order).size).toBe(order.length)
    const place = new Map(order.map((n, i) => [n, i]))
    for (const n of order) for (const i of n.inputs) expect(place.get(i)).toBeLessThan(place.get(n) ?? -1)
  })

  test('it does not depend on what was made before', () => {
    const forwards = print({ inputs: [], outputs: [full(91, [a]).add(full(92, [a])).node] })
    const right = full(96, [a]) // Before the left operand.
    const backwards = print({ inputs: [], outputs: [full(95, [a]).add(right).node] })
    expect(backwards).toBe(forwards.replaceAll('91', '95').replaceAll('92', '96'))
  })

  test('a chain of ten thousand nodes is no deeper than the stack', () => {
    let n: Node = y.node
    for (let i = 0; i < 10_000; i++) n = make('unary', [n], { fn: i % 2 === 0 ? 'neg' : 'exp' }, { file: 'here', line: 1, column: 1 })
    expect(reachable([n]).length).toBe(10_001)
  })
})

describe('helpers', () => {
  test('constants are seen through broadcasts', () => {
    expect(splatValue(fullNode(3, [a, b], 'f32'))).toBe(3)
    expect(splatValue(broadcastTo(fullNode(3, [a], 'f32'), [b, a]))).toBe(3)
    expect(splatValue(x.node)).toBeUndefined()
  })

  test('rewriting makes anew what depends on a replaced node, and nothing else', () => {
    const [kept, changed] = [y.exp().node, x.add(y).node]
    const z = input('z', [a, b]).node
    const [again, same] = rewrite([changed, kept], reachable([changed, kept]), new Map([[x.node, z]]))
    expect(same).toBe(kept)
    expect(again?.inputs[0]).toBe(z)
    expect(rewrite([changed], reachable([changed]), new Map())).toEqual([changed])
  })

  test('a table is applied by the node\'s own op', () => {
    const table = new Proxy({}, { get: (_, op) => (n: Node) => `${String(op)} ${n.op}` }) as Table<string>
    expect(visit<Attrs, string, [], 'constant'>(table, constantNode(1, 'f32') as Node<'constant'>)).toBe('constant constant')
  })

  test('types and operands', () => {
    const n = x.dot(y, b).node
    expect(typeOf(n)).toEqual({ shape: [a], dtype: 'f32' })
    expect(operand(n, 1)).toBe(y.node)
    expect(() => operand(n, 2)).toThrow('no operand 2')
  })

  test('trees keep their form', () => {
    const tree = { w: [x, { b: y }], c: x }
    expect(leavesOf(tree).map(l => l.path)).toEqual(['w.0', 'w.1.b', 'c'])
    expect(mapTree(tree, (t, path) => (path === 'c' ? t.neg() : t)).c.node).toBe(x.neg().node)
    expect(zipTrees({ x }, { x }, (l, r) => l.add(r)).x.node).toBe(x.add(x).node)
    expect(() => zipTrees<{ readonly [k: string]: typeof x }>({ x }, { z: x }, l => l)).toThrow('different forms')
  })
})
