/** Layouts of the section on choices: drawn, searched, compiled and measured, on virtual devices of one process: a request a line on stdin, an answer a line on stdout. */
import { factorings } from '../../src/autolayout/factors.ts'
import { Tensors } from '../../src/autolayout/legal.ts'
import { layoutsFor, optionKey, optionsFor, type Option } from '../../src/autolayout/options.ts'
import { referenceOf } from '../../src/autolayout/reference.ts'
import { calibrate } from '../../src/calibrate/calibrate.ts'
import { mesh as meshOf } from '../../src/core/mesh.ts'
import { graphOf, openBackend, type Backend, type Tree } from '../../src/engine/index.ts'
import { dtypeOf, shapeOf } from '../../src/graph/node.ts'
import type { Machine, MachineInput } from '../../src/machine/machine.ts'
import { machineOf } from '../../src/machine/read.ts'
import { checkGraph } from '../../src/partition/partition.ts'
import { alone } from '../../src/runtime/processes.ts'
import { findLayout, laidAs, type Run } from '../../src/train/index.ts'
import { stateOf, trainStep, type TrainState } from '../../src/train/program.ts'
import { fieldsOf, modelOf, withFields } from '../../src/train/run.ts'
import { trainerConfig } from '../../src/train/session.ts'
import { pipelineOf } from '../../src/train/ways.ts'
import { draw } from '../../test/support/values.ts'
import { answerLines } from '../answers.ts'
import { isQuick } from '../foresight/runs.ts'
import { cached, clockOf, compiled, predictedOf, rest, stepped, type Stepped } from '../foresight/stepped.ts'
import { models } from './models.ts'

export type Request = { readonly do: 'calibrate' } | { readonly do: 'layouts'; readonly model: string; readonly devices: number; readonly best: number; readonly drawn: number; readonly machine: MachineInput }
  | { readonly do: 'open'; readonly at: number } | { readonly do: 'steps'; readonly at: number; readonly count: number } | { readonly do: 'close' }
/** `drawn`: by the seed, and not for what is predicted of it. */
export interface Tried { readonly text: string; readonly predictedMs: number; readonly drawn: boolean }
export interface Answers {
  readonly calibrate: { readonly seconds: number; readonly machine: MachineInput }
  /** The first is the chosen one. `of`: how many there are of which some were drawn. */
  readonly layouts: { readonly tried: readonly Tried[]; readonly of: number; readonly searchSeconds: number; readonly memory: number }
  readonly open: { readonly peakBytes: number }
  readonly steps: { readonly ms: readonly number[] }
  readonly close: Record<string, never>
}

const openWith = (devices = 1): Promise<Backend> => openBackend({ devices, ...cached() })
/** With as many devices as the layouts are of. */
let backend: Backend | undefined
const clock = clockOf()
let runs: readonly Run[] = []
const open = new Map<number, Stepped>()

/** Every layout that the search has to choose from: each axis of each mesh of up to two takes any largest set of dims, resting in parts or not, or nothing. */
function layoutsOf(run: Run, devices: number): Run[] {
  const [model, config] = [modelOf(run), trainerConfig(run)]
  const args: [TrainState<Tree>, Tree] = [stateOf(model, config), model.batch]
  const graph = graphOf(trainStep(model, config), args)
  const dims = Object.values(model.dims)
  const uses = model.layouts
  const { walked, multiplied } = referenceOf(graph, () => new Map(), uses)
  const tensors = new Tensors(graph, checkGraph(graph, meshOf({}), { layout: {}, ...(uses === undefined ? {} : { uses }) }, dims))
  const weights = graph.inputs.filter(n => n.attrs.role === 'params').map(n => ({ shape: shapeOf(n), dtype: dtypeOf(n) }))
  const idle: Option = { compute: [], params: [], state: [], gradients: [], named: {} }
  const found: Run[] = []
  for (const factors of factorings(devices, 2)) {
    let all: { readonly axis: string; readonly size: number; readonly option: Option }[][] = [[]]
    factors.forEach((size, i) => {
      const options = [idle, ...optionsFor(size, { tensors, dims, names: Object.keys(uses ?? {}), weights, walked, multiplied })]
      all = all.flatMap(choices => options.filter(o => !choices.some(c => optionKey(c.option) === optionKey(o))).map(option => [...choices, { axis: 'xy'.charAt(i), size, option }]))
    })
    for (const choices of all) {
      const { layout, params = {}, state = {}, layouts = {} } = layoutsFor(choices, uses)
      const mesh = Object.fromEntries(choices.map(c => [c.axis, c.size]))
      if (tensors.wrong({ layout, params, state, layouts, ...(uses === undefined ? {} : { uses }) }, meshOf(mesh)) === undefined) found.push(withFields(run, { ...fieldsOf(run), mesh, layout, params, state, layouts, remat: 'nothing' }, 'a layout'))
    }
  }
  return found
}
const textOf = (run: Run): string => { const { mesh, layout, params, state, layouts, remat } = run; return JSON.stringify({ mesh, layout, params, state, layouts, remat, pipeline: pipelineOf(run) }).replaceAll('"', '') }

type Handlers = { readonly [K in keyof Answers]: (request: Extract<Request, { readonly do: K }>) => Promise<Answers[K]> }
const handlers: Handlers = {
  calibrate: async () => {
    const start = performance.now()
    const machine = await calibrate({ open: openWith, devices: 8, name: 'here', clock, quick: isQuick })
    return { seconds: (performance.now() - start) / 1000, machine }
  },
  layouts: async ({ model, devices, best, drawn, machine: given }) => {
    const run = models[model]
    if (run === undefined) throw new Error(`there is no model ${model}`)
    const machine: Machine = machineOf(given, 'what was measured')
    if (backend?.deviceCount !== devices) {
      await backend?.close()
      backend = await openWith(devices)
    }
    const start = performance.now()
    const found = findLayout(run, { devices, machine })
    const searchSeconds = (performance.now() - start) / 1000
    const all = layoutsOf(run, devices)
    const some = all.map((r, i) => [draw(devices, i), r] as const).sort(([a], [b]) => a - b).slice(0, drawn).map(([, r]) => r)
    // The chosen one is the first, also where it was drawn.
    const tried = new Map([...found.candidates.slice(0, best).map(c => laidAs(run, c)), ...some].map(r => [textOf(r), r]))
    const byChance = new Set(some.map(textOf))
    runs = [...tried.values()]
    return { tried: [...tried].map(([text, r]) => ({ text, predictedMs: predictedOf(r, machine).stepMs, drawn: byChance.has(text) })), of: all.length, searchSeconds, memory: machine.memory.bytes }
  },
  open: async ({ at }) => {
    const run = runs[at]
    if (run === undefined || backend === undefined) throw new Error(`there is no layout ${at}`)
    const { found: { peakBytes }, ...step } = await compiled(run, backend)
    open.set(at, step)
    return { peakBytes }
  },
  // Weights of all layouts together would not fit: each visit begins with its own.
  steps: async ({ at, count }) => {
    const o = open.get(at)
    if (o === undefined) throw new Error(`layout ${at} is not open`)
    const ms = await stepped(o, count, clock)
    rest(o)
    return { ms }
  },
  close: async () => {
    for (const o of open.values()) o.dispose()
    open.clear()
    return {}
  },
}

await answerLines<Request>(alone, request => (handlers[request.do] as (r: Request) => Promise<unknown>)(request))
await backend?.close()
