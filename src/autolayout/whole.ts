/** A layout that the tables found, planned whole: by the program that would run. */
import type { Dim } from '../core/dim.ts'
import { memoryOf, type Memory } from '../cost/memory.ts'
import { stepTime, type StepTime } from '../cost/time.ts'
import type { Graph } from '../graph/ops.ts'
import type { Machine } from '../machine/machine.ts'
import { partitionAt } from '../partition/partition.ts'
import type { Candidate } from './search.ts'

/** The figures alone: the program that they are of need not stay in memory. */
export interface Whole { readonly time: Pick<StepTime, 'stepMs' | 'productMs' | 'memoryMs' | 'waitedMs'>; readonly memory: Pick<Memory, 'peak' | 'temporaries'> }

/** The plan of a candidate; `graph` is its variant's. */
export function planWhole<V>({ variant, mesh, layouts, atRest }: Pick<Candidate<V>, 'variant' | 'mesh' | 'layouts' | 'atRest'>, graph: Graph, dims: readonly Dim[], machine: Machine): Whole {
  const local = partitionAt(atRest, graph, mesh, layouts, dims)
  const { stepMs, productMs, memoryMs, waitedMs } = stepTime(local, machine, mesh)
  const { peak, temporaries } = memoryOf(local, variant.donations(local))
  return { time: { stepMs, productMs, memoryMs, waitedMs }, memory: { peak, temporaries } }
}
