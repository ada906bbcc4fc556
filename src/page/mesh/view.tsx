/** The mesh: devices in their axes, what each holds, and of a tensor which part lies where, with the rules that put it there. */
import type { VNode } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { formatBytes, formatInteger } from '../../core/quantities.ts'
import { partColour, style } from '../../draw/colours.ts'
import { meshPicture, placeText } from '../../draw/mesh.ts'
import { coordinatesOf, partOf, rangesOf, rangeText } from '../../draw/parts.ts'
import { fileOf } from '../../draw/svg.ts'
import type { RunDetail } from '../../dashboard/shape.ts'
import type { PagePlan, TensorShown } from '../../train/pictured-shape.ts'
import { Chooser, Missing } from '../plan/chooser.tsx'
import { Drawn } from '../plan/drawn.tsx'
import { askOf, flagsIn, usePlan } from '../plan/use-plan.ts'
import { ask } from '../shell/api.ts'
import { Figure } from '../shell/figure.tsx'
import type { ViewProps } from '../shell/view.ts'
import '../plan/plan.css'
import './mesh.css'

const dimsText = (of: { readonly [dim: string]: number }): string => Object.entries(of).map(([d, n]) => `${d} ${formatInteger(n)}`).join(' × ') || 'a number'
const groups: { readonly [G in TensorShown['of']]: string } = { parameters: 'parameters', state: 'optimizer and step', batch: 'the batch' }
/** Devices whose parts a table lists; of more the first ones. */
const mostListed = 256

interface Live { readonly hosts: readonly string[]; readonly ranks: boolean; readonly backend: string | undefined }
const nothing: Live = { hosts: [], ranks: false, backend: undefined }
/** What a run tells of where its devices are; a recipe says nothing of it. */
function useLive(id: string | undefined, devices: number): Live {
  const [live, setLive] = useState(nothing)
  useEffect(() => {
    setLive(nothing)
    if (id === undefined || devices === 0) return
    const stopped = new AbortController()
    ask<RunDetail>(`api/run?${new URLSearchParams({ id }).toString()}`, { signal: stopped.signal }).then(({ processes, plan }) => {
      const count = processes?.count ?? 1
      const each = Math.max(1, Math.round(devices / count))
      const of = processes?.hosts ?? []
      setLive({ ranks: count > 1 && each === 1, hosts: count > 1 || of.some(host => host !== 'here') ? Array.from({ length: devices }, (_, d) => of[Math.floor(d / each)] ?? '') : [], backend: plan?.backend })
    }, () => undefined)
    return () => { stopped.abort() }
  }, [id, devices])
  return live
}

function PartsTable({ plan, tensor }: { readonly plan: PagePlan; readonly tensor: TensorShown | undefined }): VNode {
  const { mesh, perDevice, devices } = plan.plan
  return (
    <table>
      <thead><tr><th scope="col">Device</th><th scope="col">At</th>{tensor === undefined ? <><th scope="col">Parameters</th><th scope="col">State</th><th scope="col">Activations</th><th scope="col">At the peak</th></> : <><th scope="col">Part</th><th scope="col">Bytes</th></>}</tr></thead>
      <tbody>
        {Array.from({ length: Math.min(devices, mostListed) }, (_, device) => (
          <tr key={device}>
            <td>{device}</td><td>{placeText(mesh, device)}</td>
            {tensor === undefined ? <><td>{formatBytes(perDevice.parameterBytes)}</td><td>{formatBytes(perDevice.stateBytes)}</td><td>{formatBytes(perDevice.activationBytes)}</td><td>{formatBytes(perDevice.peakBytes)}</td></>
              : <><td>{rangeText(rangesOf(tensor, mesh, coordinatesOf(mesh, device)))}</td><td>{formatBytes(tensor.bytes)}</td></>}
          </tr>
        ))}
        {devices > mostListed && <tr><td>…</td><td>and {formatInteger(devices - mostListed)} more, each with as much</td></tr>}
      </tbody>
    </table>
  )
}

/** All that one device holds. */
function Device({ plan, device, live }: { readonly plan: PagePlan; readonly device: number; readonly live: Live }): VNode {
  const { mesh, perDevice } = plan.plan
  const at = coordinatesOf(mesh, device)
  const host = live.hosts[device]
  return (
    <section class="panel" aria-label={`Device ${device}`}>
      <h3>{live.ranks ? 'Rank' : 'Device'} {formatInteger(device)}</h3>
      <dl class="facts">
        <dt>on the mesh</dt><dd>{placeText(mesh, device) || 'alone'}</dd>
        {host !== undefined && host !== '' && <><dt>host</dt><dd>{host}</dd></>}
        {live.backend !== undefined && <><dt>backend</dt><dd>{live.backend}</dd></>}
        <dt>parameters</dt><dd>{formatBytes(perDevice.parameterBytes)}</dd>
        <dt>optimizer and step</dt><dd>{formatBytes(perDevice.stateBytes)}</dd>
        <dt>activations, gradients</dt><dd>{formatBytes(perDevice.activationBytes)}</dd>
        <dt>at the peak</dt><dd>{formatBytes(perDevice.peakBytes)}</dd>
      </dl>
      <div class="tensors" tabIndex={0} role="region" aria-label={`What device ${device} holds`}>
        <table>
          <thead><tr><th scope="col">It holds</th><th scope="col">of each dim</th><th scope="col">bytes</th></tr></thead>
          <tbody>{plan.tensors.map(t => <tr key={t.path}><td>{t.path}</td><td>{rangeText(rangesOf(t, mesh, at))}</td><td>{formatBytes(t.bytes)}</td></tr>)}</tbody>
        </table>
      </div>
    </section>
  )
}

function Tensors({ plan, chosen, onPoint, onChoose }: { readonly plan: PagePlan; readonly chosen: string | undefined; readonly onPoint: (path: string | undefined) => void; readonly onChoose: (path: string | undefined) => void }): VNode {
  const [query, setQuery] = useState('')
  const found = plan.tensors.filter(t => `${t.path} ${Object.keys(t.dims).join(' ')} ${groups[t.of]}`.toLowerCase().includes(query.toLowerCase()))
  return (
    <section class="panel" aria-label="Tensors">
      <h3>Tensors of a step</h3>
      <div class="tools"><label>Find <input type="search" value={query} placeholder="tensor or dim" onInput={e => { setQuery(e.currentTarget.value) }} /></label></div>
      <div class="tensors" tabIndex={0} role="region" aria-label="Tensors and how they lie">
        <table>
          <thead><tr><th scope="col">Tensor</th><th scope="col">dims</th><th scope="col">split by</th><th scope="col">on a device</th></tr></thead>
          <tbody>
            {found.map(t => (
              <tr key={t.path} aria-current={t.path === chosen ? 'true' : undefined} onPointerEnter={() => { onPoint(t.path) }} onPointerLeave={() => { onPoint(undefined) }}>
                <td><button type="button" aria-pressed={t.path === chosen} onFocus={() => { onPoint(t.path) }} onBlur={() => { onPoint(undefined) }} onClick={() => { onChoose(t.path === chosen ? undefined : t.path) }}>{t.path}</button></td>
                <td>{dimsText(t.dims)}</td><td>{t.rules.map(r => `${r.dim} → ${r.axes.join(', ')}`).join('; ') || '–'}</td><td>{formatBytes(t.bytes)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

/** Why a tensor lies as it does, and its parts by their colours. */
function Why({ plan, tensor }: { readonly plan: PagePlan; readonly tensor: TensorShown }): VNode {
  const { parts } = partOf(rangesOf(tensor, plan.plan.mesh, {}))
  const first = new Map<number, string>()
  for (let d = 0; d < plan.plan.devices && first.size < Math.min(parts, 16); d++) {
    const ranges = rangesOf(tensor, plan.plan.mesh, coordinatesOf(plan.plan.mesh, d))
    const { part } = partOf(ranges)
    if (!first.has(part)) first.set(part, rangeText(ranges))
  }
  return (
    <div class="why">
      <p>{tensor.rules.length === 0 ? `It lies in the layout “${tensor.in}”, no rule of which splits it: every device holds all of it.`
        : <>It lies in the layout “{tensor.in}”, in {formatInteger(parts)} parts: {tensor.rules.map(r => `${r.dim} on ${r.axes.join(', ')}, as “${r.layout}” says`).join('; ')}.</>}</p>
      <p class="muted">{[...first].sort((a, b) => a[0] - b[0]).map(([part, words]) => <span key={part}><svg class="swatch" viewBox="0 0 1 1" aria-hidden="true"><rect width="1" height="1" fill={partColour(part, parts)} /></svg>{words} </span>)}{parts > first.size && `and ${formatInteger(parts - first.size)} more`}</p>
    </div>
  )
}

export function MeshView(props: ViewProps): VNode {
  const { params, set, runs } = props
  const asked = askOf(props)
  const planned = usePlan(asked === undefined ? undefined : { ...asked, flags: flagsIn(params) })
  const { plan } = planned
  const [pointed, setPointed] = useState<string>()
  const [over, setOver] = useState<number>()
  const live = useLive(asked !== undefined && 'run' in asked && Object.keys(flagsIn(params)).length === 0 ? runs[0]?.id : undefined, plan?.plan.devices ?? 0)
  const pinned = params.get('tensor') ?? undefined
  const tensor = plan?.tensors.find(t => t.path === (pointed ?? pinned))
  const given = Number(params.get('device') ?? NaN)
  const device = over ?? (Number.isInteger(given) ? given : undefined)
  const shown = plan === undefined || device === undefined || device < 0 || device >= plan.plan.devices ? undefined : device
  const picture = plan === undefined ? undefined : meshPicture(plan, { tensor: tensor?.path, device: shown, width: Math.min(900, innerWidth - 40), hosts: live.hosts, ranks: live.ranks })
  return (
    <>
      <div class="tools">
        <Chooser {...props} />
        {plan !== undefined && <label>Device <input type="number" min={0} max={plan.plan.devices - 1} value={shown ?? ''} onInput={e => { set({ device: e.currentTarget.value === '' ? undefined : e.currentTarget.value }) }} /></label>}
        {tensor !== undefined && <button type="button" class="small" onClick={() => { setPointed(undefined); set({ tensor: undefined }) }}>All that devices hold</button>}
      </div>
      <Missing {...planned} />
      {plan !== undefined && picture !== undefined && (
        <div class="beside">
          <div class="beside-main">
            <Figure name="mesh" title={tensor === undefined ? 'What each device holds' : `Which part of ${tensor.path} lies where`} table={() => <PartsTable plan={plan} tensor={tensor} />} svg={() => fileOf(picture, style)}>
              <div class="wideable" tabIndex={0} role="region" aria-label="The mesh"><Drawn picture={picture} attribute="data-device" onPoint={d => { setOver(d === undefined ? undefined : Number(d)) }} onPress={d => { if (d !== undefined) set({ device: d }) }} /></div>
              {tensor !== undefined && <Why plan={plan} tensor={tensor} />}
            </Figure>
            {shown !== undefined && <Device plan={plan} device={shown} live={live} />}
          </div>
          <Tensors plan={plan} chosen={pinned} onPoint={setPointed} onChoose={path => { set({ tensor: path }) }} />
        </div>
      )}
    </>
  )
}
