/** The door of training: runs are values made by `defineRun`, and trained by `train`, or by `fit` without a folder. */
export { defineRun, type HostBatch, type Hook, type Run, type RunData, type RunOf } from './run.ts'
export { adamwCosine, type AdamwCosine, type OptimizerOptions } from './optimizers.ts'
export { train, type TrainOptions, type TrainResult } from './train.ts'
export { planRun, type PlannedCollective, type PlannedRun, type PlannedTensor, type PlannedValue, type RunPlan } from './planned.ts'
export { fit, type FitOptions, type FitResult, type Fitted } from './fit.ts'
export type { FolderChoice } from './folder.ts'
export type { EvalRow, Goodput, PlanEvent, StepRow, StepTime, TrainEvent } from './events.ts'
