/** The collectives of a program, counted: kind, mesh axes, how often a run, how many bytes enter. */
import { sizeOf } from '../core/dim.ts'
import { dtypes } from '../core/dtype.ts'
import { partsOf } from '../core/mesh.ts'
import { dtypeOf, operand, reachable, shapeOf } from '../graph/node.ts'
import type { LocalBody, LocalGraph, LocalNode } from './local.ts'

export type CollectiveKind = 'all-reduce' | 'all-gather' | 'reduce-scatter' | 'all-to-all' | 'permute'
export interface Collective {
  readonly kind: CollectiveKind
  readonly axes: readonly string[]
  /** Devices that take part together. */
  readonly groupSize: number
  /** Times it runs in one run of the program: loops count with their length. */
  readonly count: number
  /** Elements that enter it on each device, each time. */
  readonly elements: number
  readonly bytes: number
  /** The user's line, where known. */
  readonly at: LocalNode['site']
}

const kinds: { readonly [op: string]: CollectiveKind } = { allReduce: 'all-reduce', allGather: 'all-gather', reduceScatter: 'reduce-scatter', allToAll: 'all-to-all', permute: 'permute' }

export const collectiveKind = (n: LocalNode): CollectiveKind | undefined => kinds[n.op]

/** Whether running it takes a collective, in a loop of it or outside. */
export const communicates = (body: LocalBody): boolean =>
  reachable(body.outputs).some(n => collectiveKind(n) !== undefined || (n.op === 'scan' && communicates(n.attrs.body)))

export function collectives(graph: LocalGraph): Collective[] {
  const found: Collective[] = []
  const walk = (body: LocalBody, times: number): void => {
    for (const n of reachable(body.outputs)) {
      if (n.op === 'scan') walk(n.attrs.body, times * n.attrs.over.size)
      const kind = collectiveKind(n)
      if (kind === undefined || !('axes' in n.attrs)) continue
      const entering = operand(n, 0)
      const elements = sizeOf(shapeOf(entering))
      found.push({ kind, axes: n.attrs.axes, groupSize: partsOf(graph.mesh, n.attrs.axes), count: times, elements, bytes: elements * dtypes[dtypeOf(entering)].bytes, at: n.site })
    }
  }
  walk(graph, 1)
  return found
}

export interface CollectiveTotal { readonly kind: CollectiveKind; readonly axes: readonly string[]; readonly count: number; readonly bytes: number }

/** Summed by kind and axes: how often a run, and bytes that enter on each device in all. */
export function totals(found: readonly Collective[]): CollectiveTotal[] {
  const sums = new Map<string, CollectiveTotal>()
  for (const c of found) {
    const key = `${c.kind} ${c.axes.join()}`
    const old = sums.get(key) ?? { kind: c.kind, axes: c.axes, count: 0, bytes: 0 }
    sums.set(key, { ...old, count: old.count + c.count, bytes: old.bytes + c.count * c.bytes })
  }
  return [...sums.values()]
}
