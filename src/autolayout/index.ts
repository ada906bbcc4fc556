/** The door of the layout search. */
export { searchLayouts, type Searched } from './search.ts'
export type { Candidate, Progress, SearchGiven, Variant } from './searcher.ts'
export { searchStages, type Staged } from './stages.ts'
export { planWhole, type Whole } from './whole.ts'
export { enoughDevices, givenBytes } from './enough.ts'
export { distinct } from './distinct.ts'
export { named } from './naming.ts'
export { saidOnce, type Pins } from './pins.ts'
