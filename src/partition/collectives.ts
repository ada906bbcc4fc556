/** The collectives of a program, counted: kind, mesh axes, how often a run, how many bytes enter. */
import { sizeOf } from '../core/dim.ts'
import { dtypes, type DType } from '../core/dtype.ts'
import { partsOf } from '../core/mesh.ts'
import { bodiesOf, dtypeOf, operand, orderOf, shapeOf } from '../graph/node.ts'
import type { LocalBody, LocalGraph, LocalNode } from './local.ts'

export type CollectiveKind = 'all-reduce' | 'all-gather' | 'reduce-scatter' | 'all-to-all' | 'permute'
export interface Collective {
  readonly kind: CollectiveKind
  readonly axes: readonly string[]
  /** Devices that take part together. */
  readonly groupSize: number
  /** Times it runs in one run of the program: loops count with their length. */
  readonly count: number
  readonly dtype: DType
  /** Elements that enter it on each device, each time. */
  readonly elements: number
  readonly bytes: number
  /** The user's line, where known. */
  readonly at: LocalNode['site']
}

const kinds: { readonly [op: string]: CollectiveKind } = { allReduce: 'all-reduce', allGather: 'all-gather', reduceScatter: 'reduce-scatter', allToAll: 'all-to-all', permute: 'permute' }

export const collectiveKind = (n: LocalNode): CollectiveKind | undefined => kinds[n.op]

/** Whether running it takes a collective, in a loop or branch of it or outside. */
export const communicates = (body: Outputs): boolean =>
  orderOf(body.outputs).some(n => collectiveKind(n) !== undefined || bodiesOf(n).some(communicates))

/** The axes along which running it takes collectives, and whether how many it takes is known before. */
export function axesOf(body: Outputs): { readonly axes: ReadonlySet<string>; readonly counted: boolean } {
  const axes = new Set<string>()
  let counted = true
  const walk = (b: Outputs): void => {
    for (const n of orderOf(b.outputs)) {
      if (collectiveKind(n) !== undefined && 'axes' in n.attrs) for (const a of n.attrs.axes) axes.add(a)
      if ((n.op === 'while' || n.op === 'cond') && bodiesOf(n).some(communicates)) counted = false
      bodiesOf(n).forEach(walk)
    }
  }
  walk(body)
  return { axes, counted }
}

/** How many collectives running it takes, loops counted with their length: as many as a program has calls. */
export const countedIn = (body: Outputs): number => orderOf(body.outputs).reduce((sum, n) => sum + (collectiveKind(n) === undefined ? 0 : 1) + (n.op === 'scan' ? n.attrs.over.size : 1) * bodiesOf(n).reduce((all, b) => all + countedIn(b), 0), 0)

type Outputs = Pick<LocalBody, 'outputs'>

/**
 * Those of a run, in the order they are written. What is only known as it runs is assumed: of a choice the branch with more
 * bytes is counted, and a `while` as if its condition held once.
 */
export function collectives(graph: LocalGraph): Collective[] {
  const walk = (body: Outputs, times: number): Collective[] => orderOf(body.outputs).flatMap(n => {
    if (n.op === 'scan') return walk(n.attrs.body, times * n.attrs.over.size)
    if (n.op === 'cond') {
      const [yes, no] = [walk(n.attrs.yes, times), walk(n.attrs.no, times)]
      return bytesOf(no) > bytesOf(yes) ? no : yes
    }
    const inside = bodiesOf(n).flatMap(b => walk(b, times))
    const kind = collectiveKind(n)
    if (kind === undefined || !('axes' in n.attrs)) return inside
    const entering = operand(n, 0)
    const [elements, dtype] = [sizeOf(shapeOf(entering)), dtypeOf(entering)]
    return [{ kind, axes: n.attrs.axes, groupSize: partsOf(graph.mesh, n.attrs.axes), count: times, dtype, elements, bytes: elements * dtypes[dtype].bytes, at: n.site }]
  })
  return walk(graph, 1)
}
const bytesOf = (found: readonly Collective[]): number => found.reduce((sum, c) => sum + c.count * c.bytes, 0)

/** What a collective costs before its first byte, in bytes. */
export const latency = 4096
/** Bytes that a device receives by all of them, by ring algorithms; a collective counts as so many more as it costs before its first. */
export const received = (found: readonly Collective[]): number => found.reduce((sum, { kind, count, bytes, groupSize: n }) =>
  sum + count * (latency + bytes * (kind === 'all-gather' ? n - 1 : kind === 'permute' ? 1 : (kind === 'all-reduce' ? 2 : 1) * (n - 1) / n)), 0)

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
