/** Choices, and loops whose length is found out: what is inside, what they compute, what is refused. */
import { describe, expect, test } from 'vitest'
import { DimError } from '../../src/core/errors.ts'
import { collectives, cond, dims, expectDims, full, grad, input, loose, mesh, plan, whileLoop, type AnyTensor, type Scalar } from '../../src/engine/index.ts'
import { reachable, type Node } from '../../src/graph/node.ts'
import { given, leafValues, valuesOf, type T } from './support.ts'

const { a, b } = dims({ a: 2, b: 2 })
const scalar = (x: AnyTensor): Scalar => expectDims(x, [])
const problemOf = (f: () => unknown): string => {
  try { f() } catch (e) { if (e instanceof DimError) return `${e.code}: ${e.problem.what} ${Object.entries(e.problem.details ?? {}).map(d => d.join(' ')).join(', ')}` }
  return 'none'
}
const opsIn = (roots: readonly Node[]): string[] => reachable(roots).map(n => n.op)

describe('cond', () => {
  const x = given([a, b], [1, 2, 3, 4])
  const p = given([], [1], 'bool')
  const not = given([], [0], 'bool')

  test('gives what the chosen branch returns, dims put in one order', () => {
    const choose = (predicate: T) => cond(scalar(predicate), () => ({ y: x.tensor.mul(2) }), () => ({ y: expectDims(x.tensor.add(1), [b, a]) as T }))
    expect(leafValues(choose(p.tensor), x, p)).toEqual([[2, 4, 6, 8]])
    expect(leafValues(choose(not.tensor), x, not)).toEqual([[2, 3, 4, 5]])
  })

  test('what a branch makes is inside it, whatever was made before; what is from outside is captured', () => {
    const outside = x.tensor.exp()
    const before = outside.mul(3).sin()
    const y = cond(scalar(p.tensor), () => outside.mul(3).sin(), () => outside)
    expect(opsIn([y.node])).toEqual(['input', 'input', 'unary', 'cond', 'project'])
    expect(opsIn([before.node])).toContain('unary')
  })

  test('a branch may return what is from outside, or constants', () => {
    const y = cond(scalar(not.tensor), () => x.tensor, () => loose(full(7, [a, b])))
    expect(valuesOf([y], [x, not])).toEqual([[7, 7, 7, 7]])
  })

  test('errors name the leaf and both types', () => {
    const q = input('q', [], 'bool')
    const y = input('y', [a])
    expect(problemOf(() => cond(loose(y) as never, () => y, () => y))).toBe('not-a-predicate: cond: what chooses must be a scalar of bool predicate f32 a=2')
    expect(problemOf(() => cond(q, () => ({ y }), () => ({ y: y.cast('i32') })))).toBe('branches-differ: cond: the branches differ in their dtype at y yes f32, no i32')
    expect(problemOf(() => cond(q, () => ({ y }), () => ({ y: loose(y).sum() as never })))).toBe('branches-differ: cond: the branches differ in their dims at y yes a=2, no scalar')
    expect(problemOf(() => cond(q, () => ({ y }), () => ({ z: y }) as never))).toBe('branches-differ: cond: the branches differ in their form yes y, no z')
  })

  test('the branch with more collectives is counted, and the layout of both results is one', () => {
    const w = input('w', [a, b])
    const p = plan((q, x, w) => cond(q, () => x.dot(w.rename(a, 'a2'), b).sum('a2'), () => x.sum(b)), [input('q', [], 'bool'), input('x', [a, b]), w], { mesh: mesh({ m: 2 }), layout: { b: 'm' } })
    expect(collectives(p.local).map(c => [c.kind, c.count, c.bytes])).toEqual([['all-reduce', 1, 8]])
    const sum = plan((q, x, w) => cond(q, () => x.mul(2).relayout({}), () => w.relayout({ a: 'm' })), [input('q', [], 'bool'), input('x', [a, b]), w], { mesh: mesh({ m: 2 }), layout: { b: 'm' } })
    expect([...sum.local.outputPlacements[0]?.sharding ?? []]).toEqual([['b', ['m']]])
  })
})

describe('whileLoop', () => {
  const start = given([a], [1, 3])
  test('runs as long as the condition holds', () => {
    const out = whileLoop(({ x }) => scalar(loose(x).max().less(50)), ({ n, x }) => ({ n: n.add(1), x: x.mul(2) }), { n: full(0, [], 'i32'), x: start.tensor })
    expect(leafValues(out, start)).toEqual([[5], [32, 96]])
  })
  test('not at all where it does not hold at first', () => {
    expect(valuesOf([whileLoop(x => scalar(x.max().less(0)), x => x.mul(2), start.tensor)], [start])).toEqual([[1, 3]])
  })

  test('errors', () => {
    const y = input('y', [a])
    expect(problemOf(() => whileLoop(() => loose(y).less(1) as never, x => x, y))).toBe('not-a-predicate: whileLoop: the condition must give a scalar of bool condition bool a=2')
    expect(problemOf(() => whileLoop(() => input('q', [], 'bool'), ({ x }) => ({ x: x.cast('i32') }), { x: y }))).toBe('state-changes: whileLoop: the state changes its dtype at x before f32, after i32')
    expect(problemOf(() => whileLoop(() => input('q', [], 'bool'), x => x.sum() as never, y))).toBe('state-changes: whileLoop: the state changes its dims at its only leaf before a=2, after scalar')
  })

  test('has no gradient, and says so where one would flow', () => {
    const y = input('y', [a])
    const doubled = (x: typeof y): typeof y => whileLoop(x => scalar(loose(x).max().less(50)), x => x.mul(2), x)
    expect(problemOf(() => grad((p: { y: typeof y }) => scalar(doubled(p.y).sum()))({ y }))).toMatch(/^no-gradient: grad: a gradient flows through whileLoop/)
    const free = grad((p: { y: typeof y }) => scalar(p.y.mul(doubled(p.y.stopGradient())).sum()))({ y: start.tensor as typeof y })
    expect(leafValues(free, start)).toEqual([[32, 96]])
  })
})
