/** Gradients: ops that sum over dims. */
import { names } from '../../core/dim.ts'
import { converted, cotangentIn, dotNode, moved, narrowedFor, sumsIn } from '../../graph/half-precision.ts'
import { broadcastTo, make } from '../../graph/make.ts'
import { dtypeOf, operand, shapeOf, type Node } from '../../graph/node.ts'
import { dimIn } from '../../graph/infer/checks.ts'
import { where } from '../../graph/tensor.ts'
import { counting, weights } from './extremum.ts'
import { none, t, type T } from './vjp.ts'
import type { ContractionAttrs } from '../../graph/ops.ts'
import type { Vjps } from './vjp.ts'

const missing = (from: Node, of: Node): string[] => names(shapeOf(of)).filter(d => !names(shapeOf(from)).includes(d))

/** For every element, the product of all others along a dim, made from the product of those before it and of those after it. Nothing is divided, so zeros do no harm. */
function othersProduct(x: Node, over: readonly string[]): Node {
  const [dim, ...more] = over
  if (dim === undefined || more.length > 0) throw new Error('products run over one dim at a time')
  const to = dimIn(shapeOf(x), dim, 'prod')
  const upTo = (reverse: boolean): T =>
    t(make('resample', [make('cumulative', [x], { kind: 'prod', dim, reverse })], { dim, to, start: reverse ? 1 : -1, step: 1, dilation: 1, fill: 1 }))
  return upTo(false).mul(upTo(true)).node
}

export const contraction: Vjps<ContractionAttrs> = {
  dot: (n, [g], { wants }) => {
    if (g === undefined) return none
    const [a, b] = [operand(n, 0), operand(n, 1)]
    const factor = narrowedFor(g, [a, b])
    return [
      wants(a) ? broadcastTo(dotNode(factor, b, missing(a, b)), shapeOf(a)) : undefined,
      wants(b) ? broadcastTo(dotNode(a, factor, missing(b, a)), shapeOf(b)) : undefined,
    ]
  },
  reduce: (n, [g]) => {
    if (g === undefined) return none
    const x = operand(n, 0)
    const wide = moved(g, g => broadcastTo(g, shapeOf(x)))
    if (n.attrs.kind === 'sum') return [wide]
    if (n.attrs.kind === 'prod') return [t(wide).mul(t(othersProduct(x, n.attrs.over))).node]
    // Elements that tie for the extremum share its cotangent.
    const like = (y: T): T => t(broadcastTo(y.node, shapeOf(x)))
    const weight = weights(t(x), like(t(n)))
    const { least, count } = counting(weight.sum(...n.attrs.over))
    const share = t(cotangentIn(g, sumsIn(dtypeOf(x)))).div(t(broadcastTo(count.node, shapeOf(g))))
    return [converted(where(weight.greaterEqual(like(least)), like(share), 0).node, dtypeOf(x))]
  },
}
