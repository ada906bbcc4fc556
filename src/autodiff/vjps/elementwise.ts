/** Gradients: elementwise ops. */
import { isFloat } from '../../core/dtype.ts'
import { cotangentIn } from '../../graph/half-precision.ts'
import { fullNode, make, splatValue } from '../../graph/make.ts'
import { dtypeOf, operand, shapeOf, type Node } from '../../graph/node.ts'
import { full, tensor, where } from '../../graph/tensor.ts'
import { none, t, type T } from './vjp.ts'
import type { BinaryFn, ElementwiseAttrs, UnaryFn } from '../../graph/ops.ts'
import type { Vjps } from './vjp.ts'

/** dx from (g, x, f(x)). */
const unary: { readonly [F in UnaryFn]: ((g: T, x: T, y: T) => T) | undefined } = {
  neg: g => g.neg(),
  exp: (g, _, y) => g.mul(y),
  log: (g, x) => g.div(x),
  tanh: (g, _, y) => g.mul(y.square().neg().add(1)),
  sqrt: (g, _, y) => g.mul(0.5).div(y),
  rsqrt: (g, x, y) => g.mul(-0.5).mul(y).div(x),
  abs: (g, x) => g.mul(tensor(make('unary', [x.node], { fn: 'sign' }))),
  sign: undefined,
  sin: (g, x) => g.mul(x.cos()),
  cos: (g, x) => g.mul(x.sin()).neg(),
  logistic: (g, _, y) => g.mul(y).mul(y.neg().add(1)),
  expm1: (g, _, y) => g.mul(y.add(1)),
  log1p: (g, x) => g.div(x.add(1)),
  cbrt: (g, _, y) => g.div(y.square().mul(3)),
  tan: (g, _, y) => g.mul(y.square().add(1)),
  erf: (g, x) => g.mul(x.square().neg().exp()).mul(2 / Math.sqrt(Math.PI)),
  erfInv: (g, _, y) => g.mul(y.square().exp()).mul(Math.sqrt(Math.PI) / 2),
  floor: undefined, ceil: undefined, round: undefined,
  not: undefined, popcount: undefined, leadingZeros: undefined,
}

/** Each operand's own rule, from (g, a, b, f(a, b)). Where max and min tie, the right operand takes it all, so relu'(0) is 0. */
const binary: { readonly [F in BinaryFn]: readonly [(g: T, a: T, b: T, y: T) => T, (g: T, a: T, b: T, y: T) => T] | undefined } = {
  add: [g => g, g => g],
  sub: [g => g, g => g.neg()],
  mul: [(g, _, b) => g.mul(b), (g, a) => g.mul(a)],
  div: [(g, _, b) => g.div(b), (g, _, b, y) => g.mul(y).div(b).neg()],
  max: [(g, a, b) => where(b.less(a), g, 0), (g, a, b) => where(b.less(a), g.mul(0), g)],
  min: [(g, a, b) => where(a.less(b), g, 0), (g, a, b) => where(a.less(b), g.mul(0), g)],
  // x⁰ does not depend on x, and 0ʸ not on y.
  pow: [
    (g, a, b) => g.mul(b).mul(a.pow(where(b.equal(0), full(1, b.shape, b.dtype), b.sub(1)))),
    (g, a, _, y) => g.mul(y).mul(where(a.equal(0), full(1, a.shape, a.dtype), a).log()),
  ],
  rem: [g => g, (g, a, b) => g.mul(a.sub(a.rem(b)).div(b)).neg()],
  atan2: [(g, a, b) => g.mul(b.div(a.square().add(b.square()))), (g, a, b) => g.mul(a.div(a.square().add(b.square()))).neg()],
  and: undefined, or: undefined, xor: undefined, shiftLeft: undefined, shiftRight: undefined, shiftRightArithmetic: undefined,
}

const zerosLike = (like: Node): Node => fullNode(0, shapeOf(like), dtypeOf(like))
const both = (a: Node, b: Node): Node => (a === b ? a : make('binary', [a, b], { fn: 'and' }))
const condition = (p: Node, holds: boolean): Node => (holds ? p : make('unary', [p], { fn: 'not' }))

/** A cotangent that is zero except where `p` is `holds`. */
interface Masked { readonly p: Node; readonly holds: boolean; readonly value: Node }
function maskedOf(g: Node): Masked | undefined {
  if (g.op !== 'select') return undefined
  const [p, yes, no] = [operand(g, 0), operand(g, 1), operand(g, 2)]
  return splatValue(no) === 0 ? { p, holds: true, value: yes } : splatValue(yes) === 0 ? { p, holds: false, value: no } : undefined
}
/** The cotangent where `p` is `holds`, else zero. Of a masked one the two masks become one: however many a chain has, only one is outermost. */
function mask(p: Node, holds: boolean, g: Node): Node {
  const inner = maskedOf(g)
  if (inner !== undefined) return make('select', [both(condition(inner.p, inner.holds), condition(p, holds)), inner.value, zerosLike(g)], {})
  return make('select', holds ? [p, g, zerosLike(g)] : [p, zerosLike(g), g], {})
}

/**
 * A rule is linear in the cotangent, so what a `where` has masked may be masked after the rule as well as before it. After it,
 * what the rule gives where the operand was not chosen (1/0, say) is not seen.
 */
function masked(g: Node, rule: (g: T) => Node): Node {
  const outer = maskedOf(g)
  return outer === undefined ? rule(t(g)) : mask(outer.p, outer.holds, masked(outer.value, rule))
}

export const elementwise: Vjps<ElementwiseAttrs> = {
  unary: (n, [g]) => {
    const f = unary[n.attrs.fn]
    return g === undefined || f === undefined ? none : [masked(g, d => f(d, t(operand(n, 0)), t(n)).node)]
  },
  binary: (n, [g], { wants }) => {
    const rules = binary[n.attrs.fn]
    if (g === undefined || rules === undefined) return none
    return rules.map((f, i) => (wants(operand(n, i)) ? masked(g, d => f(d, t(operand(n, 0)), t(operand(n, 1)), t(n)).node) : undefined))
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
