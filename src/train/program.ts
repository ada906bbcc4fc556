/** The programs of a training run, as functions over tensors: initialise, step, evaluate. */
import { accumulate, compile, initialise as initialiseParams, input, keyOf, lossAndGrads, mapTree, fold, type Arrays, type Backend, type Key, type LossAndGrads, type Plan, type Program, type Remat, type Scalar, type Tree, type Weighted } from '../engine/index.ts'
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import type { Layouts } from '../core/layout.ts'
import type { Mesh } from '../core/mesh.ts'
import { evaluated } from '../models/evaluation.ts'
import type { Model } from '../models/model.ts'
import { adamw, applyUpdates, chain, chosen, clipByGlobalNorm, cosine, globalNorm, initialScale, nextScale, scaleInput, unscaled, withStateDtype, type AdamOptions, type Falling, type LossScaling, type Optimizer, type Scale, type Transformation } from '../optim/index.ts'

/** AdamW on a cosine, of gradients clipped by their norm. */
export type OptimizerConfig = Required<AdamOptions & Falling> & { readonly weightDecay: number; readonly clip: number }

export interface TrainerConfig {
  readonly optimizer: OptimizerConfig
  readonly seed: number
  readonly remat: Remat
  /** The dtype of the optimizer's slots; the parameters' unless said. */
  readonly stateDtype?: DType
  /** Where gradients flow in f16: steps whose gradients overflow are left out, and the loss is scaled so that few do. */
  readonly lossScaling?: LossScaling
  /** Parts of a batch, along its dim `batch`, whose gradients are computed one after another and summed; 1 unless said otherwise. */
  readonly microbatches?: number
}
/** Everything that a step takes over and gives back. */
export type TrainState<P extends Tree> = { readonly params: P; readonly slots: Tree; readonly step: Scalar; readonly scaling?: Scale }
export type StepResult<P extends Tree> = {
  readonly state: TrainState<P>
  /** `lossScale` is that of the next step. */
  readonly metrics: { readonly loss: Scalar; readonly gradNorm: Scalar; readonly learningRate: Scalar; readonly lossScale?: Scalar }
}

type Kept = Pick<TrainerConfig, 'stateDtype' | 'lossScaling'>

const optimizerOf = ({ clip, beta1, beta2, epsilon, weightDecay, peak, warmup, steps, floor }: OptimizerConfig): Transformation =>
  chain(clipByGlobalNorm(clip), adamw({ rate: cosine({ peak, warmup, steps, floor }), beta1, beta2, epsilon, weightDecay }))
const keptIn = (optimizer: Transformation, { stateDtype }: Kept): Optimizer => (stateDtype === undefined ? optimizer : withStateDtype(optimizer, stateDtype))
/** What AdamW remembers, whatever its hyperparameters. */
const remembers = (kept: Kept): Optimizer => keptIn(adamw({ rate: 0 }), kept)

export const stateOf = <P extends Tree, B extends Tree>(model: Model<P, B>, kept: Kept = {}): TrainState<P> => ({
  params: model.params, slots: remembers(kept).slots(model.params), step: input('step', [], 'i32'), ...(kept.lossScaling === undefined ? {} : { scaling: scaleInput() }),
})

/** Parameters drawn from a seed, and the slots that the optimizer has for them: every device makes its own part. */
export const initialise = <P extends Tree, B extends Tree>(model: Model<P, B>, kept: Kept = {}) => (seed: Scalar): TrainState<P> => {
  const params = mapTree(initialiseParams(model.params, keyOf(seed)), p => p.relayout('params'))
  return { params, slots: remembers(kept).init(params), step: seed.mul(0), ...(kept.lossScaling === undefined ? {} : { scaling: initialScale(kept.lossScaling) }) }
}

/** One step of AdamW on the clipped gradient of the batch's mean loss. */
export const trainStep = <P extends Tree, B extends Tree>(model: Model<P, B>, config: TrainerConfig) => (state: TrainState<P>, batch: B): StepResult<P> => {
  const key = fold(keyOf(state.step), config.seed)
  const { scaling } = state
  const scaled = (loss: Scalar): Scalar => (scaling === undefined ? loss : loss.mul(scaling.scale.cast(loss.dtype)))
  const lossAndGrad = (params: P, part: B, own: Key): LossAndGrads<P> => lossAndGrads((p: P) => {
    const outcome = model.loss(p, part, own)
    return { ...outcome, loss: scaled(outcome.loss) }
  }, { remat: config.remat })(params)
  const { microbatches = 1 } = config
  const { value, grads } = microbatches === 1 ? lossAndGrad(state.params, batch, key)
    : accumulate((params, part, index) => lossAndGrad(params, part, fold(key, index)), state.params, batch, 'batch' as never, microbatches)
  // From here on gradients lie as the optimizer's slots do: reduced once, or reduce-scattered.
  const placed = mapTree(scaling === undefined ? grads : unscaled(grads, scaling), g => g.relayout('state'))
  const norm = globalNorm(placed)
  // Sums of f64 are f64.
  const time = state.step.cast(norm.dtype)
  const optimizer = keptIn(optimizerOf(config.optimizer), config)
  const rate = optimizer.rate?.(time) ?? time.mul(0)
  const { updates, slots: after } = optimizer.update(placed, state.slots, state.params, time, model.params)
  const next = { params: applyUpdates(state.params, updates), slots: after }
  const step = state.step.add(1)
  if (scaling === undefined || config.lossScaling === undefined) return { state: { ...next, step }, metrics: { loss: value, gradNorm: norm, learningRate: rate } }
  const finite = norm.isFinite()
  const rescaled = nextScale(scaling, finite, config.lossScaling)
  const { params, slots } = state
  return {
    state: { ...chosen(finite, next, { params, slots }), step, scaling: rescaled },
    metrics: { loss: value.div(scaling.scale.cast(value.dtype)), gradNorm: norm, learningRate: rate, lossScale: rescaled.scale },
  }
}

export interface Where extends Layouts { readonly mesh: Mesh; readonly backend: Backend; readonly dims: { readonly [name: string]: Dim } }

export interface Trainer<P extends Tree, B extends Tree> {
  readonly init: Program<readonly [Scalar], TrainState<P>>
  readonly step: Program<readonly [TrainState<P>, B], StepResult<P>>
  /** Of a batch the loss and the model's metrics, each with its weight. */
  readonly evaluate: Program<readonly [P, B], { readonly [name: string]: Weighted }>
}
export type StateArrays<P extends Tree> = Arrays<TrainState<P>>

/** What a step will do: of a state and a batch. */
export type StepPlan<P extends Tree, B extends Tree> = Plan<readonly [TrainState<P>, B]>

export interface CompileListener<P extends Tree, B extends Tree> {
  /** Hears of each program before it is compiled. */
  readonly onCompile?: (what: string) => void
  /** Hears what a step will do. */
  readonly onPlan?: (step: StepPlan<P, B>) => void
}

/** Compiles the three programs, one after another. */
export async function compileTrainer<P extends Tree, B extends Tree>(
  model: Model<P, B>, config: TrainerConfig, where: Where, { onCompile = () => {}, onPlan = () => {} }: CompileListener<P, B> = {},
): Promise<Trainer<P, B>> {
  onCompile('training step')
  const step = await compile(trainStep(model, config), [stateOf(model, config), model.batch] as const, { ...where, donate: [0], onPlan })
  onCompile('initialisation')
  const init = await compile(initialise(model, config), [input('seed', [], 'i32')] as const, where)
  onCompile('evaluation')
  const evaluate = await compile(evaluated(model), [model.params, model.batch] as const, where)
  return { init, step, evaluate }
}
