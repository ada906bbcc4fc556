/** Gradients by hand: ties, what nothing depends on, integers, given gradients, and gradients of gradients. */
import { describe, expect, test } from 'vitest'
import { DimError } from '../../src/core/errors.ts'
import { dims, expectDims, full, grad, input, mapTree, param, valueAndGrad, where, type AnyTensor, type Scalar } from '../../src/engine/index.ts'
import { withGradient } from '../../src/graph/custom.ts'
import { crossEntropy, layerNorm, logsumexp, softmax } from '../../src/nn/index.ts'
import { given, leafValues, valueOfTensor, type Operand, type T } from '../graph/support.ts'
import { draw } from '../support/values.ts'
import { gradientError } from './differences.ts'

const { a, b, c } = dims({ a: 2, b: 3, c: 4 })
const scalar = (x: AnyTensor): Scalar => expectDims(x, [])
/** d Σ f(x) / dx. */
const slope = (f: (x: T) => T, x: Operand): number[] => leafValues(grad((p: { x: T }) => scalar(f(p.x).sum()))({ x: x.tensor }), x)[0] ?? []

describe('by hand', () => {
  test('a product, a quotient, a power', () => {
    const x = given([b], [1, 2, 4])
    expect(slope(x => x.mul(x).mul(3), x)).toEqual([6, 12, 24])
    expect(slope(x => x.pow(3), x)).toEqual([3, 12, 48])
    expect(slope(x => full(1, x.shape).div(x), x)).toEqual([-1, -0.25, -0.0625])
  })
  test('a matrix product: each side\'s gradient is the other\'s transpose', () => {
    const [x, w] = [given([a, b], [1, 2, 3, 4, 5, 6]), given([b, c], [1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1])]
    const g = grad((p: { x: T; w: T }) => scalar(p.x.dot(p.w, b).sum()))({ x: x.tensor, w: w.tensor })
    expect(leafValues(g, x, w)).toEqual([[2, 2, 2, 2, 2, 2], [5, 5, 5, 5, 7, 7, 7, 7, 9, 9, 9, 9]])
  })
  test('at 0 a relu is flat, and the right operand of a tie takes it all', () => {
    expect(slope(x => x.relu(), given([b], [-1, 0, 2]))).toEqual([0, 0, 1])
    const [x, y] = [given([b], [1, 2, 3]), given([b], [1, 3, 2])]
    const g = grad((p: { x: T; y: T }) => scalar(p.x.maximum(p.y).sum()))({ x: x.tensor, y: y.tensor })
    expect(leafValues(g, x, y)).toEqual([[0, 0, 1], [1, 1, 0]])
  })
  test('elements that tie for the extremum share its gradient', () => {
    expect(slope(x => x.max(b), given([a, b], [1, 3, 3, 2, 1, 0]))).toEqual([0, 0.5, 0.5, 1, 0, 0])
    expect(slope(x => x.min(b), given([a, b], [1, 1, 1, 2, 1, 0]))).toEqual([1 / 3, 1 / 3, 1 / 3, 0, 0, 1])
  })
  test('what is not chosen gets no gradient', () => {
    expect(slope(x => where(x.less(0.5), x, x.log()), given([b], [-1, 1, 2]))).toEqual([1, 1, 0.5])
    const x = given([b], [-1, 0, 4])
    expect(valueOfTensor(where(x.tensor.less(0.5), x.tensor, x.tensor.log()), x)).toEqual([-1, 0, Math.log(4)])
  })
  test('rows taken twice add up, rows not taken get nothing', () => {
    const [table, at] = [given([b, a], [1, 2, 3, 4, 5, 6]), given([c], [2, 0, 2, 2], 'i32')]
    expect(leafValues(grad((p: { t: T }) => scalar(p.t.take(b, at.tensor).sum()))({ t: table.tensor }), table, at)).toEqual([[1, 1, 0, 0, 3, 3]])
  })
})

describe('the gradient', () => {
  const [x, w] = [given([a, b], [1, 2, 3, 4, 5, 6]), given([b], [1, 2, 3])]

  test('is a tree like the parameters, zero where the loss does not depend on one', () => {
    const g = grad((p: { used: T; list: readonly T[] }) => scalar(p.used.sum()))({ used: x.tensor, list: [w.tensor] })
    expect(leafValues(g, x, w)).toEqual([[1, 1, 1, 1, 1, 1], [0, 0, 0]])
    expect(Object.keys(g)).toEqual(['used', 'list'])
  })
  test('of a tensor used twice is one sum', () => {
    const tied = grad((p: { w: T }) => scalar(x.tensor.dot(p.w, b).sum().add(p.w.mul(10).sum())))({ w: w.tensor })
    expect(leafValues(tied, x, w)).toEqual([[15, 17, 19]])
  })
  test('comes with the value, which it shares its nodes with', () => {
    const { value, grads } = valueAndGrad((p: { w: T }) => scalar(p.w.square().sum()))({ w: w.tensor })
    expect(valueOfTensor(value, w)).toEqual([14])
    expect(leafValues(grads, w)).toEqual([[2, 4, 6]])
  })
  test('has the dtype of its parameter', () => {
    const half = param('half', [b], 'bf16')
    expect(grad((p: { h: typeof half }) => p.h.cast('f32').sum())({ h: half }).h.dtype).toBe('bf16')
  })
  test('is not for integers, nor of tensors with dims', () => {
    const ids = input('ids', [b], 'i32')
    const code = (f: () => unknown): unknown => { try { return f() } catch (e) { return e instanceof DimError ? e.code : e } }
    expect(code(() => grad((p: { ids: T }) => scalar(p.ids.cast('f32').sum()))({ ids: ids as T }))).toBe('dtype')
    expect(code(() => grad((p: { w: T }) => p.w as never)({ w: w.tensor }))).toBe('loss-not-scalar')
  })
  test('is what the function says, where it says', () => {
    const f = (x: T): T => withGradient([x], ([x]) => x.exp(), g => [g.mul(7)])
    expect(slope(f, w)).toEqual([7, 7, 7])
  })
})

describe('gradients of gradients', () => {
  const random = (shape: readonly (typeof a | typeof b | typeof c)[], seed: number): Operand =>
    given(shape, Array.from({ length: shape.reduce((n, d) => n * d.size, 1) }, (_, i) => 2 * draw(seed, i) - 1))
  /** Σ (d Σ f(x) v / dx)², whose gradient needs the second derivative of f. */
  const second = (f: (x: T) => T) => ([x, v]: readonly T[]): AnyTensor => {
    if (x === undefined || v === undefined) throw new Error('two operands')
    return grad((p: { x: T }) => scalar(f(p.x).mul(v).sum()))({ x }).x.square().sum()
  }
  const targets = given([a], [1, 2], 'i32')
  const functions: { readonly [name: string]: readonly [f: (x: T) => T, result: readonly (typeof a | typeof b)[]] } = {
    tanh: [x => x.tanh(), [a, b]],
    softmax: [x => softmax(x, b), [a, b]],
    logsumexp: [x => logsumexp(x, b) as T, [a]],
    'layer norm': [x => layerNorm(x, b, full(2, [b]) as never, full(1, [b]) as never), [a, b]],
    product: [x => x.dot(x.rename(a, 'a2'), b).sum('a2'), [a]],
  }
  test.each(Object.entries(functions))('%s', (_, [f, result]) => {
    expect(gradientError(second(f), [random([a, b], 3), random(result, 4)], 5)).toBeLessThan(1e-6)
  })
  test('cross-entropy', () => {
    const f = second(x => crossEntropy(x, b, targets.tensor as never) as T)
    expect(gradientError(([x, v, t]) => (t === undefined ? full(0, []) : f([x as T, v as T])), [random([a, b], 6), random([a], 7), targets], 8)).toBeLessThan(1e-6)
  })
  test('the third power three times over', () => {
    const x = given([b], [1, 2, 3])
    const d = (f: (x: T) => T) => (x: T): T => mapTree(grad((p: { x: T }) => scalar(f(p.x).sum()))({ x }), g => g).x
    expect(valueOfTensor(d(d(d(x => x.mul(x).mul(x))))(x.tensor), x)).toEqual([6, 6, 6])
  })
})
