/** What a training run tells whoever watches: the command line, a log, a page. Plain data, no engine types. */

export interface CollectiveRow { readonly kind: string; readonly axes: readonly string[]; readonly count: number; readonly bytes: number }
/** One device's share. */
export interface DeviceRow {
  readonly device: number
  readonly coordinates: { readonly [axis: string]: number }
  readonly parameters: number
  /** Parameters and optimizer slots at rest. */
  readonly bytes: number
  /** The examples of each batch that it works on, from and to (exclusive). */
  readonly rows: readonly [number, number]
}
export interface PlanEvent {
  readonly type: 'plan'
  readonly mesh: readonly { readonly name: string; readonly size: number }[]
  readonly backend: string
  readonly data: { readonly name: string; readonly licence: string; readonly tokens?: number; readonly rows?: number; readonly heldOut?: number; readonly vocab?: number }
  /** Parameters of the whole model. */
  readonly parameters: number
  /** Floating-point operations of a training step, all devices together: of contractions and convolutions, forward and backward, nothing that is computed again. */
  readonly flops: number
  /** What speeds are told in. */
  readonly unit: 'tokens' | 'examples'
  readonly devices: readonly DeviceRow[]
  /** Of one training step. */
  readonly collectives: readonly CollectiveRow[]
}
/** What the machine had to do with a step: it differs from run to run. */
export interface StepTime {
  /** From the end of the step before to its own. */
  readonly stepMs: number
  /** Milliseconds in which the host waited for the step's batch. */
  readonly dataWaitMs: number
  /** Tokens, or examples of what has none, a second. */
  readonly perSecond: number
  /** Floating-point operations of the model a second. */
  readonly flopsPerSecond: number
  /** Their share of the best matrix multiplication that was measured on these devices. */
  readonly ofPeak?: number
}
export interface StepRow {
  readonly step: number
  readonly loss: number
  /** The norms of the gradient before it is clipped, of what was subtracted from the parameters, and of the parameters afterwards. */
  readonly gradNorm: number
  readonly updateNorm: number
  readonly paramNorm: number
  readonly learningRate: number
  /** Tokens, or examples of what has none, since the start of the run. */
  readonly seen: number
  /** What the loss of the next step will be multiplied by, where it is. */
  readonly lossScale?: number
  /** The step was left out: nothing of it is in the parameters. */
  readonly skipped?: true
  readonly time: StepTime
}
export interface EvalRow {
  readonly step: number
  readonly evalLoss: number
  /** The model's own metrics, each a mean over all that counts. */
  readonly metrics: { readonly [name: string]: number }
}
/** Milliseconds of all processes' wall time since the run's first start, by what they went into. */
export interface Goodput {
  /** Steps that are in the result. */
  readonly steps: number
  readonly dataWait: number
  readonly starting: number
  readonly evaluation: number
  /** In which a step waited for a checkpoint; what is written meanwhile costs nothing. */
  readonly checkpoints: number
  readonly restoring: number
  /** Steps that were lost with a process, left out or taken back. */
  readonly lost: number
  readonly other: number
  /** Starts of the run. */
  readonly starts: number
}

export type TrainEvent =
  | { readonly type: 'preparing'; readonly what: string; readonly done: number; readonly total: number | undefined }
  | { readonly type: 'note'; readonly text: string }
  | { readonly type: 'warning'; readonly text: string }
  | { readonly type: 'compiling'; readonly what: string }
  | PlanEvent
  /** From here on there is something to lose: an interruption should go through the signal. `from` is the first step: above 0 where the run goes on. */
  | { readonly type: 'started'; readonly steps: number; readonly from: number; readonly checkpoint?: string }
  | { readonly type: 'step'; readonly steps: number } & StepRow
  /** The step was left out: its gradients overflowed the loss scale, or it was bad and the run's guard says `skip`. */
  | { readonly type: 'skipped'; readonly step: number; readonly why: string; readonly documents?: readonly string[]; readonly lossScale?: number }
  /** The run went back to a checkpoint, behind step `to`, and goes on without the batches since: with batch `batch`. */
  | { readonly type: 'rewind'; readonly step: number; readonly to: number; readonly batch: number; readonly why: string; readonly documents?: readonly string[] }
  /** The run ends by this step, which its guard does not let it go on from. */
  | { readonly type: 'bad'; readonly step: number; readonly why: string; readonly documents?: readonly string[] }
  | { readonly type: 'eval' } & EvalRow
  /** What the model writes behind so many steps. */
  | { readonly type: 'sample'; readonly step: number; readonly prompt: string; readonly text: string }
  | { readonly type: 'checkpoint'; readonly step: number; readonly path: string; readonly bytes: number; readonly waitMs: number; readonly totalMs: number }
  | { readonly type: 'saved'; readonly folder: string }
  | { readonly type: 'goodput' } & Goodput
