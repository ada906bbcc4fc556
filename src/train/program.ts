/** The programs of a training run, as functions over tensors: initialise, step, evaluate. */
import { accumulate, compile, input, keyOf, mapTree, valueAndGrad, fold, type Arrays, type Backend, type Key, type Plan, type Program, type Remat, type Scalar, type Tree } from '../engine/index.ts'
import type { Dim } from '../core/dim.ts'
import type { Layouts } from '../core/layout.ts'
import type { Mesh } from '../core/mesh.ts'
import type { Model } from '../models/model.ts'
import { adamw, clipByGlobalNorm, momentsOf, warmupCosine, zeroMoments, type AdamWConfig, type Moments, type WarmupCosine } from '../optim/index.ts'

export interface TrainerConfig {
  readonly optimizer: AdamWConfig & WarmupCosine & { readonly clip: number }
  readonly seed: number
  readonly remat: Remat
  /** Parts of a batch, along its dim `batch`, whose gradients are computed one after another and summed; 1 unless said otherwise. */
  readonly microbatches?: number
}
/** Everything that a step takes over and gives back. */
export type TrainState<P extends Tree> = { readonly params: P; readonly moments: Moments<P>; readonly step: Scalar }
export type StepResult<P extends Tree> = {
  readonly state: TrainState<P>
  readonly metrics: { readonly loss: Scalar; readonly gradNorm: Scalar; readonly learningRate: Scalar }
}

export const stateOf = <P extends Tree, B extends Tree>(model: Model<P, B>): TrainState<P> =>
  ({ params: model.params, moments: momentsOf(model.params), step: input('step', [], 'i32') })

/** Parameters drawn from a seed, moments at zero: every device makes its own part. */
export const initialise = <P extends Tree, B extends Tree>(model: Model<P, B>) => (seed: Scalar): TrainState<P> => {
  const params = mapTree(model.init(keyOf(seed)), p => p.relayout('params'))
  return { params, moments: zeroMoments(params), step: seed.mul(0) }
}

/** One step of AdamW on the clipped gradient of the batch's mean loss. */
export const trainStep = <P extends Tree, B extends Tree>(model: Model<P, B>, config: TrainerConfig) => (state: TrainState<P>, batch: B): StepResult<P> => {
  const key = fold(keyOf(state.step), config.seed)
  const lossAndGrad = (params: P, part: B, own: Key): { value: Scalar; grads: P } => valueAndGrad((p: P) => model.loss(p, part, own), { remat: config.remat })(params)
  const { microbatches = 1 } = config
  const { value, grads } = microbatches === 1 ? lossAndGrad(state.params, batch, key)
    : accumulate((params, part, index) => lossAndGrad(params, part, fold(key, index)), state.params, batch, 'batch' as never, microbatches)
  // From here on gradients lie as the optimizer's slots do: reduced once, or reduce-scattered.
  const placed = mapTree(grads, g => g.relayout('state'))
  const { clipped, norm } = clipByGlobalNorm(placed, config.optimizer.clip)
  const rate = warmupCosine(config.optimizer)(state.step)
  const next = adamw(state.params, clipped, state.moments, state.step, rate, config.optimizer, model.decays)
  return { state: { ...next, step: state.step.add(1) }, metrics: { loss: value, gradNorm: norm, learningRate: rate } }
}

export interface Where extends Layouts { readonly mesh: Mesh; readonly backend: Backend; readonly dims: { readonly [name: string]: Dim } }

export interface Trainer<P extends Tree, B extends Tree> {
  readonly init: Program<readonly [Scalar], TrainState<P>>
  readonly step: Program<readonly [TrainState<P>, B], StepResult<P>>
  readonly evaluate: Program<readonly [P, B], Scalar>
}
export type StateArrays<P extends Tree> = Arrays<TrainState<P>>

export interface CompileListener {
  /** Hears of each program before it is compiled. */
  readonly onCompile?: (what: string) => void
  /** Hears what a step will do. */
  readonly onPlan?: (step: Plan) => void
}

/** Compiles the three programs, one after another. */
export async function compileTrainer<P extends Tree, B extends Tree>(
  model: Model<P, B>, config: TrainerConfig, where: Where, { onCompile = () => {}, onPlan = () => {} }: CompileListener = {},
): Promise<Trainer<P, B>> {
  onCompile('training step')
  const step = await compile(trainStep(model, config), [stateOf(model), model.batch] as const, { ...where, donate: [0], onPlan })
  onCompile('initialisation')
  const init = await compile(initialise(model), [input('seed', [], 'i32')] as const, where)
  onCompile('evaluation')
  const evaluate = await compile((params: P, batch: B) => model.loss(params, batch), [model.params, model.batch] as const, where)
  return { init, step, evaluate }
}
