/** The programs of a training run, as functions over tensors: initialise, step, evaluate. */
import { accumulate, compiling, initialise as initialiseParams, input, keyOf, leavesOf, loose, expectDims, lossAndGrads, mapTree, fold, stored, trainedOf, type Arrays, type Backend, type CompileOptions, type Key, type LossAndGrads, type Plan, type Program, type Remat, type Scalar, type Tree, type Updates, type Weighted } from '../engine/index.ts'
import type { Dim } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import type { Layouts } from '../core/layout.ts'
import { onCallersLine } from '../core/site.ts'
import type { Mesh } from '../core/mesh.ts'
import { evaluated } from '../models/evaluation.ts'
import type { Model } from '../models/model.ts'
import { applyUpdates, averagesIn, chosen, globalNorm, hasAverages, initialScale, nextScale, scaleInput, unscaled, type LossScaling, type Optimizer, type Scale } from '../optim/index.ts'
import { breathe } from './breathe.ts'
import { emptyHistory, historyInput, judged, type Guard, type History } from './guard.ts'

export interface TrainerConfig {
  readonly optimizer: Optimizer
  readonly seed: number
  readonly remat: Remat
  /** Where gradients flow in f16: steps whose gradients overflow are left out, and the loss is scaled so that few do. */
  readonly lossScaling?: LossScaling
  /** Parts of a batch, along its dim `batch`, whose gradients are computed one after another and summed; 1 unless said otherwise. */
  readonly microbatches?: number
  /** Which steps are bad, where the devices judge it; `undo` leaves everything but the metrics as it was before a bad step. */
  readonly guard?: Guard & { readonly undo: boolean }
  /** Where the optimizer's slots rest between steps: with the host, they are brought to the device for each update and go back after it. */
  readonly slots?: 'device' | 'host'
  /** Whether the norms of updates and parameters are among the metrics; each costs a pass over the parameters. */
  readonly norms?: boolean
}
/** Everything that a step takes over and gives back: all that there is to know between two steps. */
export type TrainState<P extends Tree> = { readonly params: P; readonly slots: Tree; readonly step: Scalar; readonly scaling?: Scale; readonly history?: History }
export type StepMetrics = {
  readonly loss: Scalar
  readonly gradNorm: Scalar
  readonly learningRate: Scalar
  /** Of what is subtracted from the parameters, and of the parameters afterwards. */
  readonly updateNorm?: Scalar
  readonly paramNorm?: Scalar
  /** That of the next step. */
  readonly lossScale?: Scalar
  /** i32: 1 where the guard found nothing wrong. */
  readonly calm?: Scalar
}
export type StepResult<P extends Tree> = { readonly state: TrainState<P>; readonly metrics: StepMetrics }

/** What of a configuration says which leaves a state has. */
type Kept = Pick<TrainerConfig, 'optimizer' | 'lossScaling' | 'guard' | 'slots'>

/** Slots as they rest, and as they are computed with. */
const rested = (slots: Tree, where: TrainerConfig['slots']): Tree => (where === 'host' ? mapTree(slots, s => stored(s.relayout('state'), 'host')) : slots)
const brought = (slots: Tree, where: TrainerConfig['slots']): Tree => (where === 'host' ? mapTree(slots, s => stored(s, 'device')) : slots)

/** The state as a program's inputs. */
export const stateOf = <P extends Tree, B extends Tree>(model: Model<P, B>, { optimizer, lossScaling, guard }: Kept): TrainState<P> => ({
  params: model.params, slots: optimizer.slots(trainedOf(model.params).of(model.params)), step: input('step', [], 'i32'),
  ...(lossScaling === undefined ? {} : { scaling: scaleInput() }), ...(guard === undefined ? {} : { history: historyInput() }),
})

/** Parameters drawn from a seed, and the slots that the optimizer has for them: every device makes its own part. */
export const initialise = <P extends Tree, B extends Tree>(model: Model<P, B>, { optimizer, lossScaling, guard, slots }: Kept) => (seed: Scalar): TrainState<P> => {
  const params = mapTree(initialiseParams(model.params, keyOf(seed)), p => p.relayout('params'))
  return {
    params, slots: rested(optimizer.init(trainedOf(model.params).of(params)), slots), step: seed.mul(0),
    ...(lossScaling === undefined ? {} : { scaling: initialScale(lossScaling) }), ...(guard === undefined ? {} : { history: emptyHistory() }),
  }
}

/**
 * One step of the optimizer on the gradient of the batch's mean loss. A step whose gradients overflow a scaled loss, or that a guard undoes, is none: parameters, slots,
 * the step's number and the history are bit for bit what they were.
 */
export const trainStep = <P extends Tree, B extends Tree>(model: Model<P, B>, config: TrainerConfig) => (given: TrainState<P>, batch: B): StepResult<P> => {
  const state = { ...given, slots: brought(given.slots, config.slots) }
  const key = fold(keyOf(state.step), config.seed)
  const { scaling, history } = state
  const { optimizer, lossScaling, guard, microbatches = 1 } = config
  const scaled = (loss: Scalar): Scalar => (scaling === undefined ? loss : loss.mul(scaling.scale.cast(loss.dtype)))
  // Of what is frozen no gradient is computed.
  const trained = trainedOf(model.params)
  const moving = trained.of(state.params)
  const lossAndGrad = (params: Tree, part: B, own: Key): LossAndGrads<Tree> => lossAndGrads((p: Tree) => {
    const outcome = model.loss(trained.into(state.params, p), part, own)
    return { ...outcome, loss: scaled(outcome.loss) }
  }, { remat: config.remat })(params)
  const { value, grads, updates: kept = {} } = microbatches === 1 ? lossAndGrad(moving, batch, key)
    : accumulate((params, part, index) => lossAndGrad(params, part, fold(key, index)), moving, batch, 'batch' as never, microbatches)
  // From here on gradients lie as the optimizer's slots do: reduced once, or reduce-scattered.
  const reduced = onCallersLine(() => mapTree(grads, g => (scaling === undefined || g.dtype === 'f64' ? g : g.cast('f32')).relayout('state')))
  const placed = scaling === undefined ? reduced : unscaled(reduced, scaling)
  const gradNorm = globalNorm(placed)
  // Sums of f64 are f64.
  const time = state.step.cast(gradNorm.dtype)
  const learningRate = optimizer.rate?.(time) ?? time.mul(0)
  const { updates, slots } = optimizer.update(placed, state.slots, moving, time, trained.of(model.params))
  const params = withUpdates(trained.into(state.params, applyUpdates(moving, updates)), model.settled?.(state.params, kept) ?? kept, model.params)
  const loss = scaling === undefined ? value : value.div(scaling.scale.cast(value.dtype))
  const seen = guard === undefined || history === undefined ? undefined : judged({ loss, gradNorm }, history, guard)
  const finite = scaling === undefined ? undefined : gradNorm.isFinite()
  const undo = guard?.undo === true ? seen?.take : undefined
  const take = finite === undefined || undo === undefined ? finite ?? undo : finite.and(undo)
  const [before, after] = [{ params: state.params, slots: state.slots, step: state.step }, { params, slots, step: state.step.add(1) }]
  const rescaled = scaling === undefined || finite === undefined || lossScaling === undefined ? undefined : nextScale(scaling, finite, lossScaling)
  const next = take === undefined ? after : atRest(chosen(take, atRest(after), atRest(before)))
  const norms = config.norms === true ? { updateNorm: globalNorm(updates), paramNorm: globalNorm(trained.of(next.params)) } : {}
  return {
    state: { ...next, slots: rested(next.slots, config.slots), ...(rescaled === undefined ? {} : { scaling: rescaled }), ...(seen === undefined ? {} : { history: seen.history }) },
    metrics: {
      loss, gradNorm, learningRate, ...norms, ...(rescaled === undefined ? {} : { lossScale: rescaled.scale }),
      ...(seen === undefined ? {} : { calm: seen.take.cast('i32') }),
    },
  }
}

/** The parameters with new values for some of those that are frozen. @throws DimError for a path that none of these has */
function withUpdates<P extends Tree>(params: P, updates: Updates, declared: P): P {
  if (Object.keys(updates).length === 0) return params
  const moved = new Set(leavesOf(trainedOf(declared).of(declared)).map(l => l.path))
  const wrong = Object.keys(updates).find(path => moved.has(path) || !leavesOf(declared).some(l => l.path === path))
  if (wrong !== undefined) throw new DimError({ code: 'updates', what: `the model's loss updates "${wrong}", which is ${moved.has(wrong) ? 'trained' : 'no parameter'}`, fix: 'declare it frozen, and name it by its path' })
  return mapTree(params, (p, path) => (updates[path] === undefined ? p : expectDims(loose(updates[path]).cast(p.dtype), p.shape as readonly Dim<never>[])))
}

/** Parameters and slots as they rest between two steps. A choice between two that is told nothing gathers both, and leaves what it chose gathered. */
const atRest = <P extends Tree>({ params, slots, step }: Pick<TrainState<P>, 'params' | 'slots' | 'step'>): Pick<TrainState<P>, 'params' | 'slots' | 'step'> =>
  ({ params: mapTree(params, p => p.relayout('params')), slots: mapTree(slots, s => s.relayout('state')), step })

export interface Where extends Layouts, Pick<CompileOptions, 'wire'> { readonly mesh: Mesh; readonly backend: Backend; readonly dims: { readonly [name: string]: Dim } }

export interface Trainer<P extends Tree, B extends Tree> {
  readonly init: Program<readonly [Scalar], TrainState<P>>
  readonly step: Program<readonly [TrainState<P>, B], StepResult<P>>
  /** Of a batch the loss and the model's metrics, each with its weight. */
  readonly evaluate: Program<readonly [P, B], { readonly [name: string]: Weighted }>
  /** The averages of the parameters, where the optimizer keeps them: what is evaluated, and written in the end. */
  readonly averages: Program<readonly [P, Tree], P> | undefined
}
export type StateArrays<P extends Tree> = Arrays<TrainState<P>>

/** What a step will do: of a state and a batch. */
export type StepPlan<P extends Tree, B extends Tree> = Plan<readonly [TrainState<P>, B]>

export interface CompileListener<P extends Tree, B extends Tree> {
  /** Hears of each program before it is compiled. */
  readonly onCompile?: (what: string) => void
  /** Hears what a step will do, when the backend has been given it. */
  readonly onPlan?: (step: StepPlan<P, B>) => void
}

/** Compiles the programs. While one is compiled, or loaded from the cache, the next is traced and partitioned. Where one fails, the others are freed. */
export async function compileTrainer<P extends Tree, B extends Tree>(
  model: Model<P, B>, config: TrainerConfig, where: Where, { onCompile = () => {}, onPlan = () => {} }: CompileListener<P, B> = {},
): Promise<Trainer<P, B>> {
  const begun: Promise<Pick<Program<readonly Tree[], Tree>, 'dispose'>>[] = []
  const begin = async <const A extends readonly Tree[], R extends Tree>(f: (...args: A) => R, args: A, options: CompileOptions): ReturnType<typeof compiling<A, R>> => {
    const under = await compiling(f, args, options)
    begun.push(under.program)
    // It waits for its turn to be awaited.
    under.program.catch(() => undefined)
    // The plugin's thread takes it up before this one goes on.
    await breathe()
    return under
  }
  try {
    onCompile('training step')
    const step = await begin(trainStep(model, config), [stateOf(model, config), model.batch] as const, { ...where, donate: [0] })
    onPlan(step.plan)
    onCompile('initialisation')
    const init = await begin(initialise(model, config), [input('seed', [], 'i32')] as const, where)
    onCompile('evaluation')
    const evaluate = await begin(evaluated(model), [model.params, model.batch] as const, where)
    const slots = config.optimizer.slots(trainedOf(model.params).of(model.params))
    const averages = hasAverages(slots) ? await begin((params: P, s: Tree) => averagesIn(params, brought(s, config.slots)), [model.params, slots] as const, where) : undefined
    return { step: await step.program, init: await init.program, evaluate: await evaluate.program, averages: await averages?.program }
  } catch (e) {
    for (const program of await Promise.allSettled(begun)) if (program.status === 'fulfilled') program.value.dispose()
    throw e
  }
}
