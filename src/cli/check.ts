/** Whether a run's mesh and layout fit its model: told at once, before a plugin is fetched or a text is read. */
import { totalmem } from 'node:os'
import { sizeOf } from '../core/dim.ts'
import { dtypes } from '../core/dtype.ts'
import { localShape, rulesOf, splitOf, type Layout } from '../core/layout.ts'
import { LayoutError, UsageError } from '../core/errors.ts'
import { formatMesh, type Mesh } from '../core/mesh.ts'
import { didYouMean, nearest } from '../core/nearest.ts'
import { leavesOf, type Tree } from '../engine/index.ts'
import { dtypeOf, shapeOf, type Node } from '../graph/node.ts'
import { checkGraph } from '../partition/partition.ts'
import { stateOf } from '../train/program.ts'
import type { Run } from '../train/run.ts'
import { meshOfRun, modelOf } from '../train/train.ts'
import { formatBytes, shellWord } from './format.ts'

/** Every device has threads of its own in this one process. */
const mostDevices = 1024

const formatRules = (rules: Layout): string =>
  Object.entries(rules).flatMap(([dim, rule]) => (rule === undefined ? [] : [rule].flat().map(axis => `${dim}=${axis}`))).join(',')

const axesOf = (rules: Layout): string[] => Object.values(rules).flat().filter(axis => axis !== undefined)
/** The rules without those that name an axis of the list. */
const without = (rules: Layout, axes: readonly string[]): Layout =>
  Object.fromEntries(Object.entries(rules).filter(([, rule]) => ![rule].flat().some(axis => axis !== undefined && axes.includes(axis))))

/** Flags that leave out all rules for axes that the mesh lacks. */
function rulesWithout(run: Run, absent: readonly string[]): string {
  return (['layout', 'params', 'state'] as const).filter(kind => axesOf(run[kind]).some(axis => absent.includes(axis))).map(kind => {
    const rest = formatRules(without(run[kind], absent))
    return kind === 'layout' && rest !== '' ? `--layout ${shellWord(rest)}` : `--set ${kind}='{}'`
  }).join(' ')
}

/** A rule for an axis that the mesh lacks: often the layout is the recipe's and the mesh the command line's. */
function checkAxes(run: Run, mesh: Mesh): void {
  const axes = mesh.axes.map(a => a.name)
  const absent = [...new Set([run.layout, run.params, run.state].flatMap(axesOf))].filter(axis => !axes.includes(axis))
  for (const kind of ['layout', 'params', 'state'] as const) {
    for (const [dim, rule] of Object.entries(run[kind])) {
      const axis = [rule].flat().find(a => !axes.includes(a))
      if (axis === undefined) continue
      const fix = nearest(axis, axes) === undefined
        ? `add what is missing, --mesh ${shellWord([...mesh.axes.map(a => `${a.name}=${a.size}`), ...absent.map(name => `${name}=1`)].join(','))}, or give rules without it: ${rulesWithout(run, absent)}` : didYouMean(axis, axes)
      throw new LayoutError({
        code: 'unknown-axis', what: `the ${kind === 'layout' ? 'layout' : `layout of ${kind}`} lays dim "${dim}" on axis "${axis}", which the mesh does not have`,
        details: { mesh: formatMesh(mesh), rules: formatRules(run[kind]) }, fix,
      })
    }
  }
}

/** A mesh of the same axes that the run fits on: two ways along each, or one. */
function smaller(run: Run, { axes }: Mesh): string {
  const sized = (size: number): { [axis: string]: number } => Object.fromEntries(axes.map(a => [a.name, Math.min(a.size, size)]))
  const fits = (mesh: { readonly [axis: string]: number }): boolean => {
    try { return checkRun({ ...run, mesh }, false) > 0 } catch { return false }
  }
  return Object.entries(fits(sized(2)) ? sized(2) : sized(1)).map(([axis, n]) => `${axis}=${n}`).join(',')
}

/**
 * How many devices a run needs; `onHost` where they share this machine's memory.
 * @throws LayoutError, UsageError when its mesh, layout or size cannot be.
 */
export function checkRun(run: Run, onHost: boolean): number {
  const mesh = meshOfRun(run)
  if (mesh.size > mostDevices) {
    throw new UsageError({
      code: 'too-many-devices', what: `the mesh ${formatMesh(mesh)} has ${mesh.size} devices; one process can hold ${mostDevices}`, fix: `use a smaller mesh, such as --mesh ${smaller(run, mesh)}`,
    })
  }
  checkAxes(run, mesh)
  const model = modelOf(run)
  const inputsOf = (tree: Tree): Node<'input'>[] => leavesOf(tree).map(({ leaf }) => leaf.node).filter(n => n.op === 'input')
  const state = inputsOf(stateOf(model, { stateDtype: run.precision.state }))
  checkGraph({ inputs: [...state, ...inputsOf(model.batch)], outputs: [] }, mesh, run, Object.values(model.dims))
  if (onHost) checkMemory(state, mesh, run)
  return mesh.size
}

/** Pretend devices and those of the CPU share one memory: without the check the system would end the process half-way. */
function checkMemory(state: readonly Node<'input'>[], mesh: Mesh, run: Run): void {
  const local = state.reduce((sum, n) => sum + sizeOf(localShape(shapeOf(n), splitOf(rulesOf(run, n.attrs.role), mesh, shapeOf(n), n.attrs.name), mesh)) * dtypes[dtypeOf(n)].bytes, 0)
  // A container may have less than its machine; where it has no limit, this is 0, undefined or beyond all.
  const memory = Math.min(totalmem(), process.constrainedMemory() || Infinity)
  if (local * mesh.size <= memory) return
  throw new UsageError({
    code: 'too-large', what: `parameters and optimizer slots need ${formatBytes(local * mesh.size)}, this machine has ${formatBytes(memory)}`,
    details: { devices: `${mesh.size} with ${formatBytes(local)} each` }, fix: 'use a smaller model, or lay more of its dims on an axis, so that fewer devices hold the same',
  })
}
