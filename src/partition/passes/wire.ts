/**
 * Numbers that cross some axes in fewer bits, where a user says so: what is summed or gathered along them is rounded for the way. Sums are still f32: every
 * addend is rounded once, each device adds up its own part of all (an all-to-all where a reduce-scatter was), and of an all-reduce the sum is rounded once more,
 * for all devices alike.
 */
import { sizeOf } from '../../core/dim.ts'
import { dtypes, isFloat, type DType } from '../../core/dtype.ts'
import { LayoutError } from '../../core/errors.ts'
import { axisOf, type Mesh } from '../../core/mesh.ts'
import { shown } from '../../core/shown.ts'
import { userSite } from '../../core/site.ts'
import { dtypeOf, operand, reachable, shapeOf, type Make } from '../../graph/node.ts'
import { exchanged, flat, merged } from './flat.ts'
import { smallBytes } from './merge.ts'
import type { LocalAttrs, LocalNode } from '../local.ts'
import type { Pass } from './rewrite.ts'

/** By axis, in what numbers cross it: `{ data: 'bf16' }`. */
export type Wire<A extends string = string> = { readonly [K in A]?: 'bf16' | undefined }

/** @throws LayoutError for an axis that the mesh lacks, and for what numbers cannot cross it in */
export function checkWire(wire: Wire, mesh: Mesh): void {
  for (const [axis, dtype] of Object.entries(wire)) {
    axisOf(mesh, axis, userSite(), { wire: `${axis}: ${shown(dtype)}` })
    if (dtype !== undefined && (dtype as string) !== 'bf16') throw new LayoutError({ code: 'wire', what: `numbers cannot cross axis "${axis}" in ${shown(dtype)}`, fix: 'give bf16, or leave the axis out: they cross it as they are', at: userSite() })
  }
}

type Maker = Make<LocalAttrs>
const converted = (make: Maker, n: LocalNode, dtype: DType): LocalNode => (dtypeOf(n) === dtype ? n : make('convert', [n], { dtype }, n.site))

/** This device's part of the sum: everybody's addends of it, added up here. */
const summedHere = (make: Maker, x: LocalNode, attrs: LocalNode<'reduceScatter'>['attrs'], over: DType): LocalNode => {
  const parts = exchanged(make, converted(make, x, over), attrs)
  return make('reduce', [converted(make, parts.node, dtypeOf(x))], { kind: 'sum', over: parts.over })
}

function reducedEverywhere(make: Maker, n: LocalNode<'allReduce'>, parts: number, over: DType): LocalNode {
  const { axes } = n.attrs
  const x = operand(n, 0)
  const size = sizeOf(shapeOf(x))
  const padded = Math.ceil(size / parts) * parts
  const cut = (y: LocalNode, to: number): LocalNode => (shapeOf(y)[0]?.size === to ? y : make('resample', [y], { dim: merged, to: { name: merged, size: to }, start: 0, step: 1, dilation: 1, fill: 0 }))
  const own = summedHere(make, cut(flat(make, x), padded), { dim: merged, axes, parts }, over)
  const all = make('allGather', [converted(make, own, over)], { dim: merged, axes, parts }, n.site)
  return converted(make, make('splitDim', [cut(all, size)], { dim: merged, into: shapeOf(x) }), dtypeOf(n))
}

/** What is small gains nothing: losses and norms cross as they are. */
export const narrowed = (wire: Wire, mesh: Mesh): Pass => (body, make) => {
  const replaced = new Map<LocalNode, LocalNode>()
  for (const n of reachable(body.outputs)) {
    if (n.op !== 'allReduce' && n.op !== 'reduceScatter' && n.op !== 'allGather') continue
    const [dtype, ...others] = new Set(n.attrs.axes.map(a => wire[a]))
    const x = operand(n, 0)
    const bytes = Math.max(sizeOf(shapeOf(x)), sizeOf(shapeOf(n))) * dtypes[dtypeOf(x)].bytes
    if (dtype === undefined || others.length > 0 || !isFloat(dtypeOf(x)) || dtypes[dtypeOf(x)].bytes <= dtypes[dtype].bytes || bytes <= smallBytes) continue
    if (n.op === 'allGather') replaced.set(n, converted(make, make('allGather', [converted(make, x, dtype)], n.attrs, n.site), dtypeOf(n)))
    else if (n.op === 'reduceScatter') replaced.set(n, summedHere(make, x, n.attrs, dtype))
    else if (n.attrs.kind === 'sum') replaced.set(n, reducedEverywhere(make, n, n.attrs.axes.reduce((p, a) => p * axisOf(mesh, a).size, 1), dtype))
  }
  return replaced
}
