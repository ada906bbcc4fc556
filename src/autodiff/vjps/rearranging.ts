/** Gradients: ops that move elements to places known beforehand. Each is another such op. */
import { moved } from '../../graph/half-precision.ts'
import { broadcastTo, make } from '../../graph/make.ts'
import { operand, shapeOf, type Node } from '../../graph/node.ts'
import type { RearrangingAttrs } from '../../graph/ops.ts'
import { dimIn } from '../../graph/infer/checks.ts'
import { none, type Vjps } from './vjp.ts'

const sized = (n: Node, dim: string): { readonly name: string; readonly size: number } => dimIn(shapeOf(n), dim, 'gradient')

export const rearranging: Vjps<RearrangingAttrs> = {
  splitDim: (n, [g]) => {
    if (g === undefined) return none
    const x = operand(n, 0)
    return [moved(g, g => broadcastTo(make('mergeDims', [g], { from: n.attrs.into.map(d => d.name), into: sized(x, n.attrs.dim) }), shapeOf(x)))]
  },
  mergeDims: (n, [g]) => {
    if (g === undefined) return none
    const x = operand(n, 0)
    return [moved(g, g => broadcastTo(make('splitDim', [g], { dim: n.attrs.into.name, into: n.attrs.from.map(name => sized(x, name)) }), shapeOf(x)))]
  },
  resample: (n, [g]) => {
    if (g === undefined) return none
    const { dim, to, start, step, dilation } = n.attrs
    return [moved(g, g => make('resample', [g], { dim: to.name, to: sized(operand(n, 0), dim), start: -start, step: dilation, dilation: step, fill: 0 }))]
  },
  roll: (n, [g]) => (g === undefined ? none : [moved(g, g => make('roll', [g], { dim: n.attrs.dim, by: -n.attrs.by }))]),
  reverse: (n, [g]) => (g === undefined ? none : [moved(g, g => make('reverse', [g], n.attrs))]),
  concat: (n, [g], { wants }) => {
    if (g === undefined) return none
    const { name } = n.attrs.dim
    let start = 0
    return n.inputs.map(x => {
      const to = sized(x, name)
      const begin = start
      start += to.size
      return wants(x) ? moved(g, g => make('resample', [g], { dim: name, to, start: begin, step: 1, dilation: 1, fill: 0 })) : undefined
    })
  },
}
