/** How runs train: their curves over each other, what they are doing, and what sets them apart. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { VNode } from 'preact'
import type { Column } from '../../dashboard/shape.ts'
import { choose } from '../shell/route.ts'
import type { ViewProps } from '../shell/view.ts'
import { duration, percent, rate } from '../shown.ts'
import { Chart, type Drawn, type Flag } from './chart.tsx'
import { RunData, type Range } from './data.ts'
import { curveOf, placeOf, smoothed, type Along, type Curve } from './points.ts'
import { Summary } from './summary.tsx'
import { BadBatches, Differences, Events, Samples } from './tables.tsx'
import { tick } from './svg.ts'
import './training.css'

/** Runs that are drawn over each other at most: more colours could not be told apart. */
const most = 8
const significant = (x: number): string => String(Number(x.toPrecision(6)))

interface Picture { readonly name: string; readonly title: string; readonly column: Column; readonly value: (x: number) => string; /** Whether it may be a number of any size, which a logarithm shows better. */ readonly log?: boolean }
const pictures = (unit: 'tokens' | 'examples'): readonly Picture[] => [
  { name: 'loss', title: 'Loss', column: 'loss', value: significant, log: true },
  { name: 'rate', title: unit === 'tokens' ? 'Tokens per second' : 'Examples per second', column: 'perSecond', value: rate },
  { name: 'gradient-norm', title: 'Norm of the gradient', column: 'gradNorm', value: significant, log: true },
  { name: 'learning-rate', title: 'Learning rate', column: 'learningRate', value: significant, log: true },
  { name: 'update-norm', title: 'Norm of the update', column: 'updateNorm', value: significant, log: true },
  { name: 'parameter-norm', title: 'Norm of the parameters', column: 'paramNorm', value: significant, log: true },
  { name: 'peak', title: 'Share of peak', column: 'ofPeak', value: percent },
  { name: 'step-time', title: 'Time of a step', column: 'stepMs', value: ms => duration(ms / 1000) },
  { name: 'data-wait', title: 'Wait for data', column: 'dataWaitMs', value: ms => duration(ms / 1000) },
  { name: 'loss-scale', title: 'Loss scale', column: 'lossScale', value: significant, log: true },
]

const axes: Readonly<Record<Along, string>> = { step: 'step', seen: 'tokens', elapsed: 'seconds of training' }
const isAlong = (text: string | null): text is Along => text !== null && text in axes

/** The runs that are shown, opened as they are chosen and closed as they are not; the component is drawn anew as they go on. */
function useRuns(ids: readonly string[], range: Range | undefined): readonly RunData[] {
  const open = useRef(new Map<string, RunData>())
  const [, draw] = useState(0)
  for (const [id, data] of open.current) {
    if (ids.includes(id)) continue
    data.close()
    open.current.delete(id)
  }
  const found = ids.map(id => {
    const data = open.current.get(id) ?? new RunData(id, range)
    open.current.set(id, data)
    return data
  })
  const key = ids.join('\n')
  useEffect(() => {
    const leave = found.map(data => data.version.subscribe(() => { draw(n => n + 1) }))
    return () => { for (const l of leave) l() }
  }, [key])
  useEffect(() => { for (const data of found) data.look(range) }, [range?.from, range?.to, key])
  useEffect(() => () => { for (const data of open.current.values()) data.close() }, [])
  return found
}

interface StepFieldProps { readonly label: string; readonly value: string | null; readonly placeholder: string; readonly onStep: (step: string | undefined) => void }
/** A step that is typed: what is not entered yet stays, however often the page is drawn meanwhile. */
function StepField({ label, value, placeholder, onStep }: StepFieldProps): VNode {
  const [typed, type] = useState<string>()
  const entered = (text: string): void => {
    type(undefined)
    onStep(/^\d+$/.test(text) ? text : undefined)
  }
  return <input type="number" min={0} aria-label={label} value={typed ?? value ?? ''} placeholder={placeholder} onInput={e => { type(e.currentTarget.value) }} onChange={e => { entered(e.currentTarget.value) }} />
}

export function TrainingView({ runs: all, params, set }: ViewProps): VNode {
  const runs = all.slice(0, most)
  const along = params.get('along')
  const by: Along = isAlong(along) ? along : 'step'
  const weight = Math.min(0.99, Math.max(0, Number(params.get('smooth') ?? 0) || 0))
  const log = params.get('log') === 'yes'
  const [from, to] = [Number(params.get('from') ?? 0), params.has('to') ? Number(params.get('to')) : Infinity]
  const range: Range | undefined = params.has('from') || params.has('to') ? { from: Number.isFinite(from) ? from : 0, to: Number.isFinite(to) ? to : 2 ** 53 } : undefined
  const found = useRuns(runs.map(r => r.id), range)
  const version = found.reduce((n, r) => n + r.version.value, 0)
  if (runs.length === 0) return <p class="muted empty">There are no runs here yet: <code>npx meshwork train gpt-tiny --page</code> begins one.</p>

  const unit = runs[0]?.unit ?? 'tokens'
  const label = (id: string): string => (id === '.' ? runs.find(r => r.id === id)?.name ?? id : id)
  const drawn = (of: (data: RunData, place: (step: number) => number) => readonly Omit<Drawn, 'colour'>[]): Drawn[] => found.flatMap((data, colour) => {
    const { series } = data
    if (series === undefined) return []
    // Where steps lie, those that came lately too.
    const places = { step: [...series.step, ...data.tail.step], seen: [...series.seen, ...data.tail.seen], elapsed: [...series.elapsed, ...data.tail.elapsed] }
    return of(data, placeOf(places, by)).map(c => ({ ...c, colour }))
  })
  const within = (step: number): boolean => range === undefined || (step >= range.from && step <= range.to)
  const columnCurves = (column: Column): Drawn[] => drawn(data => {
    if (data.series === undefined) return []
    const curve = curveOf(data.series, range === undefined ? data.tail : undefined, by, column)
    if (!curve.y.some(y => y !== null)) return []
    return weight === 0 ? [{ ...curve, label: label(data.id), kind: 'line' }] : [{ ...curve, label: `${label(data.id)}, as it is`, kind: 'faint' }, { x: curve.x, y: smoothed(curve.y, weight), label: label(data.id), kind: 'line' }]
  })
  const evaluations = (of: (row: RunData['evaluations'][number]) => unknown, name: string): Drawn[] => drawn((data, place) => {
    const rows = data.evaluations.filter(e => within(e.step))
    const curve: Curve = { x: rows.map(e => place(e.step)), y: rows.map(e => { const y = of(e); return typeof y === 'number' ? y : null }) }
    return rows.length === 0 ? [] : [{ ...curve, label: `${label(data.id)}, ${name}`, kind: 'points' }]
  })
  const flags: Flag[] = found.flatMap((data, colour) => {
    if (data.series === undefined) return []
    const place = placeOf(data.series, by)
    return data.marks.flatMap((m): Flag[] => (m.type === 'checkpoint' ? [{ x: place(Math.max(0, m.step - 1)), colour, kind: 'checkpoint', label: `checkpoint behind step ${m.step}` }] : m.type === 'skipped' || m.type === 'bad' || m.type === 'rewind' ? [{ x: place(m.step), colour, kind: 'bad', label: m.why }] : []))
  })
  /** A range of what is drawn along, as steps. */
  const onRange = (low: number, high: number): void => {
    const { series, tail } = found[0] ?? {}
    if (series === undefined) return
    const [xs, steps] = [[...series[by], ...tail?.[by] ?? []], [...series.step, ...tail?.step ?? []]]
    const step = (x: number, up: boolean): number => { const i = xs.findIndex(v => v >= x); return i < 0 ? steps.at(-1) ?? 0 : steps[up ? i : Math.max(0, i - 1)] ?? 0 }
    set({ from: String(by === 'step' ? Math.max(0, Math.floor(low)) : step(low, false)), to: String(by === 'step' ? Math.ceil(high) : step(high, true)) })
  }
  const metrics = [...new Set(found.flatMap(d => d.evaluations.flatMap(e => Object.keys(e.metrics ?? {}))))]
  const chart = { x: by === 'seen' ? unit : axes[by], version, onRange }
  return (
    <>
      <div class="tools" role="group" aria-label="How the curves are drawn">
        <label>Along <select aria-label="Along" value={by} onChange={e => { set({ along: e.currentTarget.value === 'step' ? undefined : e.currentTarget.value }) }}>
          <option value="step">steps</option><option value="seen">{unit}</option><option value="elapsed">time</option>
        </select></label>
        <label>Smoothing <input type="range" min={0} max={0.99} step={0.01} value={weight} onInput={e => { set({ smooth: e.currentTarget.value === '0' ? undefined : e.currentTarget.value }) }} /></label>
        <label class="check"><input type="checkbox" checked={log} onChange={e => { set({ log: e.currentTarget.checked ? 'yes' : undefined }) }} /> Logarithmic</label>
        <label>From step <StepField label="From step" value={params.get('from')} placeholder="first" onStep={step => { set({ from: step }) }} /></label>
        <label>to <StepField label="To step" value={params.get('to')} placeholder="last" onStep={step => { set({ to: step }) }} /></label>
        {range !== undefined && <button type="button" onClick={() => { set({ from: undefined, to: undefined }) }}>Whole run</button>}
        {all.length > most && <p class="muted">The first {most} of {all.length} runs are drawn.</p>}
      </div>
      <div class="summaries">{runs.map((row, i) => { const data = found[i]; return data === undefined ? null : <Summary key={row.id} row={row} data={data} colour={i} /> })}</div>
      {runs.length > 1 && <p class="tools"><button type="button" onClick={() => { choose(runs.slice(0, 1).map(r => r.id)) }}>Only {label(runs[0]?.id ?? '')}</button></p>}
      <div class="charts">
        {pictures(unit).flatMap(p => {
          const curves = [...columnCurves(p.column), ...p.name === 'loss' ? evaluations(e => e.evalLoss, 'held out') : []]
          return curves.length === 0 ? [] : [<Chart key={p.name} name={p.name} title={p.title} curves={curves} flags={flags} log={log && p.log === true} value={p.value} {...chart} />]
        })}
        {metrics.map(m => <Chart key={`metric ${m}`} name={`held-out-${m.replace(/\W+/g, '-')}`} title={`Held out: ${m}`} curves={evaluations(e => e.metrics[m], m)} flags={[]} log={false} value={x => tick(x)} {...chart} />)}
      </div>
      <div class="panels">
        <Differences runs={found} />
        <Samples runs={found} />
        <BadBatches runs={found} />
        <Events runs={found} />
      </div>
    </>
  )
}
