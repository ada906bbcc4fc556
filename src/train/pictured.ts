/** A plan as the page and its pictures take it. */
import type { PagePlan } from './pictured-shape.ts'
import type { PlannedRun } from './planned.ts'
import { fieldsOf, type Run } from './run.ts'

export const pictured = (run: Run, { plan, parameters, tensors }: PlannedRun): PagePlan => ({ name: run.name, run: fieldsOf(run), plan, parameters, tensors })
