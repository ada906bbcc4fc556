/** Whether a run's mesh and layout fit its model: told at once, before a plugin is fetched or a text is read. */
import type { Layout } from '../core/layout.ts'
import { LayoutError, UsageError } from '../core/errors.ts'
import { formatMesh, type Mesh } from '../core/mesh.ts'
import { didYouMean, nearest } from '../core/nearest.ts'
import { leavesOf } from '../engine/index.ts'
import { gpt } from '../models/index.ts'
import { checkGraph } from '../partition/partition.ts'
import { stateOf } from '../train/program.ts'
import type { Run } from '../train/run.ts'
import { meshOfRun } from '../train/train.ts'

/** Every device has threads of its own in this one process. */
const mostDevices = 1024

const formatRules = (rules: Layout): string =>
  Object.entries(rules).flatMap(([dim, rule]) => (rule === undefined ? [] : [rule].flat().map(axis => `${dim}=${axis}`))).join(',')

/** The rules without those that name `axis`. */
const without = (rules: Layout, axis: string): Layout =>
  Object.fromEntries(Object.entries(rules).filter(([, rule]) => ![rule].flat().includes(axis)))

/** A rule for an axis that the mesh lacks: often the layout is the recipe's and the mesh the command line's. */
function checkAxes(run: Run, mesh: Mesh): void {
  const axes = mesh.axes.map(a => a.name)
  for (const kind of ['layout', 'params', 'state'] as const) {
    for (const [dim, rule] of Object.entries(run[kind])) {
      const axis = [rule].flat().find(a => !axes.includes(a))
      if (axis === undefined) continue
      const rest = formatRules(without(run.layout, axis)) || 'DIM=AXIS'
      const remedy = kind === 'layout' ? `give rules without it: --layout ${rest}` : `take the rules out: --set ${kind}='{}'`
      const fix = nearest(axis, axes) === undefined
        ? `add the axis, --mesh ${[...mesh.axes.map(a => `${a.name}=${a.size}`), `${axis}=1`].join(',')}, or ${remedy}` : didYouMean(axis, axes)
      throw new LayoutError({
        code: 'unknown-axis', what: `the ${kind === 'layout' ? 'layout' : `layout of ${kind}`} lays dim "${dim}" on axis "${axis}", which the mesh does not have`,
        details: { mesh: formatMesh(mesh), rules: formatRules(run[kind]) }, fix,
      })
    }
  }
}

/** How many devices a run needs. @throws LayoutError, UsageError when its mesh or layout cannot be. */
export function checkRun(run: Run, batch: number = run.batch): number {
  const mesh = meshOfRun(run)
  if (mesh.size > mostDevices) {
    throw new UsageError({
      code: 'too-many-devices', what: `the mesh ${formatMesh(mesh)} has ${mesh.size} devices; one process can hold ${mostDevices}`, fix: 'use a smaller mesh: --batch N --model N, or --mesh AXIS=N,…',
    })
  }
  checkAxes(run, mesh)
  const model = gpt(run.model, batch)
  const inputs = leavesOf([stateOf(model), model.batch] as const).map(({ leaf }) => leaf.node).filter(n => n.op === 'input')
  checkGraph({ inputs, outputs: [] }, mesh, run, Object.values(model.dims))
  return mesh.size
}
