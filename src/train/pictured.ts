/** A plan as the page and its pictures take it: plain data, and all that they draw. */
import type { PlannedRun, PlannedTensor, PlannedValue, RunPlan } from './planned.ts'
import { fieldsOf, type Run } from './run.ts'

export interface PagePlan {
  readonly name: string
  /** The run's fields, as its folder has them. */
  readonly run: { readonly [field: string]: unknown }
  readonly plan: RunPlan
  /** Of the whole model. */
  readonly parameters: number
  readonly tensors: readonly PlannedTensor[]
  /** What the activations are at their peak, the largest first. */
  readonly largest: readonly PlannedValue[]
}

export const pictured = (run: Run, { plan, parameters, tensors, largest }: PlannedRun): PagePlan => ({ name: run.name, run: fieldsOf(run), plan, parameters, tensors, largest })
