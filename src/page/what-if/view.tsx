/** What if it were laid out otherwise: the plan of a run with other meshes and rules, beside the one that it has, and the line that says so. */
import type { VNode } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { formatBytes, formatFlops, formatInteger, formatMs } from '../../core/quantities.ts'
import { style } from '../../draw/colours.ts'
import { comparePicture, sentBy, type Compared } from '../../draw/compare.ts'
import { fileOf } from '../../draw/svg.ts'
import type { PagePlan, PlanShown } from '../../train/pictured-shape.ts'
import { Chooser, MachineChooser, Missing, Problem } from '../plan/chooser.tsx'
import { Drawn } from '../plan/drawn.tsx'
import { askOf, usePlan } from '../plan/use-plan.ts'
import { Figure } from '../shell/figure.tsx'
import type { ViewProps } from '../shell/view.ts'
import { Layouts, type Place } from './layouts.tsx'
import { flagsOf, freeDim, lineOf, resized, rulesIn, wantedOf, type Wanted } from './wanted.ts'
import '../plan/plan.css'
import './what-if.css'

interface EditProps { readonly plan: PagePlan; readonly wanted: Wanted; readonly onChange: (wanted: Wanted, place: Place) => void }
const whole = (text: string): number | undefined => (/^[1-9]\d{0,8}$/.test(text) ? Number(text) : undefined)

function Mesh({ wanted, onChange }: EditProps): VNode {
  const [name, setName] = useState('')
  const [size, setSize] = useState('2')
  const free = /^[A-Za-z_]\w*$/.test(name) && wanted.mesh[name] === undefined && whole(size) !== undefined
  const devices = Object.values(wanted.mesh).reduce((a, b) => a * b, 1)
  return (
    <>
      <h3>Mesh <span class="muted">{formatInteger(devices)} device{devices === 1 ? '' : 's'}</span></h3>
      <div class="sizes">
        {Object.entries(wanted.mesh).map(([axis, n]) => (
          <span key={axis} class="size">
            <label>{axis} <input type="number" min={1} value={n} aria-label={`Size of axis ${axis}`} onChange={e => { const to = whole(e.currentTarget.value); if (to === undefined) e.currentTarget.value = String(n); else onChange(resized(wanted, axis, to), 'mesh') }} /></label>
            <button type="button" class="small" aria-label={`×2, twice as many along ${axis}`} onClick={() => { onChange(resized(wanted, axis, n * 2), 'mesh') }}>×2</button>
            <button type="button" class="small" aria-label={`÷2, half as many along ${axis}`} disabled={n % 2 !== 0} onClick={() => { onChange(resized(wanted, axis, n / 2), 'mesh') }}>÷2</button>
            <button type="button" class="small" aria-label={`× take axis ${axis} away`} onClick={() => { onChange(resized(wanted, axis, undefined), 'mesh') }}>×</button>
          </span>
        ))}
        <form class="sizes" onSubmit={e => { e.preventDefault(); if (free) { onChange(resized(wanted, name, whole(size)), 'mesh'); setName('') } }}>
          <input type="text" value={name} placeholder="another axis" aria-label="Name of another axis" onInput={e => { setName(e.currentTarget.value) }} />
          <input type="number" min={1} value={size} aria-label="Its size" onInput={e => { setSize(e.currentTarget.value) }} />
          <button type="submit" class="small strong" disabled={!free}>Add</button>
        </form>
      </div>
    </>
  )
}

/** Parameters, or slots alone, in parts: one rule of the layout in which they rest. */
function Sharded({ plan, wanted, onChange, layout, name }: EditProps & { readonly layout: 'params' | 'state'; readonly name: string }): VNode {
  const compute = rulesIn(wanted, 'compute', plan.layouts)
  const [own, axes] = [wanted.layouts[layout]?.rules ?? {}, Object.keys(wanted.mesh)]
  const free = freeDim(plan, compute)
  const [dim, [on] = []] = Object.entries(own).find(([d, a]) => a.length > 0 && !(compute[d] ?? []).includes(a[0] ?? '')) ?? []
  const axis = on ?? compute['batch']?.[0] ?? axes[0]
  const change = (d: string | undefined, a: string | undefined): void => {
    const others = Object.fromEntries(Object.entries(own).filter(([other]) => other !== dim))
    const rules = d === undefined || a === undefined ? others : { ...others, [d]: [...(compute[d] ?? []).filter(x => x !== a), a] }
    onChange({ ...wanted, layouts: { ...wanted.layouts, [layout]: { ...wanted.layouts[layout], rules } } }, { layout, axis: a ?? on ?? '' })
  }
  return (
    <div class="tools">
      <label class="check"><input type="checkbox" checked={dim !== undefined} disabled={axis === undefined || (dim ?? free) === undefined} onChange={e => { change(e.currentTarget.checked ? free : undefined, axis) }} /> {name}</label>
      {dim !== undefined && (
        <>
          <label>cut <select aria-label={`${name}: the dim that is cut`} value={dim} onChange={e => { change(e.currentTarget.value, axis) }}>{Object.keys(plan.dims).map(d => <option key={d}>{d}</option>)}</select></label>
          <label>over <select aria-label={`${name}: the axis that it is cut over`} value={axis} onChange={e => { change(dim, e.currentTarget.value) }}>{axes.map(a => <option key={a}>{a}</option>)}</select></label>
        </>
      )}
    </div>
  )
}

function Numbers({ wanted, onChange }: EditProps): VNode {
  const field = (key: 'batch' | 'microbatches', words: string): VNode => (
    <label>{words} <input type="number" min={1} value={wanted[key]} onChange={e => { const to = whole(e.currentTarget.value); if (to === undefined) e.currentTarget.value = String(wanted[key]); else onChange({ ...wanted, [key]: to }, 'numbers') }} /></label>
  )
  return (
    <div class="tools">
      {field('batch', 'Batch')}{field('microbatches', 'Microbatches')}
      <label>Computed again <select value={wanted.remat} onChange={e => { onChange({ ...wanted, remat: e.currentTarget.value }, 'numbers') }}>{['all-but-contractions', 'everything', 'nothing'].map(r => <option key={r}>{r}</option>)}</select></label>
    </div>
  )
}

const times = (a: number, b: number): string => (a === b ? '=' : a === 0 || b === 0 ? '' : `${(b / a).toPrecision(3)} ×`)
function Table({ now, then }: { readonly now: PagePlan; readonly then: PagePlan }): VNode {
  const rows: (readonly [string, (p: PlanShown) => number, (n: number) => string])[] = [
    ['devices', p => p.devices, formatInteger], ['parameters', p => p.perDevice.parameterBytes, formatBytes], ['optimizer and step', p => p.perDevice.stateBytes, formatBytes],
    ['activations, gradients', p => p.perDevice.activationBytes, formatBytes], ['memory at the peak', p => p.perDevice.peakBytes, formatBytes], ['operations', p => p.perDevice.flops, formatFlops],
    ['pipeline idle', p => p.pipeline?.idle ?? 0, n => `${(100 * n).toFixed(1)} %`], ['collectives', p => p.collectives.reduce((n, c) => n + c.count, 0), formatInteger],
    ['bytes in them', p => sentBy(p).reduce((n, [, bytes]) => n + bytes, 0), formatBytes],
    ...[...new Set([...now.plan.collectives, ...then.plan.collectives].map(c => `${c.kind} along ${c.axes.join(', ')}`))].sort()
      .map(key => [key, (p: PlanShown) => p.collectives.filter(c => `${c.kind} along ${c.axes.join(', ')}` === key).reduce((n, c) => n + c.bytes * c.count, 0), formatBytes] as const),
  ]
  const step = [now.predicted?.stepMs, then.predicted?.stepMs]
  return (
    <table class="compared">
      <thead><tr><th scope="col">Of one device</th><th scope="col">now</th><th scope="col">then</th><th scope="col" aria-label="how many times as much" /></tr></thead>
      <tbody>
        {rows.map(([name, of, format]) => <tr key={name} data-figure={name}><th scope="row">{name}</th><td>{format(of(now.plan))}</td><td data-value={of(then.plan)}>{format(of(then.plan))}</td><td>{times(of(now.plan), of(then.plan))}</td></tr>)}
        {step[0] !== undefined && step[1] !== undefined && <tr data-figure="step"><th scope="row">predicted step on {then.predicted?.machine}</th><td>{formatMs(step[0])}</td><td data-value={step[1]}>{formatMs(step[1])}</td><td>{times(step[0], step[1])}</td></tr>}
      </tbody>
    </table>
  )
}

function Line({ line }: { readonly line: string }): VNode {
  const [copied, setCopied] = useState(false)
  useEffect(() => { setCopied(false) }, [line])
  return (
    <div class="line-to-copy">
      <code>{line}</code>
      <button type="button" onClick={() => { navigator.clipboard.writeText(line).then(() => { setCopied(true) }, () => { setCopied(false) }) }}>{copied ? 'Copied' : 'Copy'}</button>
    </div>
  )
}

export function WhatIfView(props: ViewProps): VNode {
  const { params, runs, set } = props
  const asked = askOf(props)
  const now = usePlan(asked === undefined ? undefined : { ...asked, flags: {} })
  const key = JSON.stringify(asked ?? null)
  const [changed, setChanged] = useState<{ readonly key: string; readonly wanted: Wanted; readonly place: Place }>()
  const base = useMemo(() => (now.plan === undefined ? undefined : wantedOf(now.plan)), [now.plan])
  const wanted = changed?.key === key ? changed.wanted : base
  const flags = base === undefined || wanted === undefined ? {} : flagsOf(base, wanted)
  const then = usePlan(asked === undefined || base === undefined ? undefined : { ...asked, flags })
  const of = 'recipe' in (asked ?? {}) ? params.get('recipe') ?? '' : runs[0]?.folder ?? ''
  const compared = useMemo(() => {
    if (now.plan === undefined || then.plan === undefined) return undefined
    const all: Compared[] = [{ words: 'now', plan: now.plan.plan, stepMs: now.plan.predicted?.stepMs }, { words: 'then', plan: then.plan.plan, stepMs: then.plan.predicted?.stepMs }]
    return comparePicture(all, Math.min(640, innerWidth - 56))
  }, [now.plan, then.plan])
  const given = JSON.stringify(flags)
  return (
    <>
      <div class="tools">
        <Chooser {...props} />
        <MachineChooser {...props} plan={then.plan} />
        <button type="button" class="small" disabled={given === '{}'} onClick={() => { setChanged(undefined) }}>As it is</button>
        {given !== '{}' && then.problem === undefined && ['mesh', 'program'].map(view => <a key={view} href={`#/${view}?${new URLSearchParams({ ...Object.fromEntries(params), flags: given }).toString()}`}>{view === 'mesh' ? 'Look at its mesh' : 'and its program'}</a>)}
      </div>
      <Missing {...now} />
      {now.plan !== undefined && wanted !== undefined && (() => {
        const { plan } = now
        const onChange = (next: Wanted, place: Place): void => {
          setChanged({ key, wanted: next, place })
          if (params.get('flags') !== null) set({ flags: undefined })
        }
        const edit = { plan, wanted, onChange }
        const place = changed?.key === key ? changed.place : undefined
        const elsewhere = then.problem !== undefined && (typeof place !== 'object' || place.axis === '' || wanted.mesh[place.axis] === undefined)
        return (
          <div class="beside">
            <div class="beside-main">
              <section class="panel" aria-label="Mesh and numbers">
                <Mesh {...edit} />
                {then.problem !== undefined && elsewhere && <Problem problem={then.problem} />}
                <Sharded {...edit} layout="params" name="FSDP: parameters in parts" />
                <Sharded {...edit} layout="state" name="ZeRO-1: slots in parts" />
                <Numbers {...edit} />
              </section>
              <Layouts plan={plan} wanted={wanted} problem={then.problem} place={place} onChange={onChange} />
            </div>
            <div class="beside-main answer-of" data-busy={then.busy} data-answered={then.plan !== undefined && !then.busy && then.problem === undefined ? given : undefined}>
              {compared !== undefined && then.plan !== undefined && (
                <Figure name="what-if" title="Now and then" svg={() => fileOf(compared, style)} table={() => then.plan === undefined ? <table /> : <Table now={plan} then={then.plan} />}>
                  <Drawn picture={compared} />
                </Figure>
              )}
              {then.plan !== undefined && <section class="panel" aria-label="Figures"><Table now={plan} then={then.plan} /></section>}
              {then.failed !== undefined && <p class="wrong" role="alert">{then.failed}</p>}
              <section class="panel" aria-label="The line"><h3>On the command line</h3><Line line={lineOf(of, flags, then.plan?.predicted?.named)} /></section>
            </div>
          </div>
        )
      })()}
    </>
  )
}
