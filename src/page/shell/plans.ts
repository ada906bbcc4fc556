/** Plans of runs and recipes, worked out behind the page. */
import type { PagePlan } from '../../train/pictured-shape.ts'
import type { PlanAsk } from '../../dashboard/shape.ts'
import { ask } from './api.ts'

/** Why there is no such plan: an illegal layout, a flag that is wrong. */
export class PlanProblem extends Error {
  override readonly name = 'PlanProblem'
  readonly code: string
  readonly details: Readonly<Record<string, string>>
  readonly fix: string | undefined
  readonly at: string | undefined
  constructor({ code, message, details, fix, at }: { readonly code: string; readonly message: string; readonly details?: Readonly<Record<string, string>>; readonly fix?: string; readonly at?: string }) {
    super(message)
    this.code = code
    this.details = details ?? {}
    this.fix = fix
    this.at = at
  }
}

/** @throws PlanProblem for what no run can be; Refusal where the server answers nothing else */
export async function planOf(asked: PlanAsk, signal: AbortSignal): Promise<PagePlan> {
  const found = await ask<PagePlan | { readonly error: ConstructorParameters<typeof PlanProblem>[0] }>('api/plan', { body: asked, signal })
  if ('error' in found) throw new PlanProblem(found.error)
  return found
}
/** The machines that a step's time can be predicted for: `here`, if it was measured, is meant where none is chosen. */
export const machines = (signal: AbortSignal): Promise<readonly string[]> => ask<readonly string[]>('api/machines', { signal })
/** The recipes that can be planned by name. */
export const recipes = (signal: AbortSignal): Promise<readonly string[]> => ask<readonly string[]>('api/recipes', { signal })
