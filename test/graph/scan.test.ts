/** Loops: what a body captures, what stays inside, and what they compute. */
import { describe, expect, test } from 'vitest'
import { DimError } from '../../src/core/errors.ts'
import { dims, expectDims, full, input, iota, loose, scan, type Tensor } from '../../src/engine/index.ts'
import { inputNode } from '../../src/graph/input.ts'
import { operand, reachable, type Node } from '../../src/graph/node.ts'
import { closeOver } from '../../src/graph/close.ts'
import { tensor } from '../../src/graph/tensor.ts'
import { given, leafValues, valuesOf, type T } from './support.ts'

const { l, a, b } = dims({ l: 3, a: 2, b: 2 })
const isScan = (n: Node): n is Node<'scan'> => n.op === 'scan'
const loopsIn = (...roots: readonly { readonly node: Node }[]): Node<'scan'>[] => reachable(roots.map(r => r.node)).filter(isScan)

test('what no turn reads is not walked over', () => {
  const [xs, ys, w] = [input('xs', [l, a]), input('ys', [l, a]), input('w', [a])]
  const [last] = scan(l, w, { xs, ys }, (c, { ys: y }) => [c.add(y).mul(w), {}])
  const [loop] = loopsIn(last)
  expect(loop?.attrs.xs).toBe(1)
  expect(loop?.inputs).toEqual([w.node, ys.node, w.node])
  expect(loop?.attrs.body.inputs.length).toBe(3)
})

describe('closing over', () => {
  const param = inputNode('p', 'compute', { shape: [a], dtype: 'f32' })
  const p = tensor<'a'>(param)
  const w = input('w', [a])

  test('what the outputs use from outside is captured: the nearest values, once each', () => {
    const outside = w.exp().mul(2)
    const { body, captures } = closeOver([param], [p.add(outside).mul(outside).node, p.sub(w).node])
    expect(captures).toEqual([outside.node, w.node])
    expect(body.inputs.length).toBe(3)
    expect(reachable(body.outputs).filter(n => n.op === 'input')).toEqual(expect.arrayContaining([...body.inputs]))
    expect(reachable(body.outputs)).not.toContain(outside.node)
  })

  test('what depends on no input stays inside', () => {
    const { body, captures } = closeOver([param], [p.add(full(3, [a]).exp()).add(iota(a).cast('f32')).node])
    expect(captures).toEqual([])
    expect(body.inputs).toEqual([param])
  })

  test('a broadcast of what comes from outside is made inside: what it is of is captured, not all its copies', () => {
    const wide = inputNode('wide', 'compute', { shape: [b, a], dtype: 'f32' })
    const { body, captures } = closeOver([wide], [tensor<'a' | 'b'>(wide).add(w.exp()).node])
    expect(captures.map(n => n.op)).toEqual(['unary'])
    expect(reachable(body.outputs).some(n => n.op === 'broadcast')).toBe(true)
  })

  test('an output from outside is captured too, and a parameter may be an output', () => {
    const { body, captures } = closeOver([param], [w.node, param])
    expect(captures).toEqual([w.node])
    expect(body.outputs).toEqual([body.inputs[1], param])
  })

  test('captured parameters keep their role, computed values have none', () => {
    const weight = inputNode('weight', 'params', { shape: [a], dtype: 'f32' })
    const { body } = closeOver([param], [p.add(tensor<'a'>(weight)).mul(w.exp()).node])
    expect(body.inputs.map(i => i.attrs.role)).toEqual(['compute', 'params', 'compute'])
  })
})

describe('values', () => {
  const xs = given([l, a], [1, 2, 3, 4, 5, 6])
  const start = given([a], [10, 20])

  test('carries, stacked results, captures', () => {
    const factor = given([a], [2, 3])
    const [last, ys] = scan(l, start.tensor, { x: xs.tensor }, (carry: T, { x }: { x: T }) => {
      const next = carry.add(x.mul(factor.tensor))
      return [next, { next, double: x.mul(2) }]
    })
    const [final, nexts, doubles] = valuesOf([last, ys.next, ys.double], [xs, start, factor])
    expect(final).toEqual([10 + 2 + 6 + 10, 20 + 6 + 12 + 18])
    expect(nexts).toEqual([12, 26, 18, 38, 28, 56])
    expect(doubles).toEqual([2, 4, 6, 8, 10, 12])
    expect(ys.next.shape).toEqual([l, a])
  })

  test('the dim walked over may lie anywhere in the operand', () => {
    const across = given([a, l], [1, 3, 5, 2, 4, 6])
    const [last] = scan(l, start.tensor, across.tensor, (carry: T, x: T) => [carry.add(x), {}])
    expect(valuesOf([last], [across, start])).toEqual([[19, 32]])
  })

  test('trees of carries and the index of the step', () => {
    const [carry] = scan(l, { sum: start.tensor, steps: full(0, [], 'i32') }, { x: xs.tensor, i: iota(l) }, ({ sum, steps }, { x, i }) =>
      [{ sum: loose(sum).add(loose(x).mul(loose(i).cast('f32'))), steps: expectDims(loose(steps).add(loose(i)), []) }, {}])
    expect(leafValues(carry, xs, start)).toEqual([[10 + 3 + 10, 20 + 4 + 12], [3]])
  })

  test('a loop in a loop', () => {
    const grid = given([l, b, a], [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6])
    const [last, rows] = scan(l, start.tensor, grid.tensor, (carry: T, row: T) => {
      const [inner] = scan(b, carry, row, (c: T, x: T) => [c.add(x), {}])
      return [inner, { inner }]
    })
    expect(valuesOf([last, rows.inner], [grid, start])).toEqual([[31, 41], [13, 23, 20, 30, 31, 41]])
  })

  test('a carry returned in another order of dims is put back', () => {
    const square = given([a, b], [1, 2, 3, 4])
    const [last] = scan(l, square.tensor as Tensor<'a' | 'b'>, {}, carry => [expectDims(carry, [b, a]), {}])
    expect(valuesOf([last], [square])).toEqual([[1, 2, 3, 4]])
    expect(last.shape).toEqual([a, b])
  })

  test('nothing carried, nothing walked over: still as many results as the dim is long', () => {
    const [, ys] = scan(l, {}, {}, () => [{}, { one: full(1, []) }])
    expect(valuesOf([ys.one], [])).toEqual([[1, 1, 1]])
  })
})

describe('structure', () => {
  test('a body is traced once, whatever the length', () => {
    let traced = 0
    scan(dims({ long: 1000 }).long, full(0, []), {}, c => { traced++; return [c.add(1), {}] })
    expect(traced).toBe(1)
  })

  test('results of one loop are projections of one node', () => {
    const [last, ys] = scan(l, full(0, []), {}, c => [c.add(1), { c }])
    const [loop, ...rest] = loopsIn(last, ys.c)
    expect(rest).toEqual([])
    expect([last.node, ys.c.node].map(n => operand(n, 0))).toEqual([loop, loop])
    expect(loop?.results.map(r => r.shape.map(d => d.name))).toEqual([[], ['l']])
  })
})

describe('errors', () => {
  const x = input('x', [l, a])
  const codeOf = (f: () => unknown): string => {
    try { f() } catch (e) { if (e instanceof DimError) return `${e.code}: ${e.problem.what}` }
    return 'none'
  }
  test('each says what changes', () => {
    expect(codeOf(() => scan(l, full(0, [a]), input('y', [a]), c => [c, {}]))).toBe('no-such-dim: scan over "l": what is walked over: the tensor has no dim "l"')
    expect(codeOf(() => scan(dims({ l: 4 }).l, full(0, [a]), { x }, c => [c, {}]))).toBe('size-differs: scan over "l" of size 4: x has size 3')
    expect(codeOf(() => scan(l, full(0, [a]), { x }, c => [loose(c).sum() as never, {}]))).toBe('carry-changes: scan over "l": the carry changes its dims at its only leaf')
    expect(codeOf(() => scan(l, { c: full(0, [a]) }, { x }, ({ c }) => [{ c: c.cast('i32') }, {}]))).toBe('carry-changes: scan over "l": the carry changes its dtype at c')
    expect(codeOf(() => scan(l, {}, {}, () => [{}, { y: input('y', [l, a]) }]))).toBe('dim-twice: scan over "l": what is stacked: the result would have dim "l" twice')
    expect(codeOf(() => scan(l, { c: full(0, [a]) }, { x }, ({ c }) => [{ d: c } as never, {}]))).toBe('carry-changes: scan over "l": the carry changes its form')
  })
})
