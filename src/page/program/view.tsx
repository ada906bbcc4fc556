/** One step of one device: blocks that fold, collectives in colours of their own, the user's line beside each; and memory over the step. */
import type { VNode } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { formatBytes, formatFlops, formatInteger, formatMs } from '../../core/quantities.ts'
import { style } from '../../draw/colours.ts'
import { curveOf, memoryPicture, momentScale, ownersAt, peakOf, totalAt } from '../../draw/memory.ts'
import { collectiveText, loopText, programPicture } from '../../draw/program.ts'
import { fileOf } from '../../draw/svg.ts'
import { kindNames, timelinePicture } from '../../draw/timeline.ts'
import type { CollectiveShown, ItemShown, OpShown, PagePlan, Phase } from '../../train/pictured-shape.ts'
import { Chooser, MachineChooser, Missing } from '../plan/chooser.tsx'
import { Drawn } from '../plan/drawn.tsx'
import { askOf, flagsIn, usePlan } from '../plan/use-plan.ts'
import { Figure } from '../shell/figure.tsx'
import type { ViewProps } from '../shell/view.ts'
import '../plan/plan.css'
import './program.css'

const lanes: readonly Phase[] = ['forward', 'backward', 'update']
const titles: { readonly [P in Phase]: string } = { forward: 'Forward', backward: 'Backward', update: 'Update' }

const inside = (item: ItemShown): readonly ItemShown[] => (item.kind === 'loop' ? item.items : item.kind === 'choice' ? item.branches.flatMap(b => b.items) : [])
const has = (text: string, query: string): boolean => text.toLowerCase().includes(query)
const opFits = ({ op, type, reads }: OpShown, query: string): boolean => has(op, query) || has(type, query) || reads.some(r => has(r, query))
/** Whether an item, or one in it, is what is looked for. */
function fits(item: ItemShown, query: string): boolean {
  if (has(item.at ?? '', query)) return true
  if (item.kind === 'ops') return has(item.title, query) || item.ops.some(op => opFits(op, query))
  if (item.kind === 'collective') return has(`${collectiveText(item)} ${item.text}`, query) || item.tensors.some(t => has(t, query))
  return (item.kind === 'loop' && has(loopText(item.over, item.turns), query)) || inside(item).some(i => fits(i, query))
}
const allOf = (items: readonly ItemShown[]): readonly ItemShown[] => items.flatMap(i => [i, ...allOf(inside(i))])
const collectivesIn = (items: readonly ItemShown[]): readonly CollectiveShown[] => items.flatMap(i => (i.kind === 'collective' ? [i] : i.kind === 'choice' ? i.branches.filter(b => b.counted).flatMap(b => collectivesIn(b.items)) : collectivesIn(inside(i))))
const flopsIn = (items: readonly ItemShown[]): number => items.reduce((n, i) => n + (i.kind === 'ops' ? i.flops : flopsIn(inside(i))), 0)

interface Shown { readonly lines: PagePlan['lines']; readonly query: string; readonly open: ReadonlySet<number>; readonly toggle: (id: number, open: boolean) => void }

function Source({ at, lines }: { readonly at: string | null; readonly lines: PagePlan['lines'] }): VNode | null {
  if (at === null) return null
  const place = at.replace(/:\d+$/, '')
  return <div class="source">{place}{lines[place] === undefined ? null : <b>{`  ${lines[place]}`}</b>}</div>
}

function Item({ item, shown }: { readonly item: ItemShown; readonly shown: Shown }): VNode | null {
  const { query, open, toggle, lines } = shown
  if (query !== '' && !fits(item, query)) return null
  const found = query !== '' && inside(item).every(i => !fits(i, query))
  if (item.kind === 'collective') {
    const { axes, collective, bytes, count, tensors, ms, dtype } = item
    return (
      <div id={`item-${item.id}`}>
        <div class="sends" data-found={found} data-kind={collective}>
          <svg class="drawn" viewBox="0 0 1 1" aria-hidden="true"><rect class={collective} width="1" height="1" /></svg>
          <span class="what"><span class="kind">{collective}</span> along {axes.join(', ')}{tensors.length > 0 && <span class="muted"> of {tensors.join(', ')}</span>}</span>
          <span class="figures">{count > 1 ? `${formatInteger(count)} × ` : ''}{formatBytes(bytes)} {dtype}{ms === undefined ? '' : `, ${formatMs(ms * count)}`}</span>
        </div>
        <Source at={item.at} lines={lines} />
      </div>
    )
  }
  const isOpen = open.has(item.id) || (query !== '' && item.kind !== 'ops')
  const within = inside(item)
  const sent = collectivesIn(within).reduce((n, c) => n + c.bytes * c.count, 0)
  const flops = item.kind === 'ops' ? item.flops : flopsIn(within)
  return (
    <details id={`item-${item.id}`} open={isOpen} data-phase={item.phase} data-found={found} onToggle={e => { if (e.currentTarget.open !== isOpen) toggle(item.id, e.currentTarget.open) }}>
      <summary>
        <span class="what">{item.kind === 'ops' ? item.title : item.kind === 'loop' ? <b>{loopText(item.over, item.turns)}</b> : 'a choice'}{item.kind === 'ops' && <span class="muted"> {formatInteger(item.ops.length)} op{item.ops.length === 1 ? '' : 's'}</span>}</span>
        <span class="figures">{[...flops > 0 ? [formatFlops(flops)] : [], ...sent > 0 ? [`${formatBytes(sent)} sent`] : []].join(', ')}</span>
      </summary>
      {isOpen && <Source at={item.at} lines={lines} />}
      {isOpen && (item.kind === 'ops'
        ? <ul>{item.ops.map((op, i) => <li key={i} data-found={query !== '' && opFits(op, query)}><code>{op.op}</code><span class="figures">{op.reads.length > 0 && `${op.reads.join(', ')} → `}{op.type}, {formatBytes(op.bytes)}</span></li>)}</ul>
        : item.kind === 'loop' ? <div class="items">{item.items.map(i => <Item key={i.id} item={i} shown={shown} />)}</div>
          : item.branches.map(b => <div key={b.name} class="items"><p class="muted">{b.name}{b.counted ? '' : ', not counted in the plan'}</p>{b.items.map(i => <Item key={i.id} item={i} shown={shown} />)}</div>))}
    </details>
  )
}

function Outline({ plan, query, target }: { readonly plan: PagePlan; readonly query: string; readonly target: number | undefined }): VNode {
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set())
  const items = useMemo(() => lanes.flatMap(phase => plan.program[phase]), [plan])
  useEffect(() => { setOpen(new Set()) }, [plan])
  useEffect(() => {
    if (target === undefined) return
    const around = (of: readonly ItemShown[]): readonly number[] => of.flatMap(i => (i.id === target ? [i.id] : [...around(inside(i))].length > 0 ? [i.id, ...around(inside(i))] : []))
    setOpen(before => new Set([...before, ...around(items)]))
    requestAnimationFrame(() => { document.getElementById(`item-${target}`)?.scrollIntoView({ block: 'center' }) })
  }, [target, items])
  const shown: Shown = { lines: plan.lines, query: query.trim().toLowerCase(), open, toggle: (id, is) => { setOpen(before => { const next = new Set(before); if (is) next.add(id); else next.delete(id); return next }) } }
  const loops = allOf(items).filter(i => i.kind === 'loop' || i.kind === 'choice').map(i => i.id)
  const hits = shown.query === '' ? undefined : allOf(items).filter(i => inside(i).length === 0 && fits(i, shown.query)).length
  return (
    <>
      <div class="tools">
        <button type="button" class="small" onClick={() => { setOpen(new Set(loops)) }}>Open all loops</button>
        <button type="button" class="small" onClick={() => { setOpen(new Set()) }}>Fold all</button>
        {hits !== undefined && <span class="muted" role="status">{formatInteger(hits)} block{hits === 1 ? '' : 's'} found</span>}
      </div>
      <div class="outline">
        {lanes.map(phase => {
          const of = plan.program[phase]
          const sent = collectivesIn(of)
          return (
            <details key={phase} class="lane" open data-phase={phase} aria-label={titles[phase]}>
              <summary><span>{titles[phase]}</span><span class="figures">{formatFlops(flopsIn(of))}, {formatInteger(sent.reduce((n, c) => n + c.count, 0))} collectives, {formatBytes(sent.reduce((n, c) => n + c.bytes * c.count, 0))}</span></summary>
              <div class="items">{of.map(i => <Item key={i.id} item={i} shown={shown} />)}</div>
            </details>
          )
        })}
      </div>
    </>
  )
}

function CollectivesTable({ plan }: { readonly plan: PagePlan }): VNode {
  return (
    <table>
      <thead><tr><th scope="col">Phase</th><th scope="col">Collective</th><th scope="col">Along</th><th scope="col">Bytes</th><th scope="col">Times</th><th scope="col">In all</th><th scope="col">Line</th></tr></thead>
      <tbody>{lanes.flatMap(phase => collectivesIn(plan.program[phase]).map(c => <tr key={c.id}><td>{c.phase}</td><td>{c.collective}</td><td>{c.axes.join(', ')}</td><td>{formatBytes(c.bytes)}</td><td>{formatInteger(c.count)}</td><td>{formatBytes(c.bytes * c.count)}</td><td>{c.at ?? ''}</td></tr>))}</tbody>
    </table>
  )
}

function Memory({ plan, width }: { readonly plan: PagePlan; readonly width: number }): VNode {
  const [moment, setMoment] = useState<number>()
  const curve = useMemo(() => curveOf(plan.memory), [plan])
  const peak = useMemo(() => peakOf(curve), [curve])
  useEffect(() => { setMoment(undefined) }, [plan])
  const count = plan.memory.moments.length
  const picture = memoryPicture(plan, { moment, width })
  const at = moment ?? peak
  return (
    <Figure name="memory" title="Memory over the step" svg={() => fileOf(picture, style)} table={() => (
      <table>
        <thead><tr><th scope="col">{at === peak ? 'At the peak' : `At moment ${at}`}</th><th scope="col">Of</th><th scope="col">Phase</th><th scope="col">Bytes</th><th scope="col">Line</th></tr></thead>
        <tbody>{ownersAt(plan.memory, at).map((o, i) => <tr key={i}><td>{o.op}</td><td>{o.type}</td><td>{o.phase}</td><td>{formatBytes(o.bytes)}</td><td>{o.at ?? ''}</td></tr>)}</tbody>
      </table>
    )}>
      <div class="wideable" tabIndex={0} role="region" aria-label="Memory over the step, drawn"><Drawn picture={picture} onPress={(_, x) => { setMoment(momentScale(picture.width, count).at(x)) }} /></div>
      <div class="tools">
        <label>Moment <input type="range" min={0} max={count - 1} value={at} aria-valuetext={`${at} of ${count}: ${formatBytes(totalAt(curve, at))} beside what rests`} onInput={e => { setMoment(Number(e.currentTarget.value)) }} /></label>
        <button type="button" class="small" disabled={at === peak} onClick={() => { setMoment(undefined) }}>The peak</button>
      </div>
    </Figure>
  )
}

/** What takes how long, where a machine is known. */
function Timeline({ plan, width }: { readonly plan: PagePlan; readonly width: number }): VNode | null {
  const picture = timelinePicture(plan, { width })
  if (picture === undefined || plan.predicted === undefined) return null
  const { parts } = plan.predicted
  return (
    <Figure name="timeline" title={`A step on ${plan.predicted.machine}`} svg={() => fileOf(picture, style)} table={() => (
      <table>
        <thead><tr><th scope="col">What</th><th scope="col">Of</th><th scope="col">Times</th><th scope="col">In all</th><th scope="col">Beside</th><th scope="col">Line</th></tr></thead>
        <tbody>{parts.map((p, i) => <tr key={i}><td>{p.what}</td><td>{kindNames[p.kind]}</td><td>{formatInteger(p.times)}</td><td>{formatMs(p.ms)}</td><td>{p.besideMs > 0 ? formatMs(p.besideMs) : ''}</td><td>{p.at ?? ''}</td></tr>)}</tbody>
      </table>
    )}>
      <div class="wideable" tabIndex={0} role="region" aria-label="The time of a step, drawn"><Drawn picture={picture} /></div>
    </Figure>
  )
}

export function ProgramView(props: ViewProps): VNode {
  const { params, set } = props
  const asked = askOf(props)
  const planned = usePlan(asked === undefined ? undefined : { ...asked, flags: flagsIn(params) })
  const { plan } = planned
  const [query, setQuery] = useState(params.get('find') ?? '')
  const [target, setTarget] = useState<number>()
  const width = Math.min(1100, innerWidth - 56)
  const picture = useMemo(() => (plan === undefined ? undefined : programPicture(plan, { width })), [plan, width])
  return (
    <>
      <div class="tools">
        <Chooser {...props} />
        <MachineChooser {...props} plan={plan} />
        <label>Find <input type="search" value={query} placeholder="tensor, op or line" onInput={e => { setQuery(e.currentTarget.value) }} onChange={e => { set({ find: e.currentTarget.value === '' ? undefined : e.currentTarget.value }) }} /></label>
      </div>
      <Missing {...planned} />
      {plan !== undefined && picture !== undefined && (
        <>
          <Figure name="program" title="One step of one device" table={() => <CollectivesTable plan={plan} />} svg={() => fileOf(picture, style)}>
            <div class="wideable" tabIndex={0} role="region" aria-label="The program, drawn"><Drawn picture={picture} onPress={id => { if (id !== undefined) setTarget(Number(id)) }} /></div>
          </Figure>
          <Timeline plan={plan} width={width} />
          <section class="panel" aria-label="Blocks"><h3>Block by block</h3><Outline plan={plan} query={query} target={target} /></section>
          <Memory plan={plan} width={Math.min(900, width)} />
        </>
      )}
    </>
  )
}
