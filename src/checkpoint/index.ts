/** The door of checkpoints: what a trainer calls, and what reads weights of others. */
export { Checkpoints, type CheckpointEvent, type CheckpointOptions, type CheckpointState, type SaveOptions, type Waited } from './checkpoints.ts'
export { restoreFrom, restoreNewest, type Restored, type RestoreOptions, type Wanted } from './restore.ts'
export { keptSteps, type Keep } from './retention.ts'
export { checkInitial, checkWeights, loadInitial, loadWeights, saveWeights, type Initial, type Named } from './weights.ts'
export { checkpointsName, newestIn, openWeights, type Opened, type Source, type SourceTensor } from './source.ts'
export type { HostState, Json } from './host-state.ts'
export type { Manifest } from './manifest.ts'
export type { Choice } from './load.ts'
