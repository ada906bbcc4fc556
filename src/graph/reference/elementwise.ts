/** What each op computes: elementwise ops. */
import { dtypes, isEight, isFloat, type DType } from '../../core/dtype.ts'
import { roundEight, type EightBits } from '../../core/eight-bit-floats.ts'
import { erf, erfc, erfInv } from '../../core/special.ts'
import { threefry2x32 } from '../../core/threefry.ts'
import { typeOf } from '../node.ts'
import { binaryInts, truncated, unaryInts, wrapped } from './integers.ts'
import { at, get } from './evaluator.ts'
import { empty, type Value } from './values.ts'
import type { BinaryFn, Direction, ElementwiseAttrs, UnaryFn } from '../ops.ts'
import type { Evaluators } from './evaluator.ts'

const eight = (dtype: EightBits) => (x: number): number => roundEight(x, dtype)
const onlyInts = (): never => { throw new Error('floats have no such op') }

/** What each function does to a float. */
const unaryFns: { readonly [F in UnaryFn]: (x: number) => number } = {
  neg: x => -x, abs: Math.abs, sign: Math.sign, exp: Math.exp, expm1: Math.expm1, log: Math.log, log1p: Math.log1p, logistic: x => 1 / (1 + Math.exp(-x)),
  sqrt: Math.sqrt, rsqrt: x => 1 / Math.sqrt(x), cbrt: Math.cbrt, sin: Math.sin, cos: Math.cos, tan: Math.tan, tanh: Math.tanh, erf, erfc, erfInv,
  floor: Math.floor, ceil: Math.ceil,
  round: x => { const down = Math.floor(x); return x - down === 0.5 ? down + Math.abs(down % 2) : Math.round(x) },
  not: onlyInts, popcount: onlyInts, leadingZeros: onlyInts,
}
const binaryFns: { readonly [F in BinaryFn]: (a: number, b: number) => number } = {
  add: (a, b) => a + b, sub: (a, b) => a - b, mul: (a, b) => a * b, div: (a, b) => a / b, rem: (a, b) => a % b, max: Math.max, min: Math.min,
  // In JavaScript alone 1 ** NaN is NaN; IEEE 754 and XLA say 1.
  pow: (a, b) => (a === 1 ? 1 : a ** b), atan2: Math.atan2,
  and: onlyInts, or: onlyInts, xor: onlyInts, shiftLeft: onlyInts, shiftRight: onlyInts, shiftRightArithmetic: onlyInts,
}
const either = (a: number, b: number): number => a | b
const both = (a: number, b: number): number => a & b
const binaryBools: { readonly [F in BinaryFn]?: (a: number, b: number) => number } = {
  add: either, max: either, or: either, mul: both, min: both, and: both, xor: (a, b) => a ^ b,
}

const unaryOf = (fn: UnaryFn, dtype: DType): ((x: number) => number) => {
  const f = unaryInts[fn]
  return dtype === 'bool' ? x => 1 - x : isFloat(dtype) || f === undefined ? unaryFns[fn] : x => wrapped(f(BigInt(x), 8 * dtypes[dtype].bytes), dtype)
}
/** What it does to two elements of a dtype. */
export const binaryOf = (fn: BinaryFn, dtype: DType): ((a: number, b: number) => number) => {
  const f = binaryInts[fn]
  if (dtype === 'bool') return binaryBools[fn] ?? onlyInts
  return isFloat(dtype) || f === undefined ? binaryFns[fn] : (a, b) => wrapped(f(BigInt(a), BigInt(b), 8 * dtypes[dtype].bytes), dtype)
}
const directions: { readonly [D in Direction]: (a: number, b: number) => boolean } = {
  EQ: (a, b) => a === b, NE: (a, b) => a !== b, LT: (a, b) => a < b, LE: (a, b) => a <= b, GT: (a, b) => a > b, GE: (a, b) => a >= b,
}

export const elementwise: Evaluators<ElementwiseAttrs> = {
  unary: (n, [x]) => {
    const [out, a] = [empty(typeOf(n)), at([x as Value], 0)]
    const f = unaryOf(n.attrs.fn, a.dtype)
    for (let i = 0; i < out.data.length; i++) out.data[i] = f(get(a, i))
    return [out]
  },
  binary: (n, v) => {
    const [out, a, b] = [empty(typeOf(n)), at(v, 0), at(v, 1)]
    const f = binaryOf(n.attrs.fn, a.dtype)
    for (let i = 0; i < out.data.length; i++) out.data[i] = f(get(a, i), get(b, i))
    return [out]
  },
  compare: (n, v) => {
    const [out, f, a, b] = [empty(typeOf(n)), directions[n.attrs.direction], at(v, 0), at(v, 1)]
    for (let i = 0; i < out.data.length; i++) out.data[i] = f(get(a, i), get(b, i)) ? 1 : 0
    return [out]
  },
  select: (n, v) => {
    const [out, p, a, b] = [empty(typeOf(n)), at(v, 0), at(v, 1), at(v, 2)]
    for (let i = 0; i < out.data.length; i++) out.data[i] = get(p, i) !== 0 ? get(a, i) : get(b, i)
    return [out]
  },
  // Floats stay as they are, for this to judge what rounds them; but for those of 8 bits, whose rounding is what a program asks for.
  convert: (n, v) => {
    const [out, a] = [empty(typeOf(n)), at(v, 0)]
    const f = out.dtype === 'bool' ? (x: number) => Number(x !== 0) : isEight(out.dtype) ? eight(out.dtype) : isFloat(out.dtype) ? (x: number) => x
      : isFloat(a.dtype) ? (x: number) => truncated(x, out.dtype) : (x: number) => wrapped(BigInt(x), out.dtype)
    for (let i = 0; i < out.data.length; i++) out.data[i] = f(get(a, i))
    return [out]
  },
  threefry: (n, v) => {
    const out = empty(typeOf(n))
    const [k0, k1, c0, c1] = [at(v, 0), at(v, 1), at(v, 2), at(v, 3)]
    for (let i = 0; i < out.data.length; i++) out.data[i] = threefry2x32(get(k0, i), get(k1, i), get(c0, i), get(c1, i))
    return [out]
  },
}
