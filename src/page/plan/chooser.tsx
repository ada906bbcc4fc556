/** Which plan is looked at, and why there is none. */
import type { VNode } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { recipes } from '../shell/plans.ts'
import type { ViewProps } from '../shell/view.ts'
import type { Planned } from './use-plan.ts'

export function Chooser({ runs, params, set }: Pick<ViewProps, 'runs' | 'params' | 'set'>): VNode {
  const [names, setNames] = useState<readonly string[]>([])
  useEffect(() => {
    const stopped = new AbortController()
    recipes(stopped.signal).then(setNames, () => undefined)
    return () => { stopped.abort() }
  }, [])
  const [run] = runs
  const recipe = params.get('recipe') ?? ''
  return (
    <label>Plan of
      <select value={recipe} onChange={e => { set({ recipe: e.currentTarget.value === '' ? undefined : e.currentTarget.value, flags: undefined, tensor: undefined, device: undefined }) }}>
        <option value="">{run === undefined ? 'no run' : `the run ${run.id}`}</option>
        {[...new Set([...names, ...recipe === '' ? [] : [recipe]])].map(name => <option key={name} value={name}>{`the recipe ${name}`}</option>)}
      </select>
    </label>
  )
}

/** Why there is no plan, or that there is none yet. */
export function Missing({ plan, problem, failed, busy }: Planned): VNode | null {
  if (problem !== undefined) return <Problem problem={problem} />
  if (failed !== undefined) return <p class="wrong" role="alert">{failed}</p>
  return plan !== undefined ? null : <p class="muted empty" role="status">{busy ? 'The plan is being worked out.' : 'Choose a run, or a recipe, whose plan is to be shown.'}</p>
}

export function Problem({ problem }: { readonly problem: NonNullable<Planned['problem']> }): VNode {
  const { message, details, fix, at } = problem
  const rows = [...Object.entries(details), ...fix === undefined ? [] : [['fix', fix] as const], ...at === undefined ? [] : [['at', at] as const]]
  return (
    <div class="wrong problem" role="alert">
      <p>{message}</p>
      <dl>{rows.map(([label, value]) => <div key={label}><dt>{label}</dt><dd>{value}</dd></div>)}</dl>
    </div>
  )
}
