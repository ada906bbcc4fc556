/** The runs of the folder as a table: sorted by any column, and chosen to be looked at over each other. */
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import type { RunRow } from '../../dashboard/shape.ts'
import { root, runs } from '../shell/live.ts'
import { choose, hashOf, named } from '../shell/route.ts'
import type { ViewProps } from '../shell/view.ts'
import { count, plural, rate } from '../shown.ts'
import { lossText, State } from '../training/summary.tsx'
import '../training/training.css'

type Value = number | string | null
interface Column { readonly id: string; readonly title: string; readonly of: (row: RunRow) => Value; readonly show: (row: RunRow) => VNode | string; /** The first order: what is sought is usually the least, or the greatest. */ readonly down?: true }
const when = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'short' })
const mesh = (row: RunRow): string => Object.entries(row.mesh).map(([axis, n]) => `${axis} ${n}`).join(' × ')
const columns: readonly Column[] = [
  { id: 'state', title: 'State', of: r => r.state, show: r => <State state={r.state} /> },
  { id: 'step', title: 'Step', of: r => r.step, show: r => `${count(r.step)}${r.steps === null ? '' : ` of ${count(r.steps)}`}`, down: true },
  { id: 'loss', title: 'Loss', of: r => r.loss, show: r => lossText(r.loss) },
  { id: 'evalLoss', title: 'Held-out loss', of: r => r.evalLoss, show: r => lossText(r.evalLoss) },
  { id: 'perSecond', title: 'Per second', of: r => r.perSecond, show: r => (r.perSecond === null ? '–' : `${rate(r.perSecond)} ${r.unit}`), down: true },
  { id: 'parameters', title: 'Parameters', of: r => r.parameters, show: r => (r.parameters === null ? '–' : count(r.parameters)), down: true },
  { id: 'mesh', title: 'Mesh', of: mesh, show: mesh },
  { id: 'began', title: 'Begun', of: r => r.began, show: r => when.format(r.began), down: true },
  { id: 'changed', title: 'Written', of: r => r.changed, show: r => when.format(r.changed), down: true },
]
const byName: Column = { id: 'name', title: 'Run', of: r => r.id, show: r => r.id }

/** What is missing stands last, whichever way. */
function compared(a: Value, b: Value, down: boolean): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1
  const order = typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b), 'en', { numeric: true })
  return down ? -order : order
}

export function RunsView({ params, set }: ViewProps): VNode {
  const [filter, setFilter] = useState('')
  const all = runs.value ?? []
  const sort = [...columns, byName].find(c => c.id === params.get('sort')) ?? columns.at(-1) ?? byName
  const down = params.has('order') ? params.get('order') === 'down' : sort.down === true
  const found = all.filter(r => `${r.id} ${r.name} ${r.state}`.toLowerCase().includes(filter.toLowerCase())).sort((a, b) => compared(sort.of(a), sort.of(b), down) || a.id.localeCompare(b.id, 'en', { numeric: true }))
  const marked = new Set(named.value)
  const sorted = (column: Column): void => { set({ sort: column.id, order: (column.id === sort.id ? !down : column.down === true) ? 'down' : 'up' }) }
  const only = (id: string): string => hashOf('training', new URLSearchParams([['run', id]]))
  const toggled = (id: string, on: boolean): void => { choose(on ? [...named.value, id] : named.value.filter(other => other !== id)) }
  const head = (column: Column): VNode => (
    <th key={column.id} scope="col" aria-sort={column.id === sort.id ? down ? 'descending' : 'ascending' : undefined}>
      <button type="button" class="small" onClick={() => { sorted(column) }}>{column.title}<span aria-hidden="true">{column.id === sort.id ? down ? ' ↓' : ' ↑' : ''}</span></button>
    </th>
  )
  return (
    <>
      <div class="tools">
        <h1>Runs</h1>
        <label>Find <input type="search" value={filter} placeholder="name or state" onInput={e => { setFilter(e.currentTarget.value) }} /></label>
        <button type="button" class="main" disabled={marked.size === 0} onClick={() => { choose(named.value, 'training') }}>{marked.size > 1 ? `Compare ${marked.size}` : 'Look at it'}</button>
        {marked.size > 0 && <button type="button" onClick={() => { choose([]) }}>Choose none</button>}
        <p class="muted" role="status">{found.length === all.length ? plural(all.length, 'run') : `${count(found.length)} of ${plural(all.length, 'run')}`} in <code>{root.value}</code></p>
      </div>
      {all.length === 0
        ? <p class="muted empty">There are no runs here yet: <code>npx meshwork train gpt-tiny</code> makes one.</p>
        : (
          <div class="scrolled across runs" tabIndex={0} role="region" aria-label="Runs">
            <table>
              <thead><tr><th scope="col"><span class="unseen">Chosen</span></th>{head(byName)}{columns.map(head)}</tr></thead>
              <tbody>{found.map(row => (
                <tr key={row.id} data-run={row.id} data-chosen={marked.has(row.id)}>
                  <td><input type="checkbox" aria-label={`Choose ${row.id}`} checked={marked.has(row.id)} onChange={e => { toggled(row.id, e.currentTarget.checked) }} /></td>
                  <th scope="row"><a href={only(row.id)}>{row.id === '.' ? row.name : row.id}</a></th>
                  {columns.map(c => <td key={c.id} data-column={c.id} title={c.id === 'state' ? row.why ?? undefined : undefined}>{c.show(row)}</td>)}
                </tr>
              ))}</tbody>
            </table>
          </div>
        )}
    </>
  )
}
