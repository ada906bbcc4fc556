/** What each device holds, from where the arrays of a step lie. */
import { names, sizeOf } from '../core/dim.ts'
import { dtypes } from '../core/dtype.ts'
import { localShape } from '../core/layout.ts'
import { partOf, partsOf, type Mesh } from '../core/mesh.ts'
import { placementTrees, totals, type Placement, type Plan, type Tree } from '../engine/index.ts'
import type { CollectiveRow, DeviceRow } from './events.ts'
import type { StepPlan } from './program.ts'

const placementsIn = (tree: unknown): Placement[] => placementTrees.flatten(tree).map(l => l.leaf)

/** `examples` are those of a batch, along its dim "batch". */
export function deviceRows<P extends Tree, B extends Tree>({ placements: [state, data] }: StepPlan<P, B>, mesh: Mesh, examples: number): DeviceRow[] {
  const local = (p: Placement): number => sizeOf(localShape(p.shape, p.sharding, mesh))
  const parameters = placementsIn(state.params).reduce((n, p) => n + local(p), 0)
  const bytes = placementsIn(state).reduce((n, p) => n + local(p) * dtypes[p.dtype].bytes, 0)
  const axes = placementsIn(data).find(p => names(p.shape).includes('batch'))?.sharding.get('batch') ?? []
  const share = examples / partsOf(mesh, axes)
  return Array.from({ length: mesh.size }, (_, device) => {
    const from = partOf(mesh, axes, device) * share
    return {
      device, parameters, bytes, rows: [from, from + share] as const,
      coordinates: Object.fromEntries(mesh.axes.map(a => [a.name, partOf(mesh, [a.name], device)])),
    }
  })
}

export const collectiveRows = (step: Pick<Plan, 'collectives'>): CollectiveRow[] => totals(step.collectives).map(({ kind, axes, count, bytes }) => ({ kind, axes, count, bytes }))

export const parameterCount = <P extends Tree, B extends Tree>({ placements: [state] }: StepPlan<P, B>): number => placementsIn(state.params).reduce((n, p) => n + sizeOf(p.shape), 0)
