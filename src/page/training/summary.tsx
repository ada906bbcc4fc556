/** What each run that is shown is doing, in numbers, and the buttons for those that train. */
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import type { RunDetail, RunRow, RunState } from '../../dashboard/shape.ts'
import type { Goodput } from '../../train/events.ts'
import { ask } from '../shell/api.ts'
import { count, duration, percent, plural, rate } from '../shown.ts'
import { series } from './chart.tsx'
import type { RunData } from './data.ts'

export const states: Readonly<Record<RunState, string>> = { running: 'running', finished: 'finished', stopped: 'stopped', diverged: 'diverged', failed: 'failed', lost: 'ended without a word' }
export const State = ({ state }: { readonly state: RunState }): VNode => <span class="state" data-state={state}>{states[state]}</span>

const meshText = (mesh: RunRow['mesh']): string => Object.entries(mesh).map(([axis, n]) => `${axis} ${n}`).join(' × ') || 'one device'
/** A loss as a person reads it. */
export const lossText = (x: number | null): string => (x === null ? '–' : x.toFixed(4))

const words: Readonly<Record<Exclude<keyof Goodput, 'starts'>, string>> = { steps: 'steps', dataWait: 'data', starting: 'starting', evaluation: 'evaluation', checkpoints: 'checkpoints', restoring: 'restoring', lost: 'lost steps', other: 'other' }
function goodputText(goodput: Goodput): string {
  const shares = (Object.keys(words) as (keyof typeof words)[]).map(name => [words[name], goodput[name]] as const)
  const total = shares.reduce((n, [, ms]) => n + ms, 0)
  return shares.filter(([, ms]) => ms / total >= 0.005).sort((a, b) => b[1] - a[1]).map(([word, ms]) => `${word} ${percent(ms / total)}`).join(', ')
}

function Buttons({ row, commands }: { readonly row: RunRow; readonly commands: RunDetail['commands'] }): VNode {
  const [said, say] = useState<{ readonly text: string; readonly wrong: boolean }>()
  const wish = async (what: 'stop' | 'save', done: string): Promise<void> => {
    try {
      await ask('api/wish', { body: { run: row.id, wish: what } })
      say({ text: done, wrong: false })
    } catch (e) { say({ text: e instanceof Error ? e.message : String(e), wrong: true }) }
  }
  return (
    <div class="buttons">
      <div><button type="button" onClick={() => void wish('save', 'Asked: a checkpoint is saved behind this step.')}>Save a checkpoint now</button><code>{commands.save}</code></div>
      <div><button type="button" onClick={() => void wish('stop', 'Asked: the run ends behind this step.')}>Stop after this step</button><code>{commands.stop}</code></div>
      <p role="status" class={said?.wrong === true ? 'wrong' : 'muted'}>{said?.text ?? ''}</p>
    </div>
  )
}

export function Summary({ row, data, colour }: { readonly row: RunRow; readonly data: RunData; readonly colour: number }): VNode {
  const { detail } = data
  const last = data.tail.step.length > 0 ? data.tail.values : data.series?.values
  const stepMs = last?.stepMs?.at(-1) ?? null
  const ofPeak = last?.ofPeak?.at(-1) ?? null
  const left = row.state === 'running' && row.steps !== null && stepMs !== null ? (row.steps - row.step) * stepMs / 1000 : undefined
  const devices = Object.values(row.mesh).reduce((a, b) => a * b, 1)
  const facts: readonly (readonly [string, VNode | string])[] = [
    ['State', <State state={row.state} />], ['Step', `${count(row.step)}${row.steps === null ? '' : ` of ${count(row.steps)}`}${left === undefined ? '' : `, ${duration(left)} left`}`],
    ['Loss', lossText(row.loss)], ['Held-out loss', lossText(row.evalLoss)], [row.unit === 'tokens' ? 'Tokens per second' : 'Examples per second', row.perSecond === null ? '–' : rate(row.perSecond)],
    ...ofPeak === null ? [] : [['Share of peak', percent(ofPeak)] as const], ['Mesh', `${meshText(row.mesh)}, ${plural(devices, 'device')}${(detail?.processes?.count ?? 1) > 1 ? ` in ${detail?.processes?.count} processes` : ''}`],
    ...row.parameters === null ? [] : [['Parameters', count(row.parameters)] as const], ...detail?.plan === null || detail === undefined ? [] : [['Devices', detail.plan.backend] as const, ['Data', detail.plan.data.name] as const],
    ...detail?.goodput === null || detail === undefined ? [] : [['Time went into', goodputText(detail.goodput)] as const],
  ]
  return (
    <section class="panel summary" aria-label={row.id}>
      <h2><i style={{ background: `var(${series(colour)})` }} aria-hidden="true" />{row.id === '.' ? row.name : row.id}</h2>
      {row.why !== null && <p class="wrong">{row.why}</p>}
      {data.problem !== undefined && <p class="wrong" role="alert">{data.problem}</p>}
      <dl>{facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>
      {row.state === 'running' && detail !== undefined && <Buttons row={row} commands={detail.commands} />}
      {(row.state === 'stopped' || row.state === 'lost') && detail !== undefined && <p class="muted">Goes on with <code>{detail.commands.resume}</code></p>}
    </section>
  )
}
