/**
 * Numbers that cross some axes in fewer bits, where a user says so: what is summed or gathered along them is rounded for the way. Sums are still f32: every
 * addend is rounded once, each device adds up its own part of all (an all-to-all where a reduce-scatter was), and of an all-reduce the sum is rounded once more,
 * for all devices alike. In eight bits (`eight-bits.ts`) numbers go in blocks that share a scale.
 */
import { sizeOf } from '../../core/dim.ts'
import { dtypes, isFloat, type DType } from '../../core/dtype.ts'
import { LayoutError } from '../../core/errors.ts'
import { axisOf, partsOf, type Mesh } from '../../core/mesh.ts'
import { shown } from '../../core/shown.ts'
import { userSite } from '../../core/site.ts'
import { dtypeOf, operand, orderOf, shapeOf, type Make } from '../../graph/node.ts'
import { gatheredInBytes, reducedInBytes, scatteredInBytes } from './eight-bits.ts'
import { exchanged, fitted, flat, merged } from './flat.ts'
import { smallBytes } from './merge.ts'
import type { LocalAttrs, LocalNode } from '../local.ts'
import type { Pass } from './rewrite.ts'

/** In what numbers can cross an axis, and the dtype of most of what then does. */
const carriers: { readonly bf16: DType; readonly int8: DType } = { bf16: 'bf16', int8: 'i8' }
type Carrier = 'bf16' | 'int8'
const wireNames: readonly string[] = Object.keys(carriers)
/** By axis, in what numbers cross it: `{ data: 'bf16' }`, or `'int8'`, in blocks that share a scale. */
export type Wire<A extends string = string> = { readonly [K in A]?: Carrier | undefined }

/** @throws LayoutError for an axis that the mesh lacks, and for what numbers cannot cross it in */
export function checkWire(wire: Wire, mesh: Mesh): void {
  for (const [axis, dtype] of Object.entries(wire)) {
    axisOf(mesh, axis, userSite(), { wire: `${axis}: ${shown(dtype)}` })
    if (dtype !== undefined && !wireNames.includes(dtype)) throw new LayoutError({ code: 'wire', what: `numbers cannot cross axis "${axis}" in ${shown(dtype)}`, fix: `give ${wireNames.join(' or ')}, or leave the axis out: they cross it as they are`, at: userSite() })
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
  const own = summedHere(make, fitted(make, flat(make, x), padded), { dim: merged, axes, parts }, over)
  const all = make('allGather', [converted(make, own, over)], { dim: merged, axes, parts }, n.site)
  return converted(make, make('splitDim', [fitted(make, all, size)], { dim: merged, into: shapeOf(x) }), dtypeOf(n))
}

/** One collective in fewer bits; undefined where it is none that adds or gathers. */
const ways: { readonly [C in Carrier]: (make: Maker, n: LocalNode, mesh: Mesh) => LocalNode | undefined } = {
  bf16: (make, n, mesh) => {
    if (n.op === 'allGather') return make('allGather', [converted(make, operand(n, 0), 'bf16')], n.attrs, n.site)
    if (n.op === 'reduceScatter') return summedHere(make, operand(n, 0), n.attrs, 'bf16')
    return n.op === 'allReduce' && n.attrs.kind === 'sum' ? reducedEverywhere(make, n, partsOf(mesh, n.attrs.axes), 'bf16') : undefined
  },
  int8: (make, n, mesh) => {
    if (n.op === 'allGather') return gatheredInBytes(make, n)
    if (n.op === 'reduceScatter') return scatteredInBytes(make, n)
    return n.op === 'allReduce' && n.attrs.kind === 'sum' ? reducedInBytes(make, n, partsOf(mesh, n.attrs.axes)) : undefined
  },
}

/** What is small gains nothing: losses and norms cross as they are. So do whole numbers, extrema, and what is passed on unadded. */
export const narrowed = (wire: Wire, mesh: Mesh): Pass => (body, make) => {
  const replaced = new Map<LocalNode, LocalNode>()
  for (const n of orderOf(body.outputs)) {
    if (n.op !== 'allReduce' && n.op !== 'reduceScatter' && n.op !== 'allGather') continue
    const [carrier, ...others] = new Set(n.attrs.axes.map(a => wire[a]))
    const x = operand(n, 0)
    const bytes = Math.max(sizeOf(shapeOf(x)), sizeOf(shapeOf(n))) * dtypes[dtypeOf(x)].bytes
    if (carrier === undefined || others.length > 0 || !isFloat(dtypeOf(x)) || dtypes[dtypeOf(x)].bytes <= dtypes[carriers[carrier]].bytes || bytes <= smallBytes) continue
    const narrow = ways[carrier](make, n, mesh)
    if (narrow !== undefined) replaced.set(n, converted(make, narrow, dtypeOf(n)))
  }
  return replaced
}
