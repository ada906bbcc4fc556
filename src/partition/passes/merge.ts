/**
 * Small collectives of one kind that do not wait for each other run as one: a collective of a few bytes costs its latency, and
 * copying them together costs next to nothing.
 */
import { sizeOf } from '../../core/dim.ts'
import { dtypes } from '../../core/dtype.ts'
import { bodiesOf, dtypeOf, operand, orderOf, shapeOf, type Make } from '../../graph/node.ts'
import { collectiveKind } from '../collectives.ts'
import type { LocalAttrs, LocalNode } from '../local.ts'
import { flat, merged, part } from './flat.ts'
import type { Pass } from './rewrite.ts'

/** Larger ones, by what enters or by what comes out, are worth a collective of their own. */
export const smallBytes: number = 16 * 1024

type Maker = Make<LocalAttrs>
type Mergeable = 'allReduce' | 'allGather' | 'reduceScatter'

/** How many collectives each node waits for, one after another: those of one number never wait for each other. */
function depths(order: readonly LocalNode[]): ReadonlyMap<LocalNode, number> {
  const depth = new Map<LocalNode, number>()
  for (const n of order) {
    let before = 0
    for (const i of n.inputs) before = Math.max(before, depth.get(i) ?? 0)
    depth.set(n, before + (collectiveKind(n) !== undefined || bodiesOf(n).length > 0 ? 1 : 0))
  }
  return depth
}

const bytesOf = (n: LocalNode): number => sizeOf(shapeOf(n)) * dtypes[dtypeOf(n)].bytes
const sizeOfLast = (n: LocalNode): number => shapeOf(n).find(d => d.name === merged)?.size ?? 0

/** A collective to be merged: what of it enters one of all, how that runs, and what of its result is this one's. */
interface Member {
  readonly node: LocalNode
  /** Members of one key may run as one. */
  readonly key: string
  readonly entering: () => LocalNode
  readonly run: (joined: LocalNode) => LocalNode
  readonly leave: (piece: LocalNode) => LocalNode
}
const keyOf = (kind: string, n: LocalNode<Mergeable>): string => `${kind} ${n.attrs.axes.join()} ${dtypeOf(n)}`

const reduction = (n: LocalNode<'allReduce'>, make: Maker): Member => ({
  node: n, key: keyOf(n.attrs.kind, n),
  entering: () => flat(make, operand(n, 0)),
  run: joined => make('allReduce', [joined], n.attrs, n.site),
  leave: piece => make('splitDim', [piece], { dim: merged, into: shapeOf(n) }, n.site),
})

/** The parts of all come one after another: each tensor's are put together again. */
const gathering = (n: LocalNode<'allGather'>, make: Maker): Member => ({
  node: n, key: keyOf('gather', n),
  entering: () => flat(make, operand(n, 0)),
  run: joined => {
    const { axes, parts } = n.attrs
    const all = make('allGather', [joined], { dim: merged, axes, parts }, n.site)
    return make('splitDim', [all], { dim: merged, into: [{ name: part, size: parts }, { name: merged, size: sizeOfLast(joined) }] })
  },
  leave: piece => {
    const { dim } = n.attrs
    const apart = make('splitDim', [piece], { dim: merged, into: shapeOf(operand(n, 0)) })
    const into = { name: dim, size: shapeOf(n).find(d => d.name === dim)?.size ?? 1 }
    return make('broadcast', [make('mergeDims', [apart], { from: [part, dim], into })], { shape: shapeOf(n) }, n.site)
  },
})

/** The parts of all operands that go to one device are placed together before the sum. */
const scattering = (n: LocalNode<'reduceScatter'>, make: Maker): Member => ({
  node: n, key: keyOf('scatter', n),
  entering: () => {
    const { dim, parts } = n.attrs
    const own = shapeOf(n).filter(d => d.name === dim)
    const rows = flat(make, make('splitDim', [operand(n, 0)], { dim, into: [{ name: part, size: parts }, ...own] }), [part])
    return make('broadcast', [rows], { shape: [...shapeOf(rows)].sort((a, b) => Number(a.name === merged) - Number(b.name === merged)) })
  },
  run: joined => {
    const { axes, parts } = n.attrs
    return make('splitDim', [make('reduceScatter', [joined], { dim: part, axes, parts }, n.site)], { dim: part, into: [] })
  },
  leave: piece => make('splitDim', [piece], { dim: merged, into: shapeOf(n) }, n.site),
})

function memberOf(n: LocalNode, make: Maker): Member | undefined {
  if (n.op === 'allReduce') return reduction(n, make)
  if (n.op === 'allGather') return gathering(n, make)
  return n.op === 'reduceScatter' ? scattering(n, make) : undefined
}

function mergeGroup(group: readonly Member[], make: Maker, replaced: Map<LocalNode, LocalNode>): void {
  const [first] = group
  if (first === undefined || group.length < 2) return
  const pieces = group.map(m => m.entering())
  const size = pieces.reduce((sum, p) => sum + sizeOfLast(p), 0)
  const all = first.run(make('concat', pieces, { dim: { name: merged, size } }))
  let start = 0
  group.forEach((m, i) => {
    const own = sizeOfLast(pieces[i] ?? m.node)
    replaced.set(m.node, m.leave(make('resample', [all], { dim: merged, to: { name: merged, size: own }, start, step: 1, dilation: 1, fill: 0 })))
    start += own
  })
}

export const mergeSmall: Pass = (body, make) => {
  const order = orderOf(body.outputs)
  const depth = depths(order)
  const groups = new Map<string, Member[]>()
  for (const n of order) {
    const member = collectiveKind(n) === undefined ? undefined : memberOf(n, make)
    if (member === undefined) continue
    if (Math.max(bytesOf(operand(n, 0)), bytesOf(n)) > smallBytes) continue
    const key = `${depth.get(n)} ${member.key}`
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [member])
    else group.push(member)
  }
  const replaced = new Map<LocalNode, LocalNode>()
  for (const group of groups.values()) mergeGroup(group, make, replaced)
  return replaced
}
