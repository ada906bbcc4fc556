/** Whether a run's mesh and layout fit its model: told at once, before a plugin is fetched or a text is read. */
import { totalmem } from 'node:os'
import { sizeOf } from '../core/dim.ts'
import { dtypes } from '../core/dtype.ts'
import { localShape, shardingOf, type Layout, type Layouts } from '../core/layout.ts'
import { LayoutError, UsageError } from '../core/errors.ts'
import { formatMesh, type Mesh } from '../core/mesh.ts'
import { rulesOf } from '../core/named-layouts.ts'
import { didYouMean, nearest } from '../core/nearest.ts'
import { leavesOf, type Tree } from '../engine/index.ts'
import { dtypeOf, shapeOf, type Node } from '../graph/node.ts'
import type { Graph } from '../graph/ops.ts'
import { checkGraph } from '../partition/partition.ts'
import { stateOf } from '../train/program.ts'
import { checkMicrobatches, checkPipeline, layoutsOf, meshOfRun, modelOf, type Run } from '../train/run.ts'
import { trainerConfig } from '../train/session.ts'
import { formatBytes, shellWord } from './format.ts'

/** Every device has threads of its own in this one process. */
const mostDevices = 1024

const formatRules = (rules: Layout): string =>
  Object.entries(rules).flatMap(([dim, rule]) => (rule === undefined ? [] : [rule].flat().map(axis => `${dim}=${axis}`))).join(',')

const axesOf = (rules: Layout): string[] => Object.values(rules).flat().filter(axis => axis !== undefined)
/** The rules without those that name an axis of the list. */
const without = (rules: Layout, axes: readonly string[]): Layout =>
  Object.fromEntries(Object.entries(rules).filter(([, rule]) => ![rule].flat().some(axis => axis !== undefined && axes.includes(axis))))

/** The rules of a run by the field that holds them. What a layout other than the first starts from is no rule. */
const rulesByField = (run: Run): readonly (readonly [field: string, rules: Layout])[] => {
  const others = [['params', run.params], ['state', run.state], ['gradients', run.gradients], ...Object.entries(run.layouts).map(([name, rules]) => [`layouts.${name}`, rules] as const)] as const
  return [['layout', run.layout], ...others.map(([field, { from: _, ...rules }]): readonly [string, Layout] => [field, rules])]
}

/** Flags that leave out all rules for axes that the mesh lacks. */
function rulesWithout(run: Run, absent: readonly string[]): string {
  return rulesByField(run).filter(([, rules]) => axesOf(rules).some(axis => absent.includes(axis))).map(([field, rules]) => {
    const rest = formatRules(without(rules, absent))
    return field === 'layout' && rest !== '' ? `--layout ${shellWord(rest)}` : `--set ${field}='{}'`
  }).join(' ')
}

/** A rule for an axis that the mesh lacks: often the layout is the recipe's and the mesh the command line's. */
function checkAxes(run: Run, mesh: Mesh, setsFields: boolean): void {
  const axes = mesh.axes.map(a => a.name)
  const fields = rulesByField(run)
  const absent = [...new Set(fields.flatMap(([, rules]) => axesOf(rules)))].filter(axis => !axes.includes(axis))
  const onlyLayout = fields.every(([field, rules]) => field === 'layout' || !axesOf(rules).some(axis => absent.includes(axis)))
  for (const [field, rules] of fields) {
    for (const [dim, rule] of Object.entries(rules)) {
      const axis = [rule].flat().find(a => a !== undefined && !axes.includes(a))
      if (axis === undefined) continue
      const added = shellWord([...mesh.axes.map(a => `${a.name}=${a.size}`), ...absent.map(name => `${name}=1`)].join(','))
      const fix = nearest(axis, axes) === undefined
        ? `add what is missing, --mesh ${added}${setsFields || onlyLayout ? `, or give rules without it: ${rulesWithout(run, absent)}` : ''}` : didYouMean(axis, axes)
      throw new LayoutError({
        code: 'unknown-axis', what: `the ${field === 'layout' ? 'layout' : `layout of ${field.replace('layouts.', '')}`} lays dim "${dim}" on axis "${axis}", which the mesh does not have`,
        details: { mesh: formatMesh(mesh), rules: formatRules(rules) }, fix,
      })
    }
  }
  for (const [axis, carrier] of Object.entries(run.wire)) {
    if (axes.includes(axis)) continue
    throw new LayoutError({
      code: 'unknown-axis', what: `wire says in what numbers cross axis "${axis}", which the mesh does not have`, details: { mesh: formatMesh(mesh), wire: `${axis}: ${carrier}` },
      fix: nearest(axis, axes) === undefined ? `take that rule back, --set wire='{}', or name an axis that there is: ${axes.join(', ')}` : didYouMean(axis, axes),
    })
  }
}

/** A mesh of the same axes that the run fits on: two ways along each, or one. */
function smaller(run: Run, { axes }: Mesh): string {
  const sized = (size: number): { [axis: string]: number } => Object.fromEntries(axes.map(a => [a.name, Math.min(a.size, size)]))
  const fits = (mesh: { readonly [axis: string]: number }): boolean => {
    try { return checkRun({ ...run, mesh }, { onHost: false, setsFields: false }) > 0 } catch { return false }
  }
  return Object.entries(fits(sized(2)) ? sized(2) : sized(1)).map(([axis, n]) => `${axis}=${n}`).join(',')
}

/** What is checked of a run's model: what a step is given, and its loss, whatever the devices. */
export interface Forward { readonly model: ReturnType<typeof modelOf>; readonly state: readonly Node<'input'>[]; readonly graph: Graph }
export function forwardOf(run: Run): Forward {
  const inputsOf = (tree: Tree): Node<'input'>[] => leavesOf(tree).map(({ leaf }) => leaf.node).filter(n => n.op === 'input')
  const model = modelOf(run)
  checkPipeline(run, model)
  const state = inputsOf(stateOf(model, trainerConfig(run)))
  return { model, state, graph: { inputs: [...state, ...inputsOf(model.batch)], outputs: [model.loss(model.params, model.batch).loss.node] } }
}

/**
 * How many devices a run needs; `onHost` where they share this machine's memory, `setsFields` where the command has --set, `onPaper` where it computes on none; `forward` gives what it is checked by, for whoever has made it before.
 * @throws LayoutError, UsageError when its mesh, layout or size cannot be.
 */
export function checkRun(run: Run, { onHost, setsFields, onPaper = false, forward = forwardOf }: { readonly onHost: boolean; readonly setsFields: boolean; readonly onPaper?: boolean; readonly forward?: (run: Run) => Forward }): number {
  const mesh = meshOfRun(run)
  if (mesh.size > mostDevices && !onPaper) {
    throw new UsageError({
      code: 'too-many-devices', what: `the mesh ${formatMesh(mesh)} has ${mesh.size} devices; one process can hold ${mostDevices}`, fix: `use a smaller mesh, such as --mesh ${smaller(run, mesh)}`,
    })
  }
  checkAxes(run, mesh, setsFields)
  checkMicrobatches(run)
  const { model, state, graph } = forward(run)
  checkPipeline(run, model)
  const layouts = layoutsOf(run, model)
  checkGraph(graph, mesh, layouts, Object.values(model.dims))
  if (onHost) checkMemory(state, mesh, layouts)
  return mesh.size
}

/** Pretend devices and those of the CPU share one memory: without the check the system would end the process half-way. */
function checkMemory(state: readonly Node<'input'>[], mesh: Mesh, layouts: Layouts): void {
  const local = state.reduce((sum, n) => sum + sizeOf(localShape(shapeOf(n), shardingOf(rulesOf(layouts, n.attrs.role), mesh, shapeOf(n), n.attrs.name), mesh)) * dtypes[dtypeOf(n)].bytes, 0)
  // A container may have less than its machine; where it has no limit, this is 0, undefined or beyond all.
  const memory = Math.min(totalmem(), process.constrainedMemory() || Infinity)
  if (local * mesh.size <= memory) return
  throw new UsageError({
    code: 'too-large', what: `parameters and optimizer slots need ${formatBytes(local * mesh.size)}, this machine has ${formatBytes(memory)}`,
    details: { devices: `${mesh.size} with ${formatBytes(local)} each` }, fix: 'use a smaller model, or lay more of its dims on an axis, so that fewer devices hold the same',
  })
}
