/** What each op computes: elementwise ops. */
import { isFloat } from '../../core/dtype.ts'
import { threefry2x32 } from '../../core/threefry.ts'
import { typeOf } from '../node.ts'
import { at, get } from './rule.ts'
import { empty, type Value } from './values.ts'
import type { BinaryFn, Direction, ElementwiseAttrs, UnaryFn } from '../ops.ts'
import type { Rules } from './rule.ts'

export const unaryFns: { readonly [F in UnaryFn]: (x: number) => number } = {
  neg: x => -x, exp: Math.exp, log: Math.log, tanh: Math.tanh, sqrt: Math.sqrt, rsqrt: x => 1 / Math.sqrt(x),
  abs: Math.abs, sign: Math.sign, sin: Math.sin, cos: Math.cos, logistic: x => 1 / (1 + Math.exp(-x)), not: x => ~x,
}
export const binaryFns: { readonly [F in BinaryFn]: (a: number, b: number) => number } = {
  add: (a, b) => a + b, sub: (a, b) => a - b, mul: (a, b) => a * b, div: (a, b) => a / b, max: Math.max, min: Math.min, pow: Math.pow,
  and: (a, b) => a & b, or: (a, b) => a | b, xor: (a, b) => a ^ b,
  // Shifts by the width or more give 0, as StableHLO says.
  shiftLeft: (a, b) => (b > 31 ? 0 : a << b), shiftRight: (a, b) => (b > 31 ? 0 : a >>> b),
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
    // Integer products need all 32 low bits, which a double cannot hold.
    const g = n.attrs.fn === 'mul' && !isFloat(out.dtype) ? Math.imul : n.attrs.fn === 'div' && !isFloat(out.dtype) ? (p: number, q: number) => Math.trunc(p / q) : f
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
    for (let i = 0; i < out.data.length; i++) out.data[i] = out.dtype === 'bool' ? Number(get(a, i) !== 0) : cut ? Math.trunc(get(a, i)) : get(a, i)
    return [out]
  },
  threefry: (n, v) => {
    const out = empty(typeOf(n))
    const [k0, k1, c0, c1] = [at(v, 0), at(v, 1), at(v, 2), at(v, 3)]
    for (let i = 0; i < out.data.length; i++) out.data[i] = threefry2x32(get(k0, i), get(k1, i), get(c0, i), get(c1, i))
    return [out]
  },
}
