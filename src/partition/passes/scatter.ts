/** A sum that every device then takes only its own part of is a reduce-scatter. */
import { nodesOf, operand } from '../../graph/node.ts'
import { sizeIn } from '../build.ts'
import type { LocalAttrs, LocalNode } from '../local.ts'
import { usersOf, type Pass } from './rewrite.ts'

/** The axes along which a slice takes the device's own part, if that is what it takes. */
export function ownAxes(n: LocalNode<'dynamicSlice'>): readonly string[] | undefined {
  const start = operand(n, 1)
  if (start.op !== 'binary' || start.attrs.fn !== 'mul') return undefined
  const [part, block] = [operand(start, 0), operand(start, 1)]
  return part.op === 'axisIndex' && block.op === 'constant' && block.attrs.value === n.attrs.to.size ? part.attrs.axes : undefined
}

interface Slice { readonly slice: LocalNode<'dynamicSlice'>; readonly narrowed?: LocalNode<'convert'> }
type Users = ReadonlyMap<LocalNode, readonly (LocalNode | undefined)[]>

/** The slices that all users of a sum are, or all users of the sum in another dtype; undefined where something else uses it. */
function slicesOf(n: LocalNode, users: Users): Slice[] | undefined {
  const found: Slice[] = []
  for (const u of users.get(n) ?? []) {
    if (u?.op === 'dynamicSlice') found.push({ slice: u })
    else if (u?.op === 'convert') {
      for (const s of users.get(u) ?? []) {
        if (s?.op !== 'dynamicSlice') return undefined
        found.push({ slice: s, narrowed: u })
      }
    } else return undefined
  }
  return found
}

export const scatterSums: Pass = (body, make) => {
  const replaced = new Map<LocalNode, LocalNode>()
  const sums = nodesOf<LocalAttrs, 'allReduce'>(body.outputs, 'allReduce')
  if (sums.length === 0) return replaced
  const users = usersOf(body)
  for (const n of sums) {
    if (n.attrs.kind !== 'sum') continue
    const { axes: summed } = n.attrs
    const slices = slicesOf(n, users)
    const first = slices?.[0]?.slice
    const axes = first === undefined ? undefined : ownAxes(first)
    if (slices === undefined || first === undefined || axes === undefined || !axes.every(a => summed.includes(a))) continue
    if (!slices.every(({ slice: s }) => s.attrs.dim === first.attrs.dim && ownAxes(s)?.join() === axes.join())) continue
    const { dim, to: { size } } = first.attrs
    const scattered = make('reduceScatter', [operand(n, 0)], { dim, axes, parts: sizeIn(n, dim) / size }, n.site)
    const rest = summed.filter(a => !axes.includes(a))
    const sum = rest.length === 0 ? scattered : make('allReduce', [scattered], { kind: 'sum', axes: rest }, n.site)
    for (const { slice, narrowed } of slices) replaced.set(slice, narrowed === undefined ? sum : make('convert', [sum], narrowed.attrs, narrowed.site))
  }
  return replaced
}
