/** What each op computes: elementwise ops. */
import { isFloat, type DType } from '../../core/dtype.ts'
import { rangeOf } from '../../core/range.ts'
import { erf, erfInv } from '../../core/special.ts'
import { threefry2x32 } from '../../core/threefry.ts'
import { typeOf } from '../node.ts'
import { at, get } from './rule.ts'
import { empty, type Value } from './values.ts'
import type { BinaryFn, Direction, ElementwiseAttrs, UnaryFn } from '../ops.ts'
import type { Rules } from './rule.ts'

/** To the nearest whole number; of two, to the even one. */
const round = (x: number): number => { const near = Math.round(x); return Math.abs(x % 1) === 0.5 && near % 2 !== 0 ? near - 1 : near }
const ones = (x: number): number => { let n = 0; for (let rest = x >>> 0; rest !== 0; rest >>>= 1) n += rest & 1; return n }

const unaryFns: { readonly [F in UnaryFn]: (x: number) => number } = {
  neg: x => -x, exp: Math.exp, expm1: Math.expm1, log: Math.log, log1p: Math.log1p, tanh: Math.tanh, sqrt: Math.sqrt, rsqrt: x => 1 / Math.sqrt(x), cbrt: Math.cbrt,
  abs: Math.abs, sign: Math.sign, sin: Math.sin, cos: Math.cos, tan: Math.tan, logistic: x => 1 / (1 + Math.exp(-x)), erf, erfInv,
  floor: Math.floor, ceil: Math.ceil, round, not: x => ~x, popcount: ones, leadingZeros: x => Math.clz32(x),
}
const binaryFns: { readonly [F in BinaryFn]: (a: number, b: number) => number } = {
  add: (a, b) => a + b, sub: (a, b) => a - b, mul: (a, b) => a * b, div: (a, b) => a / b, rem: (a, b) => a % b, max: Math.max, min: Math.min, pow: Math.pow, atan2: Math.atan2,
  and: (a, b) => a & b, or: (a, b) => a | b, xor: (a, b) => a ^ b,
  // Shifts by the width or more give 0 or copies of the sign, as StableHLO says.
  shiftLeft: (a, b) => (b > 31 ? 0 : a << b), shiftRight: (a, b) => (b > 31 ? 0 : a >>> b), shiftRightArithmetic: (a, b) => a >> Math.min(b, 31),
}
/** Integers: products keep their low bits, which a double cannot hold; what is divided by zero is as XLA has it. */
const integerFns: { readonly [F in BinaryFn]?: (a: number, b: number) => number } = {
  mul: Math.imul, div: (a, b) => (b === 0 ? -1 : Math.trunc(a / b)), rem: (a, b) => (b === 0 ? a : a % b),
  pow: (a, b) => { let p = 1; for (let i = 0; i < b; i++) p = Math.imul(p, a); return b < 0 ? (a === 1 ? 1 : a === -1 ? (b % 2 === 0 ? 1 : -1) : 0) : p },
}
/** The nearest whole number of the type towards zero; 0 of NaN. */
function whole(x: number, dtype: DType): number {
  const [low, high] = rangeOf(dtype)
  return Number.isNaN(x) ? 0 : Math.trunc(Math.min(Math.max(x, low), high))
}
const directions: { readonly [D in Direction]: (a: number, b: number) => boolean } = {
  EQ: (a, b) => a === b, NE: (a, b) => a !== b, LT: (a, b) => a < b, LE: (a, b) => a <= b, GT: (a, b) => a > b, GE: (a, b) => a >= b,
}

export const elementwise: Rules<ElementwiseAttrs> = {
  unary: (n, [x]) => {
    const [out, f, a] = [empty(typeOf(n)), unaryFns[n.attrs.fn], at([x as Value], 0)]
    const bool = a.dtype === 'bool'
    for (let i = 0; i < out.data.length; i++) out.data[i] = bool ? 1 - get(a, i) : f(get(a, i))
    return [out]
  },
  binary: (n, v) => {
    const [out, f, a, b] = [empty(typeOf(n)), binaryFns[n.attrs.fn], at(v, 0), at(v, 1)]
    const g = isFloat(out.dtype) ? f : integerFns[n.attrs.fn] ?? f
    for (let i = 0; i < out.data.length; i++) out.data[i] = g(get(a, i), get(b, i))
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
  convert: (n, v) => {
    const [out, a] = [empty(typeOf(n)), at(v, 0)]
    const cut = isFloat(a.dtype) && !isFloat(out.dtype)
    for (let i = 0; i < out.data.length; i++) out.data[i] = out.dtype === 'bool' ? Number(get(a, i) !== 0) : cut ? whole(get(a, i), out.dtype) : get(a, i)
    return [out]
  },
  threefry: (n, v) => {
    const out = empty(typeOf(n))
    const [k0, k1, c0, c1] = [at(v, 0), at(v, 1), at(v, 2), at(v, 3)]
    for (let i = 0; i < out.data.length; i++) out.data[i] = threefry2x32(get(k0, i), get(k1, i), get(c0, i), get(c1, i))
    return [out]
  },
}
