/** What each device holds, from where the arrays of a step lie. */
import { names, sizeOf } from '../core/dim.ts'
import { dtypes } from '../core/dtype.ts'
import { localShape } from '../core/layout.ts'
import { partOf, partsOf, type Mesh } from '../core/mesh.ts'
import { totals, type Plan } from '../engine/index.ts'
import type { CollectiveRow, DeviceRow } from './events.ts'

/** `step`'s first argument is the state, `params` its parameters' path prefix. */
export function deviceRows(step: Plan, mesh: Mesh, batch: number): DeviceRow[] {
  const state = step.inputs.filter(i => i.path.startsWith('0.'))
  const params = state.filter(i => i.path.startsWith('0.params.'))
  const tokens = step.inputs.find(i => i.path === '1.tokens' || i.path.startsWith('1.'))
  const local = (p: (typeof state)[number]): number => sizeOf(localShape(p.placement.shape, p.placement.sharding, mesh))
  const parameters = params.reduce((n, p) => n + local(p), 0)
  const bytes = state.reduce((n, p) => n + local(p) * dtypes[p.placement.dtype].bytes, 0)
  const batchDim = tokens === undefined ? undefined : names(tokens.placement.shape)[0]
  const axes = (batchDim === undefined ? undefined : tokens?.placement.sharding.get(batchDim)) ?? []
  const share = batch / partsOf(mesh, axes)
  return Array.from({ length: mesh.size }, (_, device) => {
    const from = partOf(mesh, axes, device) * share
    return {
      device, parameters, bytes, windows: [from, from + share] as const,
      coordinates: Object.fromEntries(mesh.axes.map(a => [a.name, partOf(mesh, [a.name], device)])),
    }
  })
}

export const collectiveRows = (step: Plan): CollectiveRow[] => totals(step.collectives).map(({ kind, axes, count, bytes }) => ({ kind, axes, count, bytes }))

export const parameterCount = (step: Plan): number =>
  step.inputs.filter(i => i.path.startsWith('0.params.')).reduce((n, i) => n + sizeOf(i.placement.shape), 0)
