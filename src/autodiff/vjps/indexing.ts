/** Gradients: ops that look up or place elements by computed indices. */
import { isFloat } from '../../core/dtype.ts'
import { names } from '../../core/dim.ts'
import { dimIn } from '../../graph/infer/checks.ts'
import { converted, cotangentIn, inSums } from '../../graph/half-precision.ts'
import { broadcastTo, fullNode, make } from '../../graph/make.ts'
import { dtypeOf, operand, shapeOf, type Node } from '../../graph/node.ts'
import type { CumulativeKind, IndexingAttrs, ScatterKind } from '../../graph/ops.ts'
import { full, tensor, where } from '../../graph/tensor.ts'
import { productGradient } from './cumulative.ts'
import { counting, weights } from './extremum.ts'
import { none, t, type Cotangents, type Vjps, type T } from './vjp.ts'

const zeros = (like: Node): Node => fullNode(0, shapeOf(like), dtypeOf(like))
const isIn = (indices: T, size: number): T => tensor(make('binary', [indices.greaterEqual(0).node, indices.less(size).node], { fn: 'and' }))
/** Rows of `from` at the indices, with dims in the order of `like`; zero where an index is out of range. */
function rowsAt(from: Node, dim: string, indices: T, like: Node): T {
  const rows = tensor<string>(broadcastTo(make('take', [from, indices.node], { dim }), shapeOf(like)))
  return where(isIn(indices, dimIn(shapeOf(from), dim, 'scatter').size), rows, full(0, rows.shape, rows.dtype))
}
/** Along `dim`, numbers from 0. */
const counted = (like: Node, dim: string): Node => broadcastTo(make('iota', [], { dim: dimIn(shapeOf(like), dim, 'gradient') }), shapeOf(like))
/** Elements at indices along their own dim, added up. */
const placed = (target: Node, dim: string, indices: Node, updates: Node): Node =>
  inSums([target, updates], ([into = target, from = updates]) => make('scatter', [into, indices, from], { dim, kind: 'add' }))

type ScatterRule = (n: Node<'scatter'>, g: Node, indices: T, updates: Node) => Cotangents

const byExtremum: ScatterRule = (n, g, indices, updates) => {
  const { dim } = n.attrs
  const target = operand(n, 0)
  // Whoever gave the extremum shares its cotangent.
  const kept = weights(t(target), t(n))
  const gave = weights(t(updates), rowsAt(n, dim, indices, updates))
  const { least, count } = counting(t(placed(kept.node, dim, indices.node, gave.node)))
  const share = t(cotangentIn(g, count.dtype)).div(count)
  const theirs = rowsAt(share.node, dim, indices, updates)
  const counted = (weight: T, from: T, shares: T): Node => converted(where(weight.greaterEqual(from), shares, 0).node, dtypeOf(target))
  return [counted(kept, least, share), undefined, counted(gave, rowsAt(least.node, dim, indices, updates), theirs)]
}
const scatters: { readonly [K in ScatterKind]: ScatterRule } = {
  add: (n, g, indices, updates) => [g, undefined, rowsAt(g, n.attrs.dim, indices, updates).node],
  set: (n, g, indices, updates) => {
    const { dim } = n.attrs
    // Of several updates of one element only the last is in the result. To find it, each update writes its own number there: the one that reads it back was the last.
    const own = shapeOf(indices.node).filter(d => !names(shapeOf(n)).includes(d.name) || d.name === dim)
    const number = own.reduce((sum: T, d) => sum.mul(d.size).add(t(broadcastTo(make('iota', [], { dim: d }), own))), t(fullNode(0, own, 'i32')))
    const numbers = t(broadcastTo(number.node, shapeOf(updates)))
    const written = make('scatter', [fullNode(-1, shapeOf(n), 'i32'), indices.node, numbers.node], { dim, kind: 'set' })
    const last = t(broadcastTo(make('take', [written, indices.node], { dim }), shapeOf(updates))).equal(numbers)
    const rows = rowsAt(g, dim, indices, updates)
    return [make('scatter', [g, indices.node, zeros(updates)], n.attrs), undefined, where(last, rows, full(0, rows.shape, rows.dtype)).node]
  },
  max: byExtremum,
  min: byExtremum,
}

/** Each element of the result equals an element of the operand: the first one of the run of equal values in which it lies. */
function extremumGradient(n: Node<'cumulative'>, g: Node): Node {
  const { kind, dim, reverse } = n.attrs
  const x = operand(n, 0)
  const along = dimIn(shapeOf(x), dim, 'gradient')
  const before = make('resample', [n], { dim, to: along, start: reverse ? 1 : -1, step: 1, dilation: 1, fill: kind === 'max' ? -Infinity : Infinity })
  const beyond = kind === 'max' ? t(before).less(t(x)) : t(x).less(t(before))
  // A NaN begins a run that never ends.
  const better = t(x).isNaN().and(t(before).equal(t(before))).or(beyond)
  const first = t(counted(x, dim)).equal(reverse ? along.size - 1 : 0)
  const begins = tensor<string>(make('select', [first.node, first.node, better.node], {}))
  const began = make('cumulative', [where(begins, t(counted(x, dim)), reverse ? along.size - 1 : 0).node], { kind: reverse ? 'min' : 'max', dim, reverse })
  return placed(zeros(x), dim, began, g)
}
const cumulatives: { readonly [K in CumulativeKind]: (n: Node<'cumulative'>, g: Node) => Node } = {
  sum: (n, g) => make('cumulative', [g], { ...n.attrs, reverse: !n.attrs.reverse }),
  prod: productGradient,
  max: extremumGradient,
  min: extremumGradient,
}

export const indexing: Vjps<IndexingAttrs> = {
  take: (n, [g]) => {
    if (g === undefined) return none
    const [table, indices] = [operand(n, 0), operand(n, 1)]
    const dim = dimIn(shapeOf(table), n.attrs.dim, 'take')
    // What was taken from the edge flows back to it.
    const clamped = t(indices).minimum(dim.size - 1).maximum(0).node
    const shared = shapeOf(indices).some(d => names(shapeOf(table)).includes(d.name))
    if (shared) return [placed(zeros(table), dim.name, clamped, g)]
    return [broadcastTo(inSums([g], ([rows = g]) => make('scatterAdd', [clamped, rows], { dim })), shapeOf(table))]
  },
  scatterAdd: (n, [g]) => {
    if (g === undefined) return none
    const [indices, updates] = [t(operand(n, 0)), operand(n, 1)]
    return [undefined, rowsAt(g, n.attrs.dim.name, indices, updates).node]
  },
  scatter: (n, [g]) => (g === undefined ? none : scatters[n.attrs.kind](n, g, t(operand(n, 1)), operand(n, 2))),
  dynamicSlice: (n, [g]) => {
    if (g === undefined) return none
    const { dim, to } = n.attrs
    const [x, start] = [operand(n, 0), operand(n, 1)]
    const named = to.name === dim ? g : make('rename', [g], { from: to.name, to: dim })
    return [make('dynamicUpdate', [zeros(x), named, start], { dim })]
  },
  dynamicUpdate: (n, [g]) => {
    if (g === undefined) return none
    const [update, start] = [operand(n, 1), operand(n, 2)]
    const cut = make('dynamicSlice', [g, start], { dim: n.attrs.dim, to: dimIn(shapeOf(update), n.attrs.dim, 'gradient') })
    return [make('dynamicUpdate', [g, zeros(update), start], n.attrs), broadcastTo(cut, shapeOf(update))]
  },
  sort: (n, g) => {
    const { dim } = n.attrs
    const keys = operand(n, 0)
    // Where each element came from; sorted by that, everything is where it was.
    const from = make('project', [make('sort', [keys, counted(keys, dim)], n.attrs)], { index: 1 })
    return g.map((d, i) => (d === undefined || !isFloat(dtypeOf(operand(n, i))) ? undefined
      : make('project', [make('sort', [from, d], { dim, descending: false })], { index: 1 })))
  },
  topK: (n, [g]) => {
    if (g === undefined) return none
    const x = operand(n, 0)
    return [placed(zeros(x), n.attrs.dim, make('project', [n], { index: 1 }), g)]
  },
  cumulative: (n, [g]) => (g === undefined ? none : [cumulatives[n.attrs.kind](n, g)]),
}
