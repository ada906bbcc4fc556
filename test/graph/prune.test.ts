/** What nobody reads of loops and choices falls away, at every depth, and numbers stay. */
import { describe, expect, test } from 'vitest'
import { cond, dims, expectDims, full, loose, scan, whileLoop, type AnyTensor, type Scalar } from '../../src/engine/index.ts'
import { make } from '../../src/graph/make.ts'
import { bodiesOf, reachable, type Node } from '../../src/graph/node.ts'
import { prune } from '../../src/graph/prune.ts'
import { tensor } from '../../src/graph/tensor.ts'
import { given, valuesOf, type T } from './support.ts'

const { l, m, a } = dims({ l: 3, m: 2, a: 2 })
const scalar = (x: AnyTensor): Scalar => expectDims(x, [])
const all = (roots: readonly Node[]): Node[] => reachable(roots).flatMap(n => [n, ...bodiesOf(n).flatMap(b => all(b.outputs))])
const count = (roots: readonly Node[], op: string): number => all(roots).filter(n => n.op === op).length
/** The pruned node, which computes the same, and the loop or choice in it. */
function prunedOf(x: AnyTensor, ...operands: Parameters<typeof valuesOf>[1]): { readonly root: Node; readonly op: Node } {
  const [root = x.node] = prune([x.node], make)
  expect(valuesOf([tensor(root)], operands)).toEqual(valuesOf([x], operands))
  expect(prune([root], make)).toEqual([root])
  const op = reachable([root]).find(n => bodiesOf(n).length > 0) ?? root
  return { root, op }
}

describe('pruning', () => {
  const xs = given([l, a], [1, 2, 3, 4, 5, 6])
  const start = given([a], [10, 20])

  test('stacks, carries and operands that only feed what is dead', () => {
    const other = given([l, a], [1, 1, 1, 1, 1, 1])
    const [last] = scan(l, { sum: start.tensor, dead: start.tensor, fed: start.tensor }, { x: xs.tensor, o: other.tensor }, ({ sum, dead, fed }, { x, o }) =>
      [{ sum: loose(sum).add(x), dead: loose(dead).mul(o), fed: loose(fed).add(dead) }, { y: loose(x).exp() }])
    const { root, op } = prunedOf(last.sum, xs, start, other)
    expect(op.op === 'scan' && [op.attrs.carries, op.attrs.xs, op.results.length]).toEqual([1, 1, 1])
    expect(count([root], 'unary')).toBe(0)
  })

  test('a carry that a kept one needs stays, though nobody reads it', () => {
    const [last] = scan(l, { p: start.tensor, q: start.tensor }, xs.tensor, ({ p, q }, x: T) => [{ p: loose(p).add(q), q: loose(q).add(x) }, {}])
    expect(prunedOf(last.p, xs, start).op.results.length).toBe(2)
  })

  test('nothing to drop: the same node', () => {
    const [last] = scan(l, start.tensor, xs.tensor, (c: T, x: T) => [c.add(x), {}])
    expect(prune([last.node], make)).toEqual([last.node])
  })

  test('loops in loops', () => {
    const grid = given([l, m, a], Array.from({ length: 12 }, (_, i) => i))
    const [last] = scan(l, { c: start.tensor, dead: start.tensor }, grid.tensor, ({ c, dead }, row: T) => {
      const [inner, ys] = scan(m, { c: loose(c), e: loose(dead) }, row, ({ c, e }, x: T) => [{ c: c.add(x), e: e.mul(x).exp() }, { y: x.exp() }])
      return [{ c: inner.c, dead: inner.e.add(ys.y.sum('m')) }, {}]
    })
    const { root } = prunedOf(last.c, grid, start)
    expect([count([root], 'unary'), count([root], 'project')]).toEqual([0, 2])
  })

  test('choices and loops of unknown length', () => {
    const p = given([], [1], 'bool')
    const y = cond(scalar(p.tensor), () => ({ a: start.tensor.mul(2), b: xs.tensor.exp() }), () => ({ a: start.tensor, b: xs.tensor }))
    expect(prunedOf(y.a, p, start, xs).op.inputs.length).toBe(2)
    const w = whileLoop(({ n }) => n.less(3) as Scalar, ({ n, x, dead }) => ({ n: n.add(1), x: loose(x).mul(2), dead: loose(dead).exp() }), { n: full(0, [], 'i32'), x: start.tensor, dead: start.tensor })
    expect(prunedOf(w.x, start).op.results.length).toBe(2)
  })
})
