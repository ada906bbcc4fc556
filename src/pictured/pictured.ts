/** A plan as the page and its pictures take it: plain data, and all that they draw. */
import type { Dim } from '../core/dim.ts'
import type { Layout } from '../core/layout.ts'
import { layoutNames, rulesOf, startOf, whoSays } from '../core/named-layouts.ts'
import { leavesOf } from '../graph/tensor.ts'
import { memoryShown } from './memory.ts'
import { collectivePrice, predictedShown, type On } from './predicted.ts'
import { programOf } from './program.ts'
import type { ItemShown, LayoutShown, PagePlan, ProgramShown, TensorShown } from '../train/pictured-shape.ts'
import type { PlannedRun } from '../train/planned.ts'
import { fieldsOf, layoutsOf, type Run } from '../train/run.ts'

const listed = (rules: Layout): { readonly [dim: string]: readonly string[] } => Object.fromEntries(Object.entries(rules).map(([dim, rule]) => [dim, [rule ?? []].flat()]))

/** Of an optimizer's slots and other state of a step nobody asks for the batch's share. */
const groupOf = (path: string): TensorShown['of'] => (path.startsWith('0.params.') || path === '0.params' ? 'parameters' : path.startsWith('0.') ? 'state' : 'batch')

/** `textOf` gives the text of a file that a line is in, where it can be read; `on`: what the step would take on a machine. */
export function pictured(run: Run, planned: PlannedRun, textOf: (file: string) => string | undefined = () => undefined, on?: On): PagePlan {
  const { plan, parameters, flops, tensors, largest, model, step, memory: { lying } } = planned
  const layouts = layoutsOf(run, model)
  const named = step.inputs.map(i => ({ path: i.path, sharding: i.placement.sharding }))
  const results = leavesOf(step.result).map(l => l.path)
  const result = (path: string): typeof step.local.outputs[number] => {
    const found = step.local.outputs[results.indexOf(path)]
    if (found === undefined) throw new Error(`a step has no ${path}`)
    return found
  }
  const inputs = tensors.map(t => t.path.replace(/^params\./, ''))
  const { program, phases } = programOf({ local: step.local, marks: { loss: result('metrics.loss'), gradNorm: result('metrics.gradNorm') }, inputs, outputs: results, price: on === undefined ? undefined : collectivePrice(planned, on.machine) })
  const { parameterBytes, stateBytes, activationBytes, peakBytes } = plan.perDevice
  return {
    name: run.name, run: fieldsOf(run), plan, parameters, flops,
    dims: Object.fromEntries(Object.values<Dim>(model.dims).map(d => [d.name, d.size])),
    layouts: layoutNames(layouts).map((name): LayoutShown => {
      const own = name === 'compute' ? layouts.layout : (layouts[name as 'params'] as Layout | undefined) ?? layouts.layouts?.[name] ?? {}
      const { from: _, ...rules } = own as Layout & { readonly from?: string }
      return { name, from: startOf(layouts, name) ?? null, own: listed(name === 'compute' ? own : rules), rules: listed(rulesOf(layouts, name)) }
    }),
    tensors: tensors.map((t, i): TensorShown => {
      const role = step.graph.inputs[i]?.attrs.role ?? 'compute'
      const says = whoSays(layouts, role)
      return { ...t, of: groupOf(named[i]?.path ?? ''), in: role, rules: Object.entries(t.layout).map(([dim, axes]) => ({ dim, axes, layout: says.get(dim) ?? role })) }
    }),
    largest, program,
    memory: memoryShown(lying, phases, { parameters: parameterBytes, state: stateBytes, rest: peakBytes - parameterBytes - stateBytes - activationBytes, heap: activationBytes }),
    ...(on === undefined ? {} : { predicted: predictedShown(planned, on) }),
    lines: linesOf(program, textOf),
  }
}

const insideOf = (item: ItemShown): readonly ItemShown[] => (item.kind === 'loop' ? item.items : item.kind === 'choice' ? item.branches.flatMap(b => b.items) : [])
const allOf = (items: readonly ItemShown[]): readonly ItemShown[] => items.flatMap(item => [item, ...allOf(insideOf(item))])

/** The lines that stand in a program, each once. */
function linesOf({ forward, backward, update }: ProgramShown, textOf: (file: string) => string | undefined): { readonly [at: string]: string } {
  const places = new Set(allOf([...forward, ...backward, ...update]).flatMap(item => item.at?.replace(/:\d+$/, '') ?? []))
  const texts = new Map<string, readonly string[]>()
  return Object.fromEntries([...places].flatMap(place => {
    const [, file = '', line = ''] = /^(.*):(\d+)$/.exec(place) ?? []
    const lines = texts.get(file) ?? textOf(file)?.split('\n') ?? []
    texts.set(file, lines)
    const text = (lines[Number(line) - 1] ?? '').trim()
    return text === '' ? [] : [[place, text] as const]
  }))
}
