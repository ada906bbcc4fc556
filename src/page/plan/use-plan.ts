/** The plan that a view shows: of the run that is looked at, or of a recipe that the address names. */
import { useEffect, useState } from 'preact/hooks'
import type { PlanAsk } from '../../dashboard/shape.ts'
import type { PagePlan } from '../../train/pictured-shape.ts'
import { planOf, PlanProblem } from '../shell/plans.ts'
import type { ViewProps } from '../shell/view.ts'

export type Flags = NonNullable<PlanAsk['flags']>
/** A plan, or why there is none; while another is worked out the one before stays. */
export interface Planned {
  readonly plan: PagePlan | undefined
  readonly problem: PlanProblem | undefined
  readonly failed: string | undefined
  readonly busy: boolean
}

/** The newest answers, by what was asked: views of one run ask for the same. */
const known = new Map<string, PagePlan>()
const kept = 12
function keep(key: string, plan: PagePlan): void {
  known.delete(key)
  known.set(key, plan)
  for (const old of known.keys()) if (known.size > kept) known.delete(old)
}

/** What the address says where no machine is wanted, though one was measured here. */
export const noMachine = 'none'

/** What the address and the choice of runs ask for, undefined where that is nothing. */
export function askOf({ params, runs }: Pick<ViewProps, 'params' | 'runs'>): PlanAsk | undefined {
  const recipe = params.get('recipe')
  const [run] = runs
  const given = params.get('machine')
  const machine = given === null ? {} : { machine: given === noMachine ? null : given }
  return recipe !== null && recipe !== '' ? { recipe, ...machine } : run === undefined ? undefined : { run: run.id, ...machine }
}

/** Flags as the address has them: what a what-if hands to other views. */
export function flagsIn(params: URLSearchParams): Flags {
  const text = params.get('flags')
  try {
    const found: unknown = text === null ? {} : JSON.parse(text)
    return typeof found === 'object' && found !== null ? found as Flags : {}
  } catch { return {} }
}

interface Answer extends Omit<Planned, 'busy'> { readonly key: string }

export function usePlan(ask: PlanAsk | undefined): Planned {
  const [answer, setAnswer] = useState<Answer>({ key: 'null', plan: undefined, problem: undefined, failed: undefined })
  const key = JSON.stringify(ask ?? null)
  useEffect(() => {
    const asked = JSON.parse(key) as PlanAsk | null
    const found = asked === null ? undefined : known.get(key)
    if (asked === null || found !== undefined) {
      if (found !== undefined) keep(key, found)
      return setAnswer({ key, plan: found, problem: undefined, failed: undefined })
    }
    const stopped = new AbortController()
    planOf(asked, stopped.signal).then(plan => {
      keep(key, plan)
      setAnswer({ key, plan, problem: undefined, failed: undefined })
    }, (e: unknown) => {
      // Another was asked for meanwhile.
      if (stopped.signal.aborted) return
      setAnswer(before => ({ key, plan: before.plan, problem: e instanceof PlanProblem ? e : undefined, failed: e instanceof PlanProblem ? undefined : e instanceof Error ? e.message : String(e) }))
    })
    return () => { stopped.abort() }
  }, [key])
  const { key: of, ...rest } = answer
  return { ...rest, busy: of !== key }
}
