/** Gradients: ops that look up or place elements by computed indices. */
import { broadcastTo, make } from '../../graph/make.ts'
import { operand, shapeOf } from '../../graph/node.ts'
import { full, tensor, where } from '../../graph/tensor.ts'
import { none, t } from './rule.ts'
import type { IndexingAttrs } from '../../graph/ops.ts'
import type { Rules } from './rule.ts'

export const indexing: Rules<IndexingAttrs> = {
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
}
