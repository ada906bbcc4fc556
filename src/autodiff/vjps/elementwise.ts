/** Gradients: elementwise ops. */
import { isFloat, type DType } from '../../core/dtype.ts'
import { remGradient } from '../../graph/division.ts'
import { gaussian } from '../../graph/functions.ts'
import { converted, cotangentIn, sumsIn } from '../../graph/half-precision.ts'
import { make, splatValue } from '../../graph/make.ts'
import { dtypeOf, operand } from '../../graph/node.ts'
import { full, loose, tensor, where } from '../../graph/tensor.ts'
import { mask, masked } from './masked.ts'
import { none, t, type T } from './vjp.ts'
import type { BinaryFn, ElementwiseAttrs, UnaryFn } from '../../graph/ops.ts'
import type { Vjps } from './vjp.ts'

/** 1 / cosh²(x / 2) / 4, from e^(−|x|): 1 less the square of what is nearly 1 would have no digits left. */
const bell = (x: T): T => { const e = x.abs().neg().exp(); return e.div(e.add(1).square()) }

/** dx from (g, x, f(x)); of halves all three are f32, f(x) rounded to a half. */
const unary: { readonly [F in UnaryFn]: ((g: T, x: T, y: T) => T) | undefined } = {
  neg: g => g.neg(),
  exp: (g, _, y) => g.mul(y),
  log: (g, x) => g.div(x),
  tanh: (g, x) => g.mul(bell(x.mul(2)).mul(4)),
  sqrt: (g, _, y) => g.mul(0.5).div(y),
  rsqrt: (g, x, y) => g.mul(-0.5).mul(y).div(x),
  abs: (g, x) => g.mul(tensor(make('unary', [x.node], { fn: 'sign' }))),
  sign: undefined,
  sin: (g, x) => g.mul(x.cos()),
  cos: (g, x) => g.mul(x.sin()).neg(),
  logistic: (g, x) => g.mul(bell(x)),
  expm1: (g, x) => g.mul(x.exp()),
  log1p: (g, x) => g.div(x.add(1)),
  cbrt: (g, _, y) => g.div(y.square().mul(3)),
  tan: (g, _, y) => g.mul(y.square().add(1)),
  erf: (g, x) => g.mul(tensor(gaussian(x.node))).mul(2 / Math.sqrt(Math.PI)),
  erfc: (g, x) => g.mul(tensor(gaussian(x.node))).mul(-2 / Math.sqrt(Math.PI)),
  erfInv: (g, x) => g.mul(x.erfInv().square().exp()).mul(Math.sqrt(Math.PI) / 2),
  floor: undefined, ceil: undefined, round: undefined,
  not: undefined, popcount: undefined, leadingZeros: undefined,
}

/** b a^(b − 1). As b − 1 is rounded it is b y / a, where y and a are neither too large nor too small for that. x⁰ does not depend on x. */
function powerSlope(a: T, b: T, y: T): T {
  const power = a.pow(b.sub(1))
  const known = splatValue(b.node)
  if (known !== undefined && Math.fround(known - 1) + 1 === known) return known === 0 ? loose(full(0, a.shape, a.dtype)) : power.mul(known)
  const size = y.abs()
  const fits: T = size.greater(2 ** -100).and(size.less(2 ** 100)).and(a.notEqual(0))
  return where(b.equal(0), loose(full(0, a.shape, a.dtype)), where(fits, y.div(a), power).mul(b))
}
/** aᵇ log a: 0 where the power is, and at 0⁰. */
const exponentSlope = (a: T, b: T, y: T): T =>
  where(y.equal(0).or(a.equal(0).and(b.equal(0))), loose(full(0, a.shape, a.dtype)), y.mul(a.log()))

/** b / (a² + b²) and −a / (a² + b²), by the ratio of the smaller to the larger: squares may be too large, or too small. Both are 0 at the origin, where the angle has no slope, and infinitely far from it. */
function angleSlopes(a: T, b: T): { readonly da: T; readonly db: T } {
  const steep = a.abs().greater(b.abs())
  const [large, small] = [where(steep, a, b), where(steep, b, a)]
  const outside = large.equal(0).or(large.abs().equal(Infinity))
  const ratio = where(outside, loose(full(0, a.shape, a.dtype)), small.div(large))
  const scale = where(outside, loose(full(0, a.shape, a.dtype)), ratio.square().add(1).mul(large).reciprocal())
  return { da: where(steep, ratio, 1).mul(scale), db: where(steep, loose(full(1, a.shape, a.dtype)), ratio).mul(scale).neg() }
}

/** The cotangent of each operand, from (g, a, b, f(a, b)). Where max and min tie, the right operand gets all of it, so that relu'(0) is 0. */
const binary: { readonly [F in BinaryFn]: readonly [(g: T, a: T, b: T, y: T) => T, (g: T, a: T, b: T, y: T) => T] | undefined } = {
  add: [g => g, g => g],
  sub: [g => g, g => g.neg()],
  mul: [(g, _, b) => g.mul(b), (g, a) => g.mul(a)],
  // Divided twice, XLA would divide once by the square, which may be no number of the dtype.
  div: [(g, _, b) => g.div(b), (g, _, b, y) => g.mul(y).mul(b.reciprocal()).neg()],
  max: [(g, a, b) => where(b.less(a), g, 0), (g, a, b) => where(b.less(a), g.mul(0), g)],
  min: [(g, a, b) => where(a.less(b), g, 0), (g, a, b) => where(a.less(b), g.mul(0), g)],
  pow: [(g, a, b, y) => g.mul(powerSlope(a, b, y)), (g, a, b, y) => g.mul(exponentSlope(a, b, y))],
  rem: [g => g, (g, a, b) => tensor(remGradient(g.node, a.node, b.node))],
  atan2: [(g, a, b) => g.mul(angleSlopes(a, b).da), (g, a, b) => g.mul(angleSlopes(a, b).db)],
  and: undefined, or: undefined, xor: undefined, shiftLeft: undefined, shiftRight: undefined, shiftRightArithmetic: undefined,
}

/** Rules that compute nothing but a sign or one product lose nothing in halves; the others run in f32, and what they give is rounded once. */
const plain: ReadonlySet<UnaryFn | BinaryFn> = new Set(['neg', 'abs', 'add', 'sub', 'mul', 'max', 'min', 'rem'])
const ruleIn = (fn: UnaryFn | BinaryFn, dtype: DType): DType => (plain.has(fn) ? dtype : sumsIn(dtype))

export const elementwise: Vjps<ElementwiseAttrs> = {
  unary: (n, [g]) => {
    const f = unary[n.attrs.fn]
    if (g === undefined || f === undefined) return none
    const [x, dtype] = [operand(n, 0), dtypeOf(n)]
    const wide = ruleIn(n.attrs.fn, dtype)
    return [masked(g, d => converted(f(t(cotangentIn(d, wide)), t(converted(x, wide)), t(converted(n, wide))).node, dtype))]
  },
  binary: (n, [g], { wants }) => {
    const both = binary[n.attrs.fn]
    if (g === undefined || both === undefined) return none
    const [a, b, dtype] = [operand(n, 0), operand(n, 1), dtypeOf(n)]
    const wide = ruleIn(n.attrs.fn, dtype)
    return both.map((f, i) => (!wants(operand(n, i)) ? undefined
      : masked(g, d => converted(f(t(cotangentIn(d, wide)), t(converted(a, wide)), t(converted(b, wide)), t(converted(n, wide))).node, dtype))))
  },
  compare: () => none,
  select: (n, [g]) => {
    if (g === undefined) return none
    return [undefined, mask(operand(n, 0), true, g), mask(operand(n, 0), false, g)]
  },
  convert: (n, [g]) => {
    const from = dtypeOf(operand(n, 0))
    return g === undefined || !isFloat(from) ? none : [cotangentIn(g, from)]
  },
  threefry: () => none,
}
