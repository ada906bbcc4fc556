/**
 * A gather that is followed by what makes it smaller comes after that, where fewer bytes cross then: a slice along another dim, a reduction, a conversion to fewer bits, a product
 * with something narrow. Each device does it with its own part, which is less work, too.
 */
import { sizeOf } from '../../core/dim.ts'
import { dtypes, isHalf } from '../../core/dtype.ts'
import { bodiesOf, dtypeOf, nodesOf, operand, shapeOf, type Make } from '../../graph/node.ts'
import { collectiveKind, received, type CollectiveKind } from '../collectives.ts'
import type { LocalAttrs, LocalGraph, LocalNode } from '../local.ts'
import { usersOf, type Pass } from './rewrite.ts'

type Maker = Make<LocalAttrs>
type Gather = LocalNode<'allGather'>
/** What stands for a reader of a gather: a collective on what the device makes of its own part. */
type Made = LocalNode<'allGather'> | LocalNode<'allReduce'>

const again = (make: Maker, g: Gather, of: LocalNode, u: LocalNode): Made => make('allGather', [of], g.attrs, g.site ?? u.site)
const has = (n: LocalNode, dim: string): boolean => shapeOf(n).some(d => d.name === dim)

/** Whether a value is known to be the same on all devices along the axes. */
type Same = (n: LocalNode, axes: readonly string[]) => boolean

/** By op, how it is done with a device's part of its operand `g`; undefined where it needs all, or where devices do it with different things. */
const onParts: { readonly [op: string]: ((make: Maker, u: LocalNode, g: Gather, same: Same) => Made | undefined) | undefined } = {
  convert: (make, u, g) => (u.op === 'convert' ? again(make, g, make('convert', [operand(g, 0)], u.attrs, u.site), u) : undefined),
  resample: (make, u, g) => (u.op === 'resample' && u.attrs.dim !== g.attrs.dim && u.attrs.to.name !== g.attrs.dim ? again(make, g, make('resample', [operand(g, 0)], u.attrs, u.site), u) : undefined),
  dynamicSlice: (make, u, g, same) => (u.op === 'dynamicSlice' && operand(u, 0) === g && same(operand(u, 1), g.attrs.axes) && u.attrs.dim !== g.attrs.dim
    ? again(make, g, make('dynamicSlice', [operand(g, 0), operand(u, 1)], u.attrs, u.site), u) : undefined),
  reduce: (make, u, g) => {
    if (u.op !== 'reduce') return undefined
    const own = make('reduce', [operand(g, 0)], u.attrs, u.site)
    if (!u.attrs.over.includes(g.attrs.dim)) return again(make, g, own, u)
    // Halves are added up in f32, which a sum between devices is not.
    return isHalf(dtypeOf(u)) ? undefined : make('allReduce', [own], { kind: u.attrs.kind, axes: g.attrs.axes }, u.site)
  },
  dot: (make, u, g, same) => {
    if (u.op !== 'dot' || operand(u, 0) === operand(u, 1) || u.attrs.over.includes(g.attrs.dim)) return undefined
    const other = u.inputs.find(i => i !== g)
    if (other === undefined || has(other, g.attrs.dim) || !same(other, g.attrs.axes)) return undefined
    return again(make, g, make('dot', u.inputs.map(i => (i === g ? operand(g, 0) : i)), u.attrs, u.site), u)
  },
}

const kinds: { readonly [K in Made['op']]: CollectiveKind } = { allGather: 'all-gather', allReduce: 'all-reduce' }
const costOf = (n: Made, groupSize: number): number => {
  const x = operand(n, 0)
  const [elements, dtype] = [sizeOf(shapeOf(x)), dtypeOf(x)]
  return received([{ kind: kinds[n.op], axes: n.attrs.axes, groupSize, count: 1, dtype, elements, bytes: elements * dtypes[dtype].bytes, at: n.site }])
}

/** Told by where the program's inputs lie; of what enters a loop nothing is known. */
function sameness({ inputs, inputPlacements }: LocalGraph): Same {
  const placed = new Map(inputs.map((n, i) => [n as LocalNode, new Set([...inputPlacements[i]?.sharding.values() ?? []].flat())]))
  const found = new Map<string, boolean>()
  const decide = (n: LocalNode, axes: readonly string[]): boolean => {
    const split = placed.get(n)
    if (n.op === 'input') return split !== undefined && !axes.some(a => split.has(a))
    if (n.op === 'allReduce' || n.op === 'allGather') return axes.every(a => n.attrs.axes.includes(a)) || same(operand(n, 0), axes)
    if (n.op === 'axisIndex') return !axes.some(a => n.attrs.axes.includes(a))
    return n.op !== 'project' && collectiveKind(n) === undefined && bodiesOf(n).length === 0 && n.inputs.every(i => same(i, axes))
  }
  const same: Same = (n, axes) => {
    const key = `${n.id} ${axes.join()}`
    const known = found.get(key) ?? decide(n, axes)
    found.set(key, known)
    return known
  }
  return same
}

export const sinkGathers = (graph: LocalGraph): Pass => (body, make) => {
  const replaced = new Map<LocalNode, LocalNode>()
  const gathers = nodesOf<LocalAttrs, 'allGather'>(body.outputs, 'allGather')
  if (gathers.length === 0) return replaced
  const same = sameness(graph)
  const users = usersOf(body)
  for (const g of gathers) {
    if (replaced.has(g)) continue
    const readers = [...new Set(users.get(g) ?? [])]
    const made = readers.map(u => (u === undefined || replaced.has(u) ? undefined : onParts[u.op]?.(make, u, g, same)))
    if (made.length === 0 || made.includes(undefined)) continue
    const all = made.flatMap(m => m ?? [])
    if (all.reduce((sum, m) => sum + costOf(m, g.attrs.parts), 0) >= costOf(g, g.attrs.parts)) continue
    readers.forEach((u, i) => { const m = all[i]; if (u !== undefined && m !== undefined) replaced.set(u, m) })
  }
  return replaced
}
