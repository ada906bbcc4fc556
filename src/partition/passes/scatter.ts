/** A sum that every device then takes only its own part of is a reduce-scatter. */
import { operand, reachable } from '../../graph/node.ts'
import { sizeIn } from '../build.ts'
import type { LocalNode } from '../local.ts'
import { usersOf, type Pass } from './rewrite.ts'

/** The axes along which a slice takes the device's own part, if that is what it takes. */
function ownAxes(n: LocalNode<'dynamicSlice'>): readonly string[] | undefined {
  const start = operand(n, 1)
  if (start.op !== 'binary' || start.attrs.fn !== 'mul') return undefined
  const [part, block] = [operand(start, 0), operand(start, 1)]
  return part.op === 'axisIndex' && block.op === 'constant' && block.attrs.value === n.attrs.to.size ? part.attrs.axes : undefined
}

export const scatterSums: Pass = (body, make) => {
  const users = usersOf(body)
  const replaced = new Map<LocalNode, LocalNode>()
  for (const n of reachable(body.outputs)) {
    if (n.op !== 'allReduce' || n.attrs.kind !== 'sum') continue
    const { axes: summed } = n.attrs
    const slices = (users.get(n) ?? []).map(u => (u?.op === 'dynamicSlice' ? u : undefined))
    const [first] = slices
    const axes = first === undefined ? undefined : ownAxes(first)
    if (first === undefined || axes === undefined || !axes.every(a => summed.includes(a))) continue
    if (!slices.every(s => s !== undefined && s.attrs.dim === first.attrs.dim && ownAxes(s)?.join() === axes.join())) continue
    const { dim, to: { size } } = first.attrs
    const scattered = make('reduceScatter', [operand(n, 0)], { dim, axes, parts: sizeIn(n, dim) / size }, n.site)
    const rest = summed.filter(a => !axes.includes(a))
    const sum = rest.length === 0 ? scattered : make('allReduce', [scattered], { kind: 'sum', axes: rest }, n.site)
    for (const s of slices) if (s !== undefined) replaced.set(s, sum)
  }
  return replaced
}
