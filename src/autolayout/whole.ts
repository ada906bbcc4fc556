/** A layout that the tables found, planned whole: by the program that would run. */
import type { Dim } from '../core/dim.ts'
import { choices } from '../core/platform.ts'
import { memoryOf, type Memory } from '../cost/memory.ts'
import { stepTime, type StepTime } from '../cost/time.ts'
import type { Graph } from '../graph/ops.ts'
import type { Machine } from '../machine/machine.ts'
import { partition, partitionAt } from '../partition/partition.ts'
import type { Wire } from '../partition/passes/wire.ts'
import type { Candidate } from './searcher.ts'

/** The figures alone: the program that they are of need not stay in memory. */
export interface Whole { readonly time: Pick<StepTime, 'stepMs' | 'productMs' | 'memoryMs' | 'waitedMs'>; readonly memory: Pick<Memory, 'peak' | 'temporaries'> }

/** The plan of a candidate; `graph` is its variant's. Tables have decided what is met where it rests, but where they do not know it: of what crosses axes in fewer bits, and of what they have not priced. */
export function planWhole<V>({ variant, mesh, layouts, atRest }: Pick<Candidate<V>, 'variant' | 'mesh' | 'layouts'> & Partial<Pick<Candidate<V>, 'atRest'>>, graph: Graph, dims: readonly Dim[], machine: Machine, wire: Wire = {}): Whole {
  const local = atRest !== undefined && Object.keys(wire).length === 0 ? partitionAt(atRest, graph, mesh, layouts, dims) : partition(graph, mesh, { ...layouts, wire }, dims)
  const { stepMs, productMs, memoryMs, waitedMs } = stepTime(local, machine, mesh)
  const { peak, temporaries } = memoryOf(local, variant.donations(local), choices[machine.platform])
  return { time: { stepMs, productMs, memoryMs, waitedMs }, memory: { peak, temporaries } }
}
