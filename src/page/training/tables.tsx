/** What runs differ in, what they write, and what went wrong with their batches. */
import type { VNode } from 'preact'
import type { Mark } from '../../dashboard/shape.ts'
import { bytes, count, duration } from '../shown.ts'
import type { RunData } from './data.ts'

type Fields = Readonly<Record<string, unknown>>
/** Fields at any depth, as `model.layers`. */
function flat(fields: Fields, before = ''): [string, string][] {
  return Object.entries(fields).flatMap(([name, value]): [string, string][] => (typeof value === 'object' && value !== null && !Array.isArray(value) ? flat(value as Fields, `${before}${name}.`) : [[`${before}${name}`, JSON.stringify(value)]]))
}

/** Fields in which not all are alike. */
export function differences(runs: readonly Fields[]): { readonly field: string; readonly values: readonly (string | undefined)[] }[] {
  const all = runs.map(r => new Map(flat(r)))
  return [...new Set(all.flatMap(m => [...m.keys()]))].sort().map(field => ({ field, values: all.map(m => m.get(field)) })).filter(({ values }) => values.some(v => v !== values[0]))
}

export function Differences({ runs }: { readonly runs: readonly RunData[] }): VNode | null {
  const known = runs.filter(r => r.detail !== undefined)
  if (known.length < 2) return null
  const found = differences(known.map(r => r.detail?.run ?? {}))
  return (
    <section class="panel" aria-label="Difference of their recipes">
      <h2>Difference of their recipes</h2>
      {found.length === 0
        ? <p class="muted">All of their fields are the same.</p>
        : (
          <div class="scrolled across" tabIndex={0} role="region" aria-label="Fields that differ">
            <table>
              <thead><tr><th scope="col">Field</th>{known.map(r => <th key={r.id} scope="col">{r.id}</th>)}</tr></thead>
              <tbody>{found.map(({ field, values }) => <tr key={field}><th scope="row"><code>{field}</code></th>{values.map((v, i) => <td key={i}><code>{v ?? '–'}</code></td>)}</tr>)}</tbody>
            </table>
          </div>
        )}
    </section>
  )
}

type Of<T extends Mark['type']> = Mark & { readonly type: T }
const marksOf = <T extends Mark['type']>(runs: readonly RunData[], ...types: readonly T[]): { readonly run: string; readonly mark: Of<T> }[] =>
  runs.flatMap(r => r.marks.filter((m): m is Of<T> => (types as readonly string[]).includes(m.type)).map(mark => ({ run: r.id, mark }))).reverse()
/** Of a list on the page. */
const most = 100

export function Samples({ runs }: { readonly runs: readonly RunData[] }): VNode | null {
  const found = marksOf(runs, 'sample').slice(0, most)
  if (found.length === 0) return null
  return (
    <section class="panel" aria-label="Text samples">
      <h2>Text samples</h2>
      <div class="scrolled samples" tabIndex={0} role="region" aria-label="What the runs write, the newest first">
        {found.map(({ run, mark }, i) => (
          <article key={i}>
            <h3>{runs.length > 1 ? `${run}, ` : ''}behind {count(mark.step)} steps</h3>
            <p class="sample"><span class="muted">{mark.prompt}</span>{mark.text}</p>
          </article>
        ))}
      </div>
    </section>
  )
}

const whats: Readonly<Record<'skipped' | 'rewind' | 'bad', string>> = { skipped: 'left out', rewind: 'the run went back', bad: 'the run ended' }
export function BadBatches({ runs }: { readonly runs: readonly RunData[] }): VNode | null {
  const found = marksOf(runs, 'skipped', 'rewind', 'bad').slice(0, most)
  if (found.length === 0) return null
  return (
    <section class="panel" aria-label="Bad steps">
      <h2>Bad steps</h2>
      <div class="scrolled across" tabIndex={0} role="region" aria-label="Bad steps, the newest first">
        <table>
          <thead><tr><th scope="col">Step</th>{runs.length > 1 && <th scope="col">Run</th>}<th scope="col">What became of it</th><th scope="col">Why</th><th scope="col">Documents of its batch</th></tr></thead>
          <tbody>{found.map(({ run, mark }, i) => (
            <tr key={i}><th scope="row">{count(mark.step)}</th>{runs.length > 1 && <td>{run}</td>}<td>{whats[mark.type]}</td><td>{mark.why}</td><td class="documents">{mark.documents?.join(', ') ?? '–'}</td></tr>
          ))}</tbody>
        </table>
      </div>
    </section>
  )
}

export function Events({ runs }: { readonly runs: readonly RunData[] }): VNode | null {
  const found = marksOf(runs, 'checkpoint', 'start', 'warning').slice(0, most)
  if (found.length === 0) return null
  const when = (at: number | undefined): string => (at === undefined ? '' : new Date(at).toLocaleString('en', { dateStyle: 'medium', timeStyle: 'medium' }))
  const what = (m: Of<'checkpoint' | 'start' | 'warning'>): string => (m.type === 'checkpoint' ? `checkpoint: ${bytes(m.bytes)} in ${duration(m.totalMs / 1000)}, training waited ${duration(m.waitMs / 1000)}` : m.type === 'start' ? m.from === 0 ? 'begun' : `gone on with, behind step ${count(m.from)}` : m.text)
  return (
    <section class="panel" aria-label="Starts, checkpoints and warnings">
      <h2>Starts, checkpoints and warnings</h2>
      <div class="scrolled across" tabIndex={0} role="region" aria-label="The newest first">
        <table>
          <thead><tr><th scope="col">Behind step</th>{runs.length > 1 && <th scope="col">Run</th>}<th scope="col">What</th><th scope="col">When</th></tr></thead>
          <tbody>{found.map(({ run, mark }, i) => <tr key={i}><th scope="row">{count(mark.step)}</th>{runs.length > 1 && <td>{run}</td>}<td>{what(mark)}</td><td>{when(mark.at)}</td></tr>)}</tbody>
        </table>
      </div>
    </section>
  )
}
