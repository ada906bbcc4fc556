/** Cases: what the dtypes that are not f32 make of ops, and derivatives at their edges. */
import type { DType } from '../../src/core/dtype.ts'
import { cummax, cummin, loose, where } from '../../src/engine/index.ts'
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

/** Where a derivative is no number in the branch that is not taken. */
const masked: readonly Case[] = [
  unary('where of where', x => where(x.greater(0.05), where(x.less(0.5), x.rsqrt(), x.reciprocal()), loose(x).mul(3))),
  unary('where of a masked where', x => where(x.less(0.5), where(x.greater(0.05), x.mul(2).sqrt(), 0).exp(), 0)),
  unary('where acosh', x => where(x.greater(0.5), x.mul(3).acosh(), 0)),
  binary('where atan2', (x, y) => where(x.abs().greater(0.1), x.atan2(y.mul(0)), x)),
]

export const numbers: readonly Case[] = [...integers, ...casts, ...others, ...masked]
