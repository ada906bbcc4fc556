/** The door of the layout search. */
export { searchLayouts, type Candidate, type Progress, type SearchGiven, type Searched, type Variant } from './search.ts'
export { planWhole, type Whole } from './whole.ts'
export { named } from './naming.ts'
export type { Pins } from './pins.ts'
