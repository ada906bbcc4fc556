/** The door of serving: a model that writes, in a program. */
export { openModel, type OpenModel, type OpenModelOptions, type WriteOptions } from './open-model.ts'
export { Refused, type Answering, type Asked, type Constraint, type Likely, type Load, type Refusal, type Sampling, type Told, type ToolCalls, type Written } from './asking.ts'
export { askedOf, greedy } from './generate.ts'
export type { Beam, BeamOptions } from './beam-search.ts'
