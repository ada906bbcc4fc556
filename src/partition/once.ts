/** Values as addends: what all devices have is counted on the first of them. */
import { shapeOf } from '../graph/node.ts'
import { constant, partIndex } from './build.ts'
import type { Context, Value } from './context.ts'

/** A value partial over more axes: itself on the first device along those it was replicated over, zero elsewhere. */
export function once(c: Context, v: Value, axes: readonly string[]): Value {
  const more = axes.filter(a => v.partial?.axes.includes(a) !== true)
  if (more.length === 0) return v
  const index = partIndex(c, more)
  const here = c.make('compare', [index, constant(c, 0, index)], { direction: 'EQ' })
  const shape = shapeOf(v.node)
  const everywhere = shape.length === 0 ? here : c.make('broadcast', [here], { shape })
  return { ...v, node: c.make('select', [everywhere, v.node, constant(c, 0, v.node)], {}), partial: { kind: 'sum', axes: [...v.partial?.axes ?? [], ...more] } }
}
