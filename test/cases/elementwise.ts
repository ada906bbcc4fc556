/** Cases: elementwise ops, reductions, einsum, activations, random numbers. */
import {
  bernoulli, categorical, einsum, exponential, full, gumbel, keyOf, loose, normal, randomIntegers, scan, splitKey, truncatedNormal, uniform, where,
} from '../../src/engine/index.ts'
import {
  celu, elu, geluExact, glu, hardSigmoid, hardSwish, leakyRelu, logSigmoid, logSoftmax, mish, relu6, selu, silu, softplus,
} from '../../src/nn/index.ts'
import { at, binary, dimOf, size4, unary, type Case, type T } from './case.ts'

/** Ops whose results have no gradient. */
const plain = (name: string, f: (x: T, y: T) => T, range = ''): Case => ({ ...binary(name, f, range), noGradient: true })
/** Cases on whole numbers in [−8, 8), with a second operand that is not 0. */
const integers = (name: string, f: (x: T, y: T) => T): Case =>
  ({ name: `${name} of integers`, dims: size4, in: ['a b#16', 'a b#16'], f: x => f(at(x, 0).sub(8), where(at(x, 1).less(8), at(x, 1).sub(8), at(x, 1).sub(7))), noGradient: true })
const bits = (name: string, f: (x: T, y: T) => T): Case =>
  ({ name: `${name} of bits`, dims: size4, in: ['a b#200', 'b#32'], f: x => f(at(x, 0).mul(123457).cast('u32'), at(x, 1).cast('u32')).cast('i32'), noGradient: true })
const key = (n: number) => keyOf(full(n, [], 'i32'))
const drawn = (name: string, f: (d: Parameters<Case['f']>[1]) => T): Case => ({ name, dims: { a: 8, b: 8 }, in: [], f: (_, d) => f(d), noGradient: true })
const cube = { a: 4, b: 8, c: 2 }

export const elementwise: readonly Case[] = [
  unary('expm1', x => x.expm1()), unary('log1p', x => x.log1p(), '+'), unary('cbrt', x => x.cbrt(), '+'), unary('tan', x => x.tan()), unary('erf', x => x.erf()),
  unary('erfc', x => x.mul(3).erfc()), unary('erfInv', x => x.mul(0.9).erfInv()), unary('reciprocal', x => x.reciprocal(), '+'), unary('exp2', x => x.exp2()), unary('log2', x => x.log2(), '+'),
  unary('log10', x => x.log10(), '+'), unary('asin', x => x.mul(0.9).asin()), unary('acos', x => x.mul(0.9).acos()), unary('atan', x => x.mul(3).atan()),
  { name: 'atan of many', dims: { a: 8, b: 64 }, in: ['a b'], f: x => at(x, 0).mul(3).atan() },
  unary('sinh', x => x.sinh()), unary('cosh', x => x.cosh()), unary('asinh', x => x.mul(3).asinh()), unary('acosh', x => x.add(1).acosh(), '+'),
  unary('atanh', x => x.mul(0.9).atanh()), unary('clamp', x => x.clamp(-0.5, 0.25)), unary('floor', x => x.mul(5).floor()), unary('ceil', x => x.mul(5).ceil()),
  unary('round', x => x.mul(5).round()), unary('sign', x => x.sign()),
  binary('atan2', (x, y) => x.atan2(y), '+'), binary('rem', (x, y) => x.mul(7).rem(y), '+'), binary('mod', (x, y) => x.mul(7).mod(y.add(2))),
  plain('floorDiv', (x, y) => x.mul(7).floorDiv(y.add(2))),
  integers('rem', (x, y) => x.rem(y)), integers('mod', (x, y) => x.mod(y)), integers('floorDiv', (x, y) => x.floorDiv(y)), integers('div', (x, y) => x.div(y)),
  integers('abs and sign', x => x.abs().mul(x.sign()).neg()), integers('division by zero', x => x.div(x.sub(x)).add(x.rem(x.sub(x)))),
  integers('notEqual', (x, y) => x.notEqual(y).or(x.lessEqual(y).and(x.greater(-3))).cast('i32')), integers('pow', (x, y) => x.pow(y.abs().minimum(5))),
  bits('and', (x, y) => x.and(y)), bits('or', (x, y) => x.or(y)), bits('xor', (x, y) => x.xor(y)), bits('not', x => x.not()), bits('popcount', x => x.popcount()),
  bits('leadingZeros', x => x.leadingZeros()), bits('shiftLeft', (x, y) => x.shiftLeft(y)), bits('shiftRight', (x, y) => x.shiftRight(y)),
  bits('shiftRightArithmetic', (x, y) => x.cast('i32').neg().shiftRightArithmetic(y.cast('i32'))),
  plain('booleans', (x, y) => x.greater(0).xor(y.less(0).not()).cast('i32')), plain('isNaN, isFinite', (x, y) => x.div(y.sub(y)).isNaN().or(x.log().isFinite()).cast('i32')),
  { name: 'cast out of range', dims: size4, in: ['a b'], f: x => at(x, 0).mul(1e11).cast('i32').cast('f32').add(at(x, 0).sub(0.5).mul(1e11).cast('u32').cast('f32')), noGradient: true },
  { name: 'where of what is undefined', dims: size4, in: ['a b'], f: x => where(at(x, 0).greater(0.05), at(x, 0).mul(2).log().add(at(x, 0).sqrt()), 0) },
  { name: 'where, the other way', dims: size4, in: ['a b', 'b'], f: x => where(at(x, 0).lessEqual(0.1), at(x, 1), at(x, 0).reciprocal().sqrt().mul(at(x, 1))) },
  { name: 'prod', dims: cube, in: ['a b c'], f: (x, d) => at(x, 0).prod(dimOf(d, 'b')) },
  { name: 'prod of all, with zeros', dims: cube, in: ['a b c'], f: (x, d) => where(at(x, 0).greater(0.9), full(0, at(x, 0).shape) as T, at(x, 0).mul(2)).prod(dimOf(d, 'a'), dimOf(d, 'c')) },
  { name: 'any and all', dims: cube, in: ['a b c'], f: (x, d) => at(x, 0).greater(0.8).any(dimOf(d, 'b')).and(at(x, 0).less(0.9).all(dimOf(d, 'b'))).cast('i32'), noGradient: true },
  { name: 'argmax', dims: cube, in: ['a b c'], f: (x, d) => at(x, 0).argmax(dimOf(d, 'b')), noGradient: true },
  { name: 'argmin of few values', dims: cube, in: ['a b c#3'], f: (x, d) => at(x, 0).argmin(dimOf(d, 'b')), noGradient: true },
  { name: 'argmax with NaN', dims: cube, in: ['a b c'], f: (x, d) => at(x, 0).sub(0.5).neg().sqrt().log().argmax(dimOf(d, 'b')), noGradient: true },
  { name: 'variance', dims: cube, in: ['a b c'], f: (x, d) => at(x, 0).variance(dimOf(d, 'b'), dimOf(d, 'c')) },
  { name: 'std', dims: cube, in: ['a b c'], f: (x, d) => at(x, 0).std(dimOf(d, 'b')) },
  { name: 'norm', dims: cube, in: ['a b c'], f: x => at(x, 0).norm() },
  { name: 'einsum of five', dims: { a: 4, b: 2, c: 4, e: 2, f: 4 }, in: ['a b', 'b c', 'c e', 'e f', 'f a'], f: (x, d) => einsum(x.slice(0, 5), [dimOf(d, 'a'), dimOf(d, 'c')]) },
  { name: 'einsum to a scalar', dims: { a: 4, b: 4 }, in: ['a b', 'b', 'a'], f: x => einsum([at(x, 0), at(x, 1), at(x, 2)], []) },
  unary('leakyRelu', x => leakyRelu(x)), unary('elu', x => elu(x)), unary('celu', x => celu(x, 0.5)), unary('selu', x => selu(x)), unary('silu', x => silu(x)),
  unary('softplus', x => softplus(x.mul(20))), unary('logSigmoid', x => logSigmoid(x.mul(20))), unary('mish', x => mish(x)), unary('geluExact', x => geluExact(x)),
  unary('relu6', x => relu6(x.mul(10))), unary('hardSigmoid', x => hardSigmoid(x.mul(5))), unary('hardSwish', x => hardSwish(x.mul(5))),
  { name: 'glu', dims: size4, in: ['a b'], f: (x, d) => glu(at(x, 0), dimOf(d, 'b')) },
  { name: 'logSoftmax', dims: size4, in: ['a b'], f: (x, d) => logSoftmax(at(x, 0).mul(9), dimOf(d, 'b')) },
  drawn('uniform in a range', d => uniform(key(11), [dimOf(d, 'a'), dimOf(d, 'b')], { low: -2, high: 3 })),
  drawn('normal again', d => normal(key(12), [dimOf(d, 'a'), dimOf(d, 'b')])),
  drawn('truncatedNormal', d => truncatedNormal(key(13), [dimOf(d, 'a'), dimOf(d, 'b')])),
  drawn('bernoulli', d => bernoulli(key(14), 0.3, [dimOf(d, 'a'), dimOf(d, 'b')]).cast('i32')),
  drawn('exponential', d => exponential(key(15), [dimOf(d, 'a'), dimOf(d, 'b')])),
  drawn('gumbel', d => gumbel(key(16), [dimOf(d, 'a'), dimOf(d, 'b')])),
  drawn('randomIntegers', d => randomIntegers(key(17), [dimOf(d, 'a'), dimOf(d, 'b')], -5, 20)),
  { name: 'categorical', dims: size4, in: ['a b'], f: (x, d) => categorical(key(18), at(x, 0).mul(3), dimOf(d, 'b')), noGradient: true },
  drawn('splitKey', d => {
    const [, ys] = scan(dimOf(d, 'a'), full(0, [], 'i32'), splitKey(key(19), dimOf(d, 'a')), (n, k) => [n, { draw: uniform(k as never, [dimOf(d, 'b')]) }] as const)
    return loose(ys.draw)
  }),
]
