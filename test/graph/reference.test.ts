/** The reference evaluator against numbers worked out by hand: it judges every backend, so nothing else may judge it. */
import { describe, expect, test } from 'vitest'
import { broadcast, dims, einsum, expectDims, full, iota, loose, where } from '../../src/engine/index.ts'
import { make } from '../../src/graph/make.ts'
import type { BinaryFn, UnaryFn } from '../../src/graph/ops.ts'
import { tensor } from '../../src/graph/tensor.ts'
import { given, valueOfTensor, type T } from './support.ts'

const { a, b, c } = dims({ a: 2, b: 3, c: 2 })
const x = given([a, b], [1, 2, 3, 4, 5, 6])
const unary = (fn: UnaryFn, data: readonly number[], dtype: 'f32' | 'i32' | 'u32' | 'bool' = 'f32'): number[] => {
  const v = given([{ name: 'n', size: data.length }], data, dtype)
  return valueOfTensor(tensor(make('unary', [v.tensor.node], { fn })), v)
}
const binary = (fn: BinaryFn, l: readonly number[], r: readonly number[], dtype: 'f32' | 'i32' | 'u32' | 'bool' = 'f32'): number[] => {
  const shape = [{ name: 'n', size: l.length }]
  const [p, q] = [given(shape, l, dtype), given(shape, r, dtype)]
  return valueOfTensor(tensor(make('binary', [p.tensor.node, q.tensor.node], { fn })), p, q)
}

describe('elementwise', () => {
  test('one operand', () => {
    expect(unary('neg', [1, -2])).toEqual([-1, 2])
    expect(unary('exp', [0, 1])).toEqual([1, Math.E])
    expect(unary('log', [1, Math.E])).toEqual([0, 1])
    expect(unary('sqrt', [4, 9])).toEqual([2, 3])
    expect(unary('rsqrt', [4, 0.25])).toEqual([0.5, 2])
    expect(unary('abs', [-3, 3])).toEqual([3, 3])
    expect(unary('sign', [-3, 0, 3])).toEqual([-1, 0, 1])
    expect(unary('tanh', [0, Infinity])).toEqual([0, 1])
    expect(unary('sin', [0, Math.PI / 2])).toEqual([0, 1])
    expect(unary('cos', [0, Math.PI])).toEqual([1, -1])
    expect(unary('logistic', [0, Infinity])).toEqual([0.5, 1])
    expect(unary('not', [0, 1], 'bool')).toEqual([1, 0])
    expect(unary('not', [0, 5], 'i32')).toEqual([-1, -6])
  })
  test('two operands', () => {
    expect(binary('add', [1, 2], [3, 4])).toEqual([4, 6])
    expect(binary('sub', [1, 2], [3, 5])).toEqual([-2, -3])
    expect(binary('mul', [1, 2], [3, 4])).toEqual([3, 8])
    expect(binary('div', [1, 3], [2, 4])).toEqual([0.5, 0.75])
    expect(binary('max', [1, 5], [3, 4])).toEqual([3, 5])
    expect(binary('min', [1, 5], [3, 4])).toEqual([1, 4])
    expect(binary('pow', [2, 9], [3, 0.5])).toEqual([8, 3])
  })
  test('integers wrap, divide towards zero, and shift by the width to 0', () => {
    expect(binary('mul', [0x7fffffff, 65537], [3, 65537], 'i32')).toEqual([2147483645, 131073])
    expect(binary('mul', [0xffffffff], [0xffffffff], 'u32')).toEqual([1])
    expect(binary('add', [0xffffffff], [2], 'u32')).toEqual([1])
    expect(binary('div', [7, -7], [2, 2], 'i32')).toEqual([3, -3])
    expect(binary('shiftLeft', [1, 1], [31, 32], 'u32')).toEqual([0x80000000, 0])
    expect(binary('shiftRight', [0x80000000, 1], [31, 32], 'u32')).toEqual([1, 0])
    expect(binary('and', [6], [3], 'i32').concat(binary('or', [6], [3], 'i32'), binary('xor', [6], [3], 'i32'))).toEqual([2, 7, 5])
  })
  test('comparisons and choices', () => {
    const y = given([b], [2, 2, 5])
    expect(valueOfTensor(x.tensor.less(y.tensor), x, y)).toEqual([1, 0, 1, 0, 0, 0])
    expect(valueOfTensor(x.tensor.greaterEqual(y.tensor), x, y)).toEqual([0, 1, 0, 1, 1, 1])
    expect(valueOfTensor(x.tensor.equal(2), x)).toEqual([0, 1, 0, 0, 0, 0])
    expect(valueOfTensor(where(x.tensor.less(3), x.tensor, 0), x)).toEqual([1, 2, 0, 0, 0, 0])
  })
  test('conversions cut towards zero', () => {
    const v = given([{ name: 'n', size: 4 }], [-1.7, 1.7, 0, 2])
    expect(valueOfTensor(v.tensor.cast('i32'), v)).toEqual([-1, 1, 0, 2])
    expect(valueOfTensor(v.tensor.cast('bool'), v)).toEqual([1, 1, 0, 1])
  })
})

describe('dims', () => {
  test('a broadcast repeats, a reordering moves', () => {
    const v = given([b], [1, 2, 3])
    expect(valueOfTensor(broadcast(v.tensor, [a]), v)).toEqual([1, 2, 3, 1, 2, 3])
    expect(valueOfTensor(expectDims(broadcast(v.tensor, [a]), [b, a]), v)).toEqual([1, 1, 2, 2, 3, 3])
    expect(valueOfTensor(expectDims(x.tensor, [b, a]), x)).toEqual([1, 4, 2, 5, 3, 6])
  })
  test('elementwise ops match dims by name, whatever their order', () => {
    const y = given([b, a], [10, 40, 20, 50, 30, 60])
    expect(valueOfTensor(x.tensor.add(y.tensor), x, y)).toEqual([11, 22, 33, 44, 55, 66])
  })
  test('sums, extrema, means', () => {
    expect(valueOfTensor(x.tensor.sum(a), x)).toEqual([5, 7, 9])
    expect(valueOfTensor(x.tensor.sum(b), x)).toEqual([6, 15])
    expect(valueOfTensor(x.tensor.sum(), x)).toEqual([21])
    expect(valueOfTensor(x.tensor.mean(b), x)).toEqual([2, 5])
    expect(valueOfTensor(x.tensor.max(a), x)).toEqual([4, 5, 6])
    expect(valueOfTensor(x.tensor.neg().min(b), x)).toEqual([-3, -6])
    expect(valueOfTensor(full(3, [a], 'i32').max())).toEqual([3])
  })
  test('contractions: matrix, batched, outer', () => {
    const w = given([b, c], [1, 0, 0, 1, 1, 1])
    expect(valueOfTensor(x.tensor.dot(w.tensor, b), x, w)).toEqual([4, 5, 10, 11])
    const v = given([a, b], [1, 1, 1, 0, 0, 2])
    expect(valueOfTensor(x.tensor.dot(v.tensor, b), x, v)).toEqual([6, 12])
    const outer = x.tensor.sum(b).dot(given([c], [1, 2]).tensor)
    expect(outer.shape.map(d => d.name)).toEqual(['a', 'c'])
    const k = given([c], [1, 10])
    expect(valueOfTensor(x.tensor.sum(b).dot(k.tensor), x, k)).toEqual([6, 60, 15, 150])
  })
  test('einsum sums what the result does not name', () => {
    const w = given([b, c], [1, 0, 0, 1, 1, 1])
    expect(valueOfTensor(einsum([x.tensor, w.tensor], [c, a]), x, w)).toEqual([4, 10, 5, 11])
    expect(valueOfTensor(einsum([x.tensor], [b]), x)).toEqual([5, 7, 9])
    expect(valueOfTensor(einsum([x.tensor, w.tensor, w.tensor], []), x, w)).toEqual([30])
  })
  test('rows taken, out of range at the edge; rows added, out of range dropped', () => {
    const at = given([c], [2, -1], 'i32')
    expect(valueOfTensor(x.tensor.take(b, at.tensor), x, at)).toEqual([3, 6, 1, 4])
    const far = given([c], [0, 9], 'i32')
    expect(valueOfTensor(x.tensor.take(b, far.tensor), x, far)).toEqual([1, 4, 3, 6])
    const rows = given([c, a], [1, 2, 10, 20])
    const add = (where: typeof at): T => tensor(make('scatterAdd', [where.tensor.node, rows.tensor.node], { dim: b }))
    expect(valueOfTensor(add(far), far, rows)).toEqual([1, 2, 0, 0, 0, 0])
    const same = given([c], [1, 1], 'i32')
    expect(valueOfTensor(add(same), same, rows)).toEqual([0, 0, 11, 22, 0, 0])
  })
  test('renames and indices', () => {
    expect(valueOfTensor(x.tensor.rename(b, 'd'), x)).toEqual([1, 2, 3, 4, 5, 6])
    expect(valueOfTensor(iota(b))).toEqual([0, 1, 2])
    expect(valueOfTensor(loose(iota(b)).add(full(0, [a, b], 'i32')))).toEqual([0, 1, 2, 0, 1, 2])
  })
})
