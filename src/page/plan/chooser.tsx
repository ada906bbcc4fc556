/** Which plan is looked at, and why there is none. */
import type { VNode } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { machines, recipes } from '../shell/plans.ts'
import type { ViewProps } from '../shell/view.ts'
import { noMachine, type Planned } from './use-plan.ts'

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

/** On which machine a step's time is predicted, and why it is not. */
export function MachineChooser({ params, set, plan }: Pick<ViewProps, 'params' | 'set'> & Pick<Planned, 'plan'>): VNode {
  const [names, setNames] = useState<readonly string[]>([])
  useEffect(() => {
    const stopped = new AbortController()
    machines(stopped.signal).then(setNames, () => undefined)
    return () => { stopped.abort() }
  }, [])
  const [machine, measured] = [params.get('machine') ?? '', names.includes('here')]
  return (
    <>
      <label>On
        <select value={machine} aria-label="Machine" onChange={e => { set({ machine: e.currentTarget.value === '' ? undefined : e.currentTarget.value }) }}>
          <option value="">{measured ? 'this machine, as measured' : 'no machine'}</option>
          {measured && <option value={noMachine}>no machine</option>}
          {[...new Set([...names.filter(name => name !== 'here'), ...machine === '' || machine === noMachine ? [] : [machine]])].map(name => <option key={name} value={name}>{name}</option>)}
        </select>
      </label>
      {plan?.unpredicted !== undefined && <p class="wrong" role="status">{plan.unpredicted}</p>}
    </>
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
