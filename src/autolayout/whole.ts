/** A layout that the tables found, planned whole: by the program that would run. */
import type { Dim } from '../core/dim.ts'
import { memoryOf, type Memory } from '../cost/memory.ts'
import { stepTime, type StepTime } from '../cost/time.ts'
import type { Graph } from '../graph/ops.ts'
import type { Machine } from '../machine/machine.ts'
import { collectives, type Collective } from '../partition/collectives.ts'
import { partition } from '../partition/partition.ts'
import type { Candidate } from './search.ts'

export interface Whole { readonly time: StepTime; readonly memory: Memory; readonly collectives: readonly Collective[] }

/** The plan of a candidate; `graph` is its variant's. */
export function planWhole<V>({ variant, mesh, layouts }: Pick<Candidate<V>, 'variant' | 'mesh' | 'layouts'>, graph: Graph, dims: readonly Dim[], machine: Machine): Whole {
  const local = partition(graph, mesh, layouts, dims)
  return { time: stepTime(local, machine, mesh), memory: memoryOf(local, variant.donations(local)), collectives: collectives(local) }
}
