/** What a training step of a run takes on each device, and what it sends: found out without devices, by the program that would run. */
import { isPart } from '../core/configurable.ts'
import { sizeOf, type Dim } from '../core/dim.ts'
import { dtypes, type DType } from '../core/dtype.ts'
import { formatSite } from '../core/errors.ts'
import { localShape } from '../core/layout.ts'
import type { Mesh } from '../core/mesh.ts'
import { choices, type PlatformName } from '../core/platform.ts'
import { onBehalfOf, ownLines } from '../core/site.ts'
import { globalFlops, localFlops } from '../cost/flops.ts'
import { memoryOf, type Lying, type Memory } from '../cost/memory.ts'
import { hasOpenLoop } from '../cost/turns.ts'
import type { Machine } from '../machine/machine.ts'
import { planTraced, trace, type Traced } from '../engine/compile.ts'
import { placementTrees, type Collective, type Tree } from '../engine/index.ts'
import type { Model, PipelineSchedule } from '../models/model.ts'
import { parameterCount } from './plan-event.ts'
import { stateOf, trainStep, type StepPlan, type StepResult, type TrainState } from './program.ts'
import { checkPipeline, fieldsOf, layoutsOf, meshOfRun, modelOf, type Run } from './run.ts'
import { trainerConfig } from './session.ts'

/** Collectives of one kind, of as many bytes and from one line, together. */
export interface PlannedCollective {
  readonly kind: Collective['kind']
  readonly axes: readonly string[]
  readonly dtype: DType
  /** That enter it on each device, each time. */
  readonly bytes: number
  /** Times a step: loops count with their turns. */
  readonly count: number
  /** The user's line that causes it, where it is known. */
  readonly at: string | null
}

/** A step of a run on paper; bytes and operations are of one device. All of it is plain data. */
export interface RunPlan {
  readonly devices: number
  readonly mesh: { readonly [axis: string]: number }
  readonly perDevice: {
    /** At rest. */
    readonly parameterBytes: number
    /** The rest of what a step takes over and gives back: the optimizer's slots, the step's number. */
    readonly stateBytes: number
    /** What lies in memory beside these and the batch, at the moment when it is most: activations, gradients, weights that were gathered. */
    readonly activationBytes: number
    /** All together. */
    readonly peakBytes: number
    /** Of the state what rests with the host, in none of the others; there only where something does. */
    readonly hostBytes?: number
    /** Of products and convolutions, those that are computed again included, and masked scores unless whole blocks of them are skipped. */
    readonly flops: number
  }
  /** In the order of the program. */
  readonly collectives: readonly PlannedCollective[]
  /** How its stages take turns, where the model is a pipeline. */
  readonly pipeline: PipelineSchedule | null
}

/** A tensor that a step is given, and how it lies: parameters, slots, the batch. */
export interface PlannedTensor {
  readonly path: string
  readonly dtype: DType
  readonly dims: { readonly [dim: string]: number }
  /** Dim → the axes that it is split over; what is not named is whole on every device. */
  readonly layout: { readonly [dim: string]: readonly string[] }
  /** On one device. */
  readonly bytes: number
}
/** A value between arguments and results, as one device holds it. */
export interface PlannedValue extends Omit<PlannedTensor, 'path' | 'layout'> { readonly op: string; readonly at: string | null }

/** What there is to say beside that. */
export interface PlannedRun {
  readonly plan: RunPlan
  /** Of the whole model. */
  readonly parameters: number
  readonly tensors: readonly PlannedTensor[]
  /** What the activations are at their peak, the largest first. */
  readonly largest: readonly PlannedValue[]
  /** Operations of a step over the whole batch, if each were done once: nothing is computed again, nor on several devices. */
  readonly flops: number
  /** Those that the backward pass does again, and what it is that says so. */
  readonly recomputed: number
  readonly policy: Run['remat']
  /** Whether blocks of attention that are masked whole are skipped, and not counted. */
  readonly skipsBlocks: boolean
  readonly mesh: Mesh
  readonly model: Model<Tree, Tree>
  readonly step: StepPlan<Tree, Tree> & { readonly result: StepResult<Tree> }
  readonly memory: Memory & { readonly lying: Lying }
  /** For which the step is written: what lies in memory is what it holds there. */
  readonly platform: PlatformName
}

const sizes = (shape: readonly Dim[]): { readonly [dim: string]: number } => Object.fromEntries(shape.map(d => [d.name, d.size]))
const at = (site: Collective['at']): string | null => (site === undefined ? null : formatSite(site))

function grouped(found: readonly Collective[]): PlannedCollective[] {
  const rows = new Map<string, PlannedCollective>()
  for (const c of found) {
    const row = { kind: c.kind, axes: c.axes, dtype: c.dtype, bytes: c.bytes, count: c.count, at: at(c.at) }
    const key = JSON.stringify({ ...row, count: 0 })
    rows.set(key, { ...row, count: (rows.get(key)?.count ?? 0) + c.count })
  }
  return [...rows.values()]
}

const largestOf = (memory: Memory): PlannedValue[] => memory.largest.map(({ bytes, type, node }) => ({ op: node.op, dtype: type.dtype, dims: sizes(type.shape), bytes, at: at(node.site) }))

/** What a run computes again in the backward pass: stages that go back as soon as they can have a policy of their own. */
const policyOf = (run: Run): Run['remat'] => {
  const own = pipelineOf(run)
  return own?.schedule === '1f1b' ? own.remat ?? 'all-but-contractions' : run.remat
}
interface OwnPolicy { readonly schedule?: string; readonly remat?: Run['remat'] }
const pipelineOf = ({ model }: Run): OwnPolicy | undefined => (isPart<unknown, never>(model) ? (model.config as { readonly pipeline?: OwnPolicy }).pipeline : undefined)

/** The run that computes nothing again. */
function unrepeated(run: Run): Run {
  const { model } = run
  const own = pipelineOf(run)
  return own === undefined || !isPart(model) ? { ...run, remat: 'nothing' } : { ...run, remat: 'nothing', model: model.with({ ...model.config as object, pipeline: { ...own, remat: 'nothing' } }) }
}

/** A run's step before anything is said of devices, and its operations if each were done once. */
interface TracedRun { readonly model: Model<Tree, Tree>; readonly step: Traced<readonly [TrainState<Tree>, Tree], StepResult<Tree>>; readonly once: number }

function stepOf(run: Run, model: Model<Tree, Tree>): TracedRun['step'] {
  const config = trainerConfig(run)
  // Whoever asks for a plan is not the cause of what has no line in a model or an optimizer.
  return onBehalfOf(undefined, () => ownLines(() => trace(trainStep(model, config), [stateOf(model, config), model.batch] as const)))
}

function tracedRun(run: Run): TracedRun {
  const model = modelOf(run)
  checkPipeline(run, model)
  const step = stepOf(run, model)
  if (policyOf(run) === 'nothing') return { model, step, once: globalFlops(step.graph) }
  const single = unrepeated(run)
  return { model, step, once: globalFlops(stepOf(single, modelOf(single)).graph) }
}

/** Fields that say how a step lies on devices: it is traced without them. */
const laid: readonly string[] = ['name', 'mesh', 'layout', 'params', 'state', 'gradients', 'layouts', 'wire', 'checkpoint', 'evaluation', 'sample', 'initFrom']

/** What is made of a run's step, whatever the devices: not made again for a run whose step is that of the run before, but for where it lies. */
export function ofStep<T>(make: (run: Run) => T): (run: Run) => T {
  let last: { readonly key: string; readonly parts: readonly unknown[]; readonly made: T } | undefined
  return run => {
    const key = JSON.stringify(Object.entries(fieldsOf(run)).filter(([name]) => !laid.includes(name)))
    // What has no fields that could be compared is what it was if it is the same object.
    const kindOf = (part: unknown): unknown => (isPart<unknown, never>(part) ? part.kind : part)
    const parts = [kindOf(run.model), kindOf(run.optimizer)]
    if (last?.key !== key || parts.some((p, i) => p !== last?.parts[i])) last = { key, parts, made: make(run) }
    return last.made
  }
}

/**
 * Plans steps, one after another: a run whose step is that of the run before, but for where it lies, is split anew and not traced again.
 * @throws LayoutError, DimError, UsageError as training does before it compiles
 */
export function planner(): (run: Run, machine?: Machine) => PlannedRun {
  const traced = ofStep(tracedRun)
  return (run, machine) => planned(run, traced(run), machine?.platform ?? 'cpu')
}

/** Plans a step; its memory is that of the machine's platform, of CPUs unless it is given. @throws LayoutError, DimError, UsageError as training does before it compiles */
export const planRun = (run: Run, machine?: Machine): PlannedRun => planner()(run, machine)

function planned(run: Run, { model, step: traced, once }: TracedRun, platform: PlatformName): PlannedRun {
  const mesh = meshOfRun(run)
  checkPipeline(run, model)
  const step = planTraced(traced, { mesh, dims: model.dims, ...layoutsOf(run, model), donate: [0] })
  const { lying, ...memory } = memoryOf(step.local, step.donations, choices[platform])
  const bytesIn = (tree: unknown): number => placementTrees.flatten(tree).reduce((n, { leaf: p }) => n + (p.memory === 'host' ? 0 : 1) * sizeOf(localShape(p.shape, p.sharding, mesh)) * dtypes[p.dtype].bytes, 0)
  const [state] = step.placements
  const parameterBytes = bytesIn(state.params)
  const tensors = step.inputs.map(({ path, placement: p }): PlannedTensor => ({
    path: path.replace(/^\d+\./, ''), dtype: p.dtype, dims: sizes(p.shape), layout: Object.fromEntries(p.sharding), bytes: sizeOf(localShape(p.shape, p.sharding, mesh)) * dtypes[p.dtype].bytes,
  }))
  return {
    plan: {
      devices: mesh.size, mesh: Object.fromEntries(mesh.axes.map(a => [a.name, a.size])),
      perDevice: { parameterBytes, stateBytes: bytesIn(state) - parameterBytes, activationBytes: memory.temporaries, peakBytes: memory.peak, flops: localFlops(step.local), ...(memory.host === 0 ? {} : { hostBytes: memory.host }) },
      collectives: grouped(step.collectives), pipeline: model.pipeline ?? null,
    },
    parameters: parameterCount(step), tensors, largest: largestOf(memory), flops: once, recomputed: globalFlops(step.graph) - once, policy: policyOf(run), skipsBlocks: hasOpenLoop(step.local), mesh, model, step, memory: { ...memory, lying }, platform,
  }
}
