/** Convolutions and pools against numbers worked out by hand. */
import { describe, expect, test } from 'vitest'
import { dims, grad, loose, type Scalar } from '../../src/engine/index.ts'
import { conv, convTranspose, maxPool, meanPool, minPool, sumPool, type ConvWindow, type PoolWindow } from '../../src/nn/index.ts'
import { given, valueOfTensor, valuesOf, type Operand, type T } from './support.ts'

const { n, k, b, i, o, g, h, w } = dims({ n: 5, k: 3, b: 2, i: 2, o: 2, g: 2, h: 3, w: 3 })
const x = given([n], [1, 2, 3, 4, 5])
const kernel = given([k], [1, 10, 100])
const by = (window: Omit<ConvWindow, 'dim' | 'kernel'> = {}): { windows: ConvWindow[] } => ({ windows: [{ dim: n, kernel: k, ...window }] })
const convolved = (window: Omit<ConvWindow, 'dim' | 'kernel'> = {}): number[] => valueOfTensor(conv(x.tensor, kernel.tensor, by(window)), x, kernel)
const spread = (window: Omit<ConvWindow, 'dim' | 'kernel'> = {}): number[] => valueOfTensor(convTranspose(x.tensor, kernel.tensor, by(window)), x, kernel)

describe('conv', () => {
  test('is a correlation: the kernel is not turned', () => {
    expect(convolved()).toEqual([321, 432, 543])
  })
  test('padding: the odd element stands at the end; numbers may cut off', () => {
    expect(convolved({ padding: 'same' })).toEqual([210, 321, 432, 543, 54])
    expect(convolved({ padding: 'same', stride: 2 })).toEqual([210, 432, 54])
    expect(convolved({ padding: 2 })).toEqual([100, 210, 321, 432, 543, 54, 5])
    expect(convolved({ padding: [-1, 1] })).toEqual([432, 543, 54])
    const even = given([{ name: 'k', size: 2 }], [1, 10])
    expect(valueOfTensor(conv(x.tensor, even.tensor, by({ padding: 'same' })), x, even)).toEqual([21, 32, 43, 54, 5])
  })
  test('stride and dilation', () => {
    expect(convolved({ stride: 2 })).toEqual([321, 543])
    expect(convolved({ dilation: 2 })).toEqual([531])
    expect(convolved({ stride: 3, padding: [0, 1] })).toEqual([321, 54])
  })
  test('channels are contracted, batches and features kept; the window\'s dim has a new size, or a new name', () => {
    const image = given([b, { name: 'n', size: 2 }, i], [1, 2, 3, 4, 5, 6, 7, 8])
    const weights = given([{ name: 'k', size: 2 }, i, o], [1, 0, 0, 1, 1, 0, 0, 1])
    const y = conv(image.tensor, weights.tensor, { over: [i], windows: [{ dim: n, kernel: k, as: 'places' }] })
    expect(y.shape).toEqual([b, { name: 'places', size: 1 }, o])
    expect(valueOfTensor(y, image, weights)).toEqual([4, 6, 12, 14])
  })
  test('a dim of both that is not contracted has weights for each of its elements', () => {
    const image = given([{ name: 'n', size: 2 }, g], [1, 2, 3, 4])
    const weights = given([{ name: 'k', size: 2 }, g], [1, 1, 10, 100])
    expect(valueOfTensor(conv(image.tensor, weights.tensor, by()), image, weights)).toEqual([31, 402])
  })
})

describe('convTranspose', () => {
  test('spreads each element over a window', () => {
    expect(spread()).toEqual([1, 12, 123, 234, 345, 450, 500])
    expect(spread({ stride: 3 })).toEqual([1, 10, 100, 2, 20, 200, 3, 30, 300, 4, 40, 400, 5, 50, 500])
    expect(spread({ stride: 4 })).toEqual([1, 10, 100, 0, 2, 20, 200, 0, 3, 30, 300, 0, 4, 40, 400, 0, 5, 50, 500, 0])
    expect(spread({ padding: 1 })).toEqual([12, 123, 234, 345, 450])
    expect(spread({ padding: 'same', stride: 2 })).toEqual([1, 10, 102, 20, 203, 30, 304, 40, 405, 50])
  })
  test('is the transpose of conv: ⟨y, conv(x)⟩ = ⟨convTranspose(y), x⟩', () => {
    const y = given([{ name: 'n', size: 3 }], [2, -1, 3])
    const forward = convolved({ stride: 2, padding: 1 })
    const back = valueOfTensor(convTranspose(y.tensor, kernel.tensor, by({ stride: 2, padding: 1 })), y, kernel)
    const inner = (a: readonly number[], b: ArrayLike<number>): number => a.reduce((sum, v, j) => sum + v * (b[j] ?? Number.NaN), 0)
    expect(inner(forward, y.data)).toBe(inner(back, x.data))
  })
})

const square = given([h, w], [1, 5, 5, 5, 2, 3, 0, 3, 3])
type Pool = (x: T, windows: readonly PoolWindow[]) => T
const pooled = (pool: Pool, ...windows: PoolWindow[]): number[] => valueOfTensor(pool(square.tensor, windows), square)
const gradientOf = (pool: Pool, x: Operand, ...windows: PoolWindow[]): number[] =>
  valuesOf([grad((p: { x: T }) => loose(pool(p.x, windows)).sum() as unknown as Scalar)({ x: x.tensor }).x], [x])[0] ?? []

describe('pools', () => {
  test('see what is under each place', () => {
    expect(pooled(maxPool, { dim: h, size: 2, stride: 1 }, { dim: w, size: 2, stride: 1 })).toEqual([5, 5, 5, 3])
    expect(pooled(minPool, { dim: w, size: 2, stride: 1 })).toEqual([1, 5, 2, 2, 0, 3])
    expect(pooled(sumPool, { dim: h, size: 3 })).toEqual([6, 10, 11])
    expect(pooled(maxPool, { dim: w, size: 2 })).toEqual([5, 5, 3])
    expect(pooled(maxPool, { dim: w, size: 2, dilation: 2 })).toEqual([5, 5, 3])
    expect(pooled((x, s) => maxPool(x.neg(), s), { dim: w, size: 3, stride: 2, padding: 'same' })).toEqual([-1, -5, -2, -2, -0, -3])
  })
  test('a mean counts what is there, or all that the window covers', () => {
    const along: PoolWindow = { dim: h, size: 3, stride: 1, padding: 1 }
    expect(pooled(meanPool, along)).toEqual([3, 3.5, 4, 2, 10 / 3, 11 / 3, 2.5, 2.5, 3].map(v => expect.closeTo(v, 12) as number))
    expect(pooled((x, s) => meanPool(x, s, { count: 'all' }), along)).toEqual([2, 7 / 3, 8 / 3, 2, 10 / 3, 11 / 3, 5 / 3, 5 / 3, 2].map(v => expect.closeTo(v, 12) as number))
  })
  test('the first of equal extrema, in the windows\' order, gets the gradient', () => {
    expect(gradientOf(maxPool, square, { dim: h, size: 3 }, { dim: w, size: 3 })).toEqual([0, 1, 0, 0, 0, 0, 0, 0, 0])
    expect(gradientOf(maxPool, square, { dim: w, size: 3 }, { dim: h, size: 3 })).toEqual([0, 0, 0, 1, 0, 0, 0, 0, 0])
    expect(gradientOf(maxPool, square, { dim: w, size: 2, stride: 1 })).toEqual([0, 2, 0, 1, 0, 1, 0, 2, 0])
    expect(gradientOf(sumPool, square, { dim: w, size: 2, stride: 1 })).toEqual([1, 2, 1, 1, 2, 1, 1, 2, 1])
  })
})
