/** Gradients: ops that see windows of neighbours. */
import { names } from '../../core/dim.ts'
import { dimIn } from '../../graph/infer/checks.ts'
import { movedFactor, narrowedFor } from '../../graph/half-precision.ts'
import { broadcastTo, make } from '../../graph/make.ts'
import { operand, shapeOf, type Node } from '../../graph/node.ts'
import type { WindowAttrs } from '../../graph/ops.ts'
import { convDims } from '../../graph/windows.ts'
import { none, type Vjps } from './vjp.ts'

export const windows: Vjps<WindowAttrs> = {
  /**
   * xd[s·stride + k·wDilation − low]: to x's element i flows g[s] · w[k] where s·stride = i·xDilation + low − k·wDilation, which
   * with k counted from the end is a window over g, stride and x's dilation exchanged; to w[k] flows x · g summed over s, a window
   * that is as wide as g, stride and w's dilation exchanged. Both have the exact sizes, so nothing is cut or padded.
   */
  conv: (n, [given], { wants }) => {
    if (given === undefined) return none
    const [x, w] = [operand(n, 0), operand(n, 1)]
    const g = narrowedFor(given, [x, w])
    const { batch, features } = convDims(n.attrs, shapeOf(x), shapeOf(w))
    const width = (name: string): number => dimIn(shapeOf(w), name, 'gradient').size
    const toX = (): Node => make('conv', [g, movedFactor(w, w => n.attrs.windows.reduce((r, v) => (width(v.w) === 1 ? r : make('reverse', [r], { dim: v.w })), w))], {
      over: names(features),
      windows: n.attrs.windows.map(v => ({
        x: v.out.name, w: v.w, out: dimIn(shapeOf(x), v.x, 'gradient'), stride: v.xDilation, low: (width(v.w) - 1) * v.wDilation - v.low, xDilation: v.stride, wDilation: v.wDilation,
      })),
    })
    const toW = (): Node => make('conv', [x, g], {
      over: names(batch),
      windows: n.attrs.windows.map(v => ({
        x: v.x, w: v.out.name, out: dimIn(shapeOf(w), v.w, 'gradient'), stride: v.wDilation, low: v.low, xDilation: v.xDilation, wDilation: v.stride,
      })),
    })
    return [wants(x) ? broadcastTo(toX(), shapeOf(x)) : undefined, wants(w) ? broadcastTo(toW(), shapeOf(w)) : undefined]
  },
}
