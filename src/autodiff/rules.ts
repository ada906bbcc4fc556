/** The gradient of every op: cotangents of its operands from those of its results. */
import { names } from '../core/dim.ts'
import { isFloat } from '../core/dtype.ts'
import { broadcastTo, fullNode, make } from '../graph/make.ts'
import { dtypeOf, operand, shapeOf, type Node, type Table } from '../graph/node.ts'
import type { BinaryFn, UnaryFn } from '../graph/ops.ts'
import { tensor, where, full } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'
import { scanVjp } from './scan.ts'

type T = Tensor<string>
const t = (n: Node): T => tensor(n)
const none: readonly undefined[] = []
export type Cotangents = readonly (Node | undefined)[]

/** What a rule may ask: which operands anyone wants the gradient of, and which values of a loop's body are kept. */
export interface Wanted { readonly wants: (input: Node) => boolean; readonly keep: (n: Node) => boolean }

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
  not: undefined,
}

/** Each operand's own rule, from (g, a, b, f(a, b)). Where max and min tie, the right operand takes it all, so relu'(0) is 0. */
const binary: { readonly [F in BinaryFn]: readonly [(g: T, a: T, b: T, y: T) => T, (g: T, a: T, b: T, y: T) => T] | undefined } = {
  add: [g => g, g => g],
  sub: [g => g, g => g.neg()],
  mul: [(g, _, b) => g.mul(b), (g, a) => g.mul(a)],
  div: [(g, _, b) => g.div(b), (g, _, b, y) => g.mul(y).div(b).neg()],
  max: [(g, a, b) => where(b.less(a), g, 0), (g, a, b) => where(b.less(a), g.mul(0), g)],
  min: [(g, a, b) => where(a.less(b), g, 0), (g, a, b) => where(a.less(b), g.mul(0), g)],
  pow: [(g, a, b) => g.mul(b).mul(a.pow(b.sub(1))), (g, a, _, y) => g.mul(y).mul(a.log())],
  and: undefined, or: undefined, xor: undefined, shiftLeft: undefined, shiftRight: undefined,
}

const sumTo = (g: Node, like: Node): Node => {
  const kept = new Set(names(shapeOf(like)))
  const over = names(shapeOf(g)).filter(d => !kept.has(d))
  return broadcastTo(over.length === 0 ? g : make('reduce', [g], { kind: 'sum', over }), shapeOf(like))
}
const missing = (from: Node, of: Node): string[] => names(shapeOf(of)).filter(d => !names(shapeOf(from)).includes(d))

export const rules: Table<Cotangents, [Cotangents, Wanted]> = {
  input: () => none,
  constant: () => none,
  iota: () => none,
  compare: () => none,
  threefry: () => none,
  stopGradient: () => none,
  project: () => { throw new Error('projections are followed by the driver') },
  unary: (n, [g]) => {
    const f = unary[n.attrs.fn]
    return g === undefined || f === undefined ? none : [f(t(g), t(operand(n, 0)), t(n)).node]
  },
  binary: (n, [g], { wants }) => {
    const both = binary[n.attrs.fn]
    if (g === undefined || both === undefined) return none
    return both.map((f, i) => (wants(operand(n, i)) ? f(t(g), t(operand(n, 0)), t(operand(n, 1)), t(n)).node : undefined))
  },
  select: (n, [g]) => {
    if (g === undefined) return none
    const [p, zero] = [operand(n, 0), fullNode(0, shapeOf(g), dtypeOf(g))]
    return [undefined, make('select', [p, g, zero], {}), make('select', [p, zero, g], {})]
  },
  convert: (n, [g]) => {
    const from = dtypeOf(operand(n, 0))
    return g === undefined || !isFloat(from) ? none : [make('convert', [g], { dtype: from })]
  },
  broadcast: (n, [g]) => (g === undefined ? none : [sumTo(g, operand(n, 0))]),
  dot: (n, [g], { wants }) => {
    if (g === undefined) return none
    const [a, b] = [operand(n, 0), operand(n, 1)]
    return [
      wants(a) ? broadcastTo(make('dot', [g, b], { over: missing(a, b) }), shapeOf(a)) : undefined,
      wants(b) ? broadcastTo(make('dot', [a, g], { over: missing(b, a) }), shapeOf(b)) : undefined,
    ]
  },
  reduce: (n, [g]) => {
    if (g === undefined) return none
    const x = operand(n, 0)
    const wide = broadcastTo(g, shapeOf(x))
    if (n.attrs.kind === 'sum') return [wide]
    // Elements that tie for the extremum share its cotangent.
    const hit = t(x).equal(t(broadcastTo(n, shapeOf(x)))).cast(dtypeOf(x))
    return [t(wide).mul(hit).div(t(broadcastTo(hit.sum(...n.attrs.over).node, shapeOf(x)))).node]
  },
  rename: (n, [g]) => (g === undefined ? none : [make('rename', [g], { from: n.attrs.to, to: n.attrs.from })]),
  take: (n, [g]) => {
    if (g === undefined) return none
    const [table, indices] = [operand(n, 0), operand(n, 1)]
    const dim = shapeOf(table).find(d => d.name === n.attrs.dim)
    if (dim === undefined) return none
    // What was taken from the edge flows back to it.
    const clamped = t(indices).minimum(dim.size - 1).maximum(0).node
    return [broadcastTo(make('scatterAdd', [clamped, g], { dim }), shapeOf(table))]
  },
  scatterAdd: (n, [g]) => {
    if (g === undefined) return none
    const [indices, updates] = [t(operand(n, 0)), operand(n, 1)]
    const rows = tensor<string>(broadcastTo(make('take', [g, indices.node], { dim: n.attrs.dim.name }), shapeOf(updates)))
    const inRange = tensor<string>(make('binary', [indices.greaterEqual(0).node, indices.less(n.attrs.dim.size).node], { fn: 'and' }))
    return [undefined, where(inRange, rows, full(0, rows.shape, rows.dtype)).node]
  },
  scan: (n, g, wanted) => scanVjp(n, g, wanted),
  relayout: (_, [g]) => [g],
  customGradient: (n, [g]) => (g === undefined ? none : [undefined, ...n.attrs.vjp(g, n, n.inputs.slice(1))]),
}

