/** What is asked of the thread that plans, and what it answers. */
import type { Problem } from '../core/errors.ts'
import type { PagePlan } from '../train/pictured.ts'
import type { RunFlags } from './overrides.ts'

export interface PlanWork {
  /** A run's folder, or a recipe that comes along. */
  readonly from: { readonly folder: string } | { readonly recipe: string }
  readonly flags: RunFlags
}
/** What is wrong, without what a thread cannot send. */
export type PlanFault = Pick<Problem, 'code' | 'what' | 'details' | 'fix'> & { readonly at?: string | undefined }
export type PlanFound = { readonly plan: PagePlan } | { readonly fault: PlanFault } | { readonly failed: string }
