/** What a training run tells whoever watches: the command line, a log, a page. Plain data, no engine types. */

export interface CollectiveRow { readonly kind: string; readonly axes: readonly string[]; readonly count: number; readonly bytes: number }
/** One device's share. */
export interface DeviceRow {
  readonly device: number
  readonly coordinates: { readonly [axis: string]: number }
  readonly parameters: number
  /** Parameters and optimizer slots at rest. */
  readonly bytes: number
  /** The windows of each batch that it works on, from and to (exclusive). */
  readonly windows: readonly [number, number]
}
export interface PlanEvent {
  readonly type: 'plan'
  readonly mesh: readonly { readonly name: string; readonly size: number }[]
  readonly backend: string
  readonly data: { readonly name: string; readonly licence: string; readonly tokens: number; readonly heldOut: number; readonly vocab: number }
  /** Parameters of the whole model. */
  readonly parameters: number
  readonly devices: readonly DeviceRow[]
  /** Of one training step. */
  readonly collectives: readonly CollectiveRow[]
}
export interface StepRow {
  readonly step: number
  readonly loss: number
  readonly gradNorm: number
  readonly learningRate: number
  /** Tokens seen since the start of the run. */
  readonly tokens: number
  readonly stepMs: number
  /** What the loss of the next step will be multiplied by, where it is. */
  readonly lossScale?: number
}
export interface EvalRow { readonly step: number; readonly evalLoss: number }

export type TrainEvent =
  | { readonly type: 'preparing'; readonly what: string; readonly done: number; readonly total: number }
  | { readonly type: 'warning'; readonly text: string }
  | { readonly type: 'compiling'; readonly what: string }
  | PlanEvent
  /** From here on there is something to lose: an interruption should go through the signal. */
  | { readonly type: 'started'; readonly steps: number }
  | { readonly type: 'step'; readonly steps: number } & StepRow
  /** The step's gradients overflowed: nothing was updated, and the loss is scaled less. */
  | { readonly type: 'skipped'; readonly step: number; readonly lossScale: number }
  | { readonly type: 'eval' } & EvalRow
  | { readonly type: 'saved'; readonly folder: string }
