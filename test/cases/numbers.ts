/** Cases: what the dtypes that are not f32 make of ops, and derivatives at their edges. */
import type { DType } from '../../src/core/dtype.ts'
import { cummax, cummin, dim, full, index, iota, loose, median, scatter, slice, sort, topK, where } from '../../src/engine/index.ts'
import { dimIn } from '../../src/graph/infer/checks.ts'
import { maxPool, minPool } from '../../src/nn/index.ts'
import { at, binary, dimOf, size4, unary, type Case, type T } from './case.ts'

const of = (name: string, operand: string, f: (x: T) => T): Case => ({ name, dims: size4, in: [operand], f: x => f(at(x, 0)), noGradient: true })
const ofTwo = (name: string, left: string, right: string, f: (x: T, y: T) => T): Case =>
  ({ name, dims: size4, in: [left, right], f: x => f(at(x, 0), at(x, 1)), noGradient: true })
/** Over b, of 8. */
const over = (name: string, operand: string, f: (x: T, b: string) => T): Case =>
  ({ name, dims: size4, in: [operand], f: (x, d) => f(at(x, 0), dimOf(d, 'b').name), noGradient: true })

const range = (dtype: DType, low = -128, below = 128): string => `#${dtype.startsWith('u') ? 0 : low}:${below}:${dtype}`
const every: readonly Case[] = (['i32', 'u32', 'i8', 'u8', 'i64'] as const).flatMap(dtype => [
  ofTwo(`${dtype} divides`, `a b${range(dtype)}`, `b${range(dtype, -3, 4)}`, (x, y) => x.div(y).xor(x.rem(y)).add(x.mod(y)).sub(x.floorDiv(y))),
  ofTwo(`${dtype} wraps around`, `a b${range(dtype)}`, `b${range(dtype)}`, (x, y) => x.mul(y).mul(x).mul(79).add(y.neg()).add(x.maximum(y)).sub(x.minimum(y))),
  ofTwo(`${dtype} powers`, `a b${range(dtype, -3, 4)}`, `b${range(dtype, -2, 6)}`, (x, y) => x.pow(y)),
  ofTwo(`${dtype} shifts`, `a b${range(dtype)}`, `b#0:40:${dtype}`, (x, y) => x.shiftLeft(y).xor(x.shiftRight(y)).add(x.and(y).or(y.not()))),
  of(`${dtype} counts bits`, `a b${range(dtype)}`, x => x.popcount().mul(100).add(x.leadingZeros())),
  over(`${dtype} reduces`, `a b${range(dtype)}`, (x, b) => x.max(b).mul(3).sub(x.min(b)).add(x.sum(b)).mul(x.prod(b).add(1))),
  over(`${dtype} accumulates`, `a b${range(dtype, -128, -1)}`, (x, b) => cummax(x, b).sub(cummin(x, b, { reverse: true }))),
])
const signed: readonly Case[] = (['i32', 'i8', 'i64'] as const).map(dtype =>
  ofTwo(`${dtype} has signs`, `a b${range(dtype)}`, `b#0:40:${dtype}`, (x, y) => x.shiftRightArithmetic(y).add(x.abs()).mul(x.sign())))

export const integers: readonly Case[] = [...every, ...signed]

const casts: readonly Case[] = [
  ...(['i8', 'u8', 'i32', 'u32', 'i64', 'bool'] as const).map(to => of(`cast f32 to ${to}`, to.startsWith('u') ? 'a b~0:255' : 'a b~-127:127', x => x.cast(to))),
  ...(['i8', 'u8', 'i64', 'f32', 'bool'] as const).map(to => of(`cast i32 to ${to}`, 'a b#-1000:1000', x => x.cast(to))),
  of('cast out of range of 8 bits', 'a b~-1000:1000', x => x.cast('i8').cast('i32').add(x.cast('u8').cast('i32'))),
  of('cast of bools', 'a b?', x => x.cast('i32').add(x.cast('u8').cast('i32'))),
]

const others: readonly Case[] = [
  of('round to even', 'a b#-19:19', x => x.cast('f32').mul(0.5).round()),
  ofTwo('comparisons', 'a b#3', 'b#3', (x, y) => [x.notEqual(y), x.lessEqual(y), x.greater(y), x.equal(y), x.less(y)].reduce((sum, p, i) => sum.add(p.cast('i32').mul(2 ** i)), x)),
  ofTwo('bools', 'a b?', 'b?', (x, y) => x.and(y.not()).xor(x.or(y)).maximum(x.minimum(y))),
  ofTwo('floorDiv of floats', 'a b~-9:9', 'b+', (x, y) => x.floorDiv(y).add(x.floorDiv(y.neg()))),
  over('any', 'a b?', (x, b) => x.any(b)), over('all', 'a b#0:9', (x, b) => x.all(b)),
  over('argmax of bools', 'a b?', (x, b) => x.argmax(b).add(x.argmin(b).mul(10))), over('max of bools', 'a b?', (x, b) => x.max(b)), over('min of bools', 'a b?', (x, b) => x.min(b)),
  over('argmin with NaN', 'a b#-2:9', (x, b) => x.cast('f32').sqrt().argmin(b)),
]

/** NaN as −7, which can be compared; of few numbers, the negative ones NaN. */
const told = (x: T): T => where(x.isNaN().not(), x, -7).cast('f32')
const odd = (name: string, f: (x: T, b: string) => T, dtypes: readonly DType[] = ['f32']): readonly Case[] =>
  dtypes.map(dtype => over(`${dtype} ${name} with NaN`, 'a b#-2:19', (x, b) => told(f(x.cast('f32').sqrt().cast(dtype).cast('f32').round().cast(dtype), b))))
const everyFloat = ['f32', 'f64', 'bf16', 'f16'] as const
const rowOf = (x: T, b: string): T => loose(full(0, x.shape.filter(d => d.name !== b), 'i32'))
const withNaN: readonly Case[] = [
  ...odd('max', (x, b) => x.max(b), everyFloat), ...odd('min', (x, b) => x.min(b), everyFloat), ...odd('max of all', x => x.max()), ...odd('min of few', (x, b) => slice(x, b, { end: 2 }).min(b)),
  ...odd('maximum', x => x.maximum(2)), ...odd('minimum', x => loose(full(2, x.shape, x.dtype)).minimum(x)), ...odd('clamp', x => x.clamp(1, 2)), ...odd('relu', x => x.relu()),
  ...odd('cummax', (x, b) => cummax(x, b), ['f32', 'bf16']), ...odd('cummin in reverse', (x, b) => cummin(x, b, { reverse: true })),
  ...odd('scatter max', (x, b) => scatter(x, b, rowOf(x, b).add(1), index(x, b, 0), 'max')), ...odd('scatter min', (x, b) => scatter(x, b, rowOf(x, b).add(1), index(x, b, 0), 'min')),
  ...odd('maxPool', (x, b) => loose(maxPool(x, [{ dim: b, size: 3, stride: 1, padding: 1 }]))), ...odd('minPool', (x, b) => loose(minPool(x, [{ dim: b, size: 2 }]))),
  ...odd('sort', (x, b) => sort(x, b), ['f32', 'f64']), ...odd('sort, descending', (x, b) => sort(x, b, { descending: true })), ...odd('median', (x, b) => median(x, b)),
  ...odd('topK', (x, b) => loose(topK(x, b, dim(`${b}k`, 3)).values)), ...odd('argmax', (x, b) => x.argmax(b)),
]

/** Distinct numbers next to each other: 10⁷ and more, two last digits of f32 apart, whose order x does not change. */
const near = (x: T, b: string): T => x.mul(0.4).add(loose(iota(dimIn(x.shape, b, 'near'))).mul(5).rem(8).cast('f32').mul(2).add(1e7))
const close = (name: string, f: (x: T, b: string) => T): Case =>
  // The sums are rounded to whole numbers, the gradients not at all.
  ({ name: `${name} of neighbours`, dims: size4, in: ['a b'], f: (x, d) => f(near(at(x, 0), dimOf(d, 'b').name), dimOf(d, 'b').name).sub(1e7 - 20), tolerance: 0.2 })
const neighbours: readonly Case[] = [
  close('max', (x, b) => x.max(b)), close('min', (x, b) => x.min(b)), close('cummax', (x, b) => cummax(x, b)), close('maxPool', (x, b) => loose(maxPool(x, [{ dim: b, size: 4 }]))),
  close('minPool', (x, b) => loose(minPool(x, [{ dim: b, size: 3, stride: 1, padding: 1 }]))),
  close('scatter max', (x, b) => scatter(x, b, rowOf(x, b).add(3), loose(full(1e7 + 3, x.shape.filter(d => d.name !== b))), 'max')),
]

/** Where a derivative is no number in the branch that is not taken. */
const masked: readonly Case[] = [
  unary('where of where', x => where(x.greater(0.05), where(x.less(0.5), x.rsqrt(), x.reciprocal()), loose(x).mul(3))),
  unary('where of a masked where', x => where(x.less(0.5), where(x.greater(0.05), x.mul(2).sqrt(), 0).exp(), 0)),
  unary('where acosh', x => where(x.greater(0.5), x.mul(3).acosh(), 0)),
  binary('where atan2', (x, y) => where(x.abs().greater(0.1), x.atan2(y.mul(0)), x)),
]

export const numbers: readonly Case[] = [...integers, ...casts, ...others, ...withNaN, ...neighbours, ...masked]
