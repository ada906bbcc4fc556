/** Layouts to be changed: every dim can be dragged onto an axis, or picked up and put down by the keyboard. */
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { formatInteger } from '../../core/quantities.ts'
import type { PagePlan } from '../../train/pictured-shape.ts'
import { Problem } from '../plan/chooser.tsx'
import type { Planned } from '../plan/use-plan.ts'
import { laid, lifted, rulesIn, type Wanted } from './wanted.ts'

const names: Readonly<Record<string, string>> = {
  compute: 'where it is computed', params: 'parameters at rest', state: 'slots of the optimizer', gradients: 'sums of microbatches’ gradients',
}
/** Where something was changed last: what is wrong is said there. */
export type Place = { readonly layout: string; readonly axis: string } | 'mesh' | 'numbers'
/** What is in the hand: a dim, and the axis that it comes from. */
interface Held { readonly dim: string; readonly layout?: string; readonly axis?: string }

export interface LayoutsProps {
  readonly plan: PagePlan
  readonly wanted: Wanted
  readonly problem: Planned['problem']
  readonly place: Place | undefined
  readonly onChange: (wanted: Wanted, place: Place) => void
}

export function Layouts({ plan, wanted, problem, place, onChange }: LayoutsProps): VNode {
  const [held, setHeld] = useState<Held>()
  const [over, setOver] = useState<string>()
  const { layouts, dims } = plan
  const axes = Object.keys(wanted.mesh)
  const drop = (layout: string, axis: string, what: Held | undefined): void => {
    setOver(undefined)
    setHeld(undefined)
    if (what !== undefined) onChange(laid(wanted, layouts, layout, what.dim, axis, what.layout === layout && what.axis !== axis ? what.axis : undefined), { layout, axis })
  }
  const drag = (what: Held) => ({
    draggable: true,
    onDragStart: (e: DragEvent) => { e.dataTransfer?.setData('text/plain', what.dim); setHeld(what) },
    onDragEnd: () => { setHeld(undefined); setOver(undefined) },
  })
  return (
    <section class="panel" aria-label="Layouts" onKeyDown={e => { if (e.key === 'Escape') setHeld(undefined) }}>
      <h3>Drag a dim onto an axis</h3>
      <p class="muted">Or press it, and then where it is to lie.</p>
      <div class="chips" role="group" aria-label="Dims">
        {Object.entries(dims).map(([dim, size]) => (
          <button key={dim} type="button" class="chip" aria-pressed={held?.dim === dim && held.layout === undefined} {...drag({ dim })} onClick={() => { setHeld(held?.dim === dim ? undefined : { dim }) }}>
            {dim} <span class="muted">{formatInteger(size)}</span>
          </button>
        ))}
      </div>
      <p class="unseen" role="status">{held === undefined ? '' : `${held.dim} is picked up: choose where it is to lie, or press Escape`}</p>
      <div class="lays">
        {layouts.map(({ name }) => {
          const [rules, own] = [rulesIn(wanted, name, layouts), wanted.layouts[name]?.rules ?? {}]
          return (
            <div key={name} class="lay">
              <h4>{name}{names[name] === undefined ? '' : <span class="muted"> {names[name]}</span>}</h4>
              <div class="zones">
                {axes.map(axis => {
                  const key = `${name} ${axis}`
                  const isPlace = typeof place === 'object' && place.layout === name && place.axis === axis
                  const here = Object.entries(rules).filter(([, on]) => on.includes(axis)).map(([dim]) => dim)
                  return (
                    <div key={axis} class="zone" data-zone={key} data-over={over === key} data-wrong={isPlace && problem !== undefined} role="group" aria-label={`${name}, axis ${axis}`}
                      onDragOver={e => { e.preventDefault(); if (over !== key) setOver(key) }} onDragLeave={() => { if (over === key) setOver(undefined) }}
                      onDrop={e => { e.preventDefault(); const dim = e.dataTransfer?.getData('text/plain') ?? ''; drop(name, axis, held ?? (dims[dim] === undefined ? undefined : { dim })) }}>
                      <span class="axis">{axis} {formatInteger(wanted.mesh[axis] ?? 1)}</span>
                      <div class="chips">
                        {here.map(dim => (
                          <span key={dim} class={`chip${own[dim] === undefined ? ' given' : ''}`} {...drag({ dim, layout: name, axis })} title={own[dim] === undefined ? 'by the layout that this one starts from' : undefined}>
                            {dim}
                            <button type="button" aria-label={`× take ${dim} off ${axis} in ${name}`} onClick={() => { onChange(lifted(wanted, layouts, name, dim, axis), { layout: name, axis }) }}>×</button>
                          </span>
                        ))}
                      </div>
                      {held !== undefined && !here.includes(held.dim) && <button type="button" class="small strong" onClick={() => { drop(name, axis, held) }}>Lay {held.dim} on {axis}</button>}
                      {isPlace && problem !== undefined && <Problem problem={problem} />}
                    </div>
                  )
                })}
                {axes.length === 0 && <p class="muted">The mesh has no axis.</p>}
              </div>
            </div>
          )
        })}
      </div>
    </section>
  )
}
