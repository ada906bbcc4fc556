/** Which kernels of a body compilers for accelerators make one: what is computed element by element around sums of rows that fit on the chip, as of a softmax or a norm. */
import { sizeOf } from '../core/dim.ts'
import { shapeOf } from '../graph/node.ts'
import { formOf, seen, type Kernel } from './kernels.ts'
import type { LocalNode } from '../partition/local.ts'
import { makerOf } from './schedule.ts'

/** How long a row may be that stays on the chip between its sum and who reads that. */
const longest = 16384

/** What may be one with others: it maps elements, or sums rows. */
const joins = ({ node }: Kernel): boolean => node.op === 'reduce' || formOf(node) === 'fused'

/** Whether whoever reads it has to wait until all of it is there: a sum of more than stays on the chip. */
const isLong = ({ node }: Kernel): boolean => {
  const [x] = node.inputs
  return node.op === 'reduce' && x !== undefined && sizeOf(shapeOf(x)) > longest * sizeOf(shapeOf(node))
}

/**
 * Kernels in the order in which they are written, those together that are one. Two are if one reads the other, both may be, and nothing lies between that may not: then every way from one to the other
 * is inside, and the groups can run one after another.
 */
export function inRows(kernels: readonly Kernel[]): readonly (readonly Kernel[])[] {
  const made = new Map(kernels.map(k => [k.node, k]))
  const makersOf = (k: Kernel): readonly Kernel[] => k.reads.flatMap(r => made.get(makerOf(r)) ?? [])
  const together = (k: Kernel, maker: Kernel): boolean => joins(k) && joins(maker) && !isLong(maker)
  const level = new Map<Kernel, number>()
  const groups = new Map<Kernel, Kernel[]>()
  for (const k of kernels) {
    const makers = makersOf(k)
    const own = makers.reduce((most, maker) => Math.max(most, (level.get(maker) ?? 0) + (together(k, maker) ? 0 : 1)), 0)
    level.set(k, own)
    const near = new Set(makers.filter(maker => level.get(maker) === own).flatMap(maker => [groups.get(maker) ?? []]))
    const [first = [], ...others] = near
    for (const member of [k, ...others.flat()]) {
      first.push(member)
      groups.set(member, first)
    }
  }
  return [...new Set(kernels.flatMap(k => [groups.get(k) ?? [k]]))]
}

/** A value that a product reads in another order than it lies in: libraries for accelerators read it as it lies. */
export const isTurned = ({ node, reads }: Kernel, inProgram: ReadonlySet<LocalNode>): boolean => node.op === 'broadcast' && !inProgram.has(node) && reads.length === 1 && node.inputs.every(x => seen(x) === reads[0])
