/** The door of training: recipes are written with `defineRun`, and run with `train`. */
export { defineRun, type Run, type RunOf } from './run.ts'
export { train, type TrainOptions, type TrainResult } from './train.ts'
export type { CollectiveRow, DeviceRow, EvalRow, PlanEvent, StepRow, TrainEvent } from './events.ts'
