/** Curves on a canvas, by uPlot: dragged over they are looked at closely, walked along with the arrow keys they tell their numbers. */
import type { VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { Figure } from '../shell/figure.tsx'
import { laid, type Curve } from './points.ts'
import { chartSvg, tick, type Line } from './svg.ts'

/** A curve; `faint` is one behind its smoothed self, `points` are joined by nothing. */
export interface Drawn extends Curve { readonly label: string; /** Of the palette. */ readonly colour: number; readonly kind: Line['kind'] }
/** A place along the axis at which something happened. */
export interface Flag { readonly x: number; readonly colour: number; readonly kind: 'checkpoint' | 'bad'; readonly label: string }
export interface ChartProps {
  readonly name: string
  readonly title: string
  readonly x: string
  readonly curves: readonly Drawn[]
  readonly flags: readonly Flag[]
  readonly log: boolean
  /** Counts up where the data are others. */
  readonly version: number
  /** What a range that was dragged over is to be. */
  readonly onRange: (from: number, to: number) => void
  readonly value: (x: number) => string
}

/** How many colours the style has, and where colours are looked up: uPlot draws on a canvas, which knows no variables. */
const palette = 8
export const series = (colour: number): string => `--series-${colour % palette + 1}`
function colourOf(variable: string): string {
  const probe = document.createElement('i')
  probe.style.color = `var(${variable})`
  document.body.append(probe)
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}

const dark = matchMedia('(prefers-color-scheme: dark)')
/** Rows of a table at most; of more some at even distances are shown. */
const mostRows = 200
const height = 220

/** Where the cursor is, in words. */
function Reading({ chart, at, value, x }: { readonly chart: readonly Drawn[]; readonly at: number | undefined; readonly value: (x: number) => string; readonly x: string }): VNode {
  const told = chart.filter(c => c.kind !== 'faint').flatMap(c => {
    if (at === undefined) return []
    let [low, high] = [0, c.x.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((c.x[middle] ?? 0) <= at) low = middle
      else high = middle - 1
    }
    const y = c.y[low]
    return typeof y === 'number' ? [{ ...c, y }] : []
  })
  return (
    <p class="reading number" aria-live="polite">
      {at === undefined ? <span class="muted">{x}</span> : <span class="muted">{x} {tick(at)}</span>}
      {(at === undefined ? chart.filter(c => c.kind !== 'faint').map(c => ({ ...c, y: undefined })) : told).map(c => <span key={c.label} class="key-of" data-kind={c.kind}><i style={{ background: `var(${series(c.colour)})` }} aria-hidden="true" />{c.label}{c.y === undefined ? '' : ` ${value(c.y)}`}</span>)}
    </p>
  )
}

export function Chart({ name, title, x, curves, flags, log, version, onRange, value }: ChartProps): VNode {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | undefined>(undefined)
  const [at, setAt] = useState<number>()
  const [scheme, setScheme] = useState(dark.matches)
  const now = useRef({ flags, onRange })
  now.current = { flags, onRange }
  // Another plot where it is another picture, and not where there is only more of it.
  const form = JSON.stringify([curves.map(c => [c.label, c.colour, c.kind]), log, x, scheme])
  const data = (): uPlot.AlignedData => laid(curves.map(c => (log ? { x: c.x, y: c.y.map(y => (y !== null && y > 0 ? y : null)) } : c)))

  useEffect(() => {
    const changed = (): void => { setScheme(dark.matches) }
    dark.addEventListener('change', changed)
    return () => { dark.removeEventListener('change', changed) }
  }, [])
  useEffect(() => {
    const { current } = box
    if (current === null) return
    const [muted, line, ground, wrong] = [colourOf('--muted'), colourOf('--line'), colourOf('--ground'), colourOf('--wrong')]
    const own = Array.from({ length: palette }, (_, i) => colourOf(series(i)))
    const axis = { stroke: muted, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: '11px system-ui, sans-serif' }
    const made = new uPlot({
      width: current.clientWidth, height, legend: { show: false }, padding: [8, 8, 0, 0],
      cursor: { sync: { key: 'training', setSeries: false }, drag: { x: true, y: false, setScale: false }, points: { show: false } },
      scales: { x: { time: false }, y: { distr: log ? 3 : 1 } },
      axes: [{ ...axis, values: (_, all) => all.map(tick) }, { ...axis, size: 64, values: (_, all) => all.map(v => (v === null ? '' : tick(v))) }],
      series: [{}, ...curves.map(c => {
        const stroke = own[c.colour % palette] ?? muted
        return { stroke, width: c.kind === 'points' ? 1.5 : 1.25, alpha: c.kind === 'faint' ? 0.3 : 1, spanGaps: false, points: { show: c.kind === 'points', size: 6, stroke, fill: ground }, ...(c.kind === 'points' ? { paths: () => null } : {}) }
      })],
      hooks: {
        setCursor: [u => { setAt(u.cursor.idx === null || u.cursor.idx === undefined ? undefined : u.data[0][u.cursor.idx]) }],
        setSelect: [u => {
          if (u.select.width < 4) return
          now.current.onRange(u.posToVal(u.select.left, 'x'), u.posToVal(u.select.left + u.select.width, 'x'))
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
        }],
        draw: [u => {
          const { ctx, bbox } = u
          ctx.save()
          ctx.lineWidth = devicePixelRatio
          for (const flag of now.current.flags) {
            const place = Math.round(u.valToPos(flag.x, 'x', true))
            if (place < bbox.left || place > bbox.left + bbox.width) continue
            ctx.strokeStyle = flag.kind === 'bad' ? wrong : own[flag.colour % palette] ?? muted
            ctx.globalAlpha = flag.kind === 'bad' ? 0.8 : 0.5
            ctx.beginPath()
            ctx.moveTo(place, flag.kind === 'bad' ? bbox.top : bbox.top + bbox.height - 8 * devicePixelRatio)
            ctx.lineTo(place, bbox.top + bbox.height)
            ctx.stroke()
          }
          ctx.restore()
        }],
      },
    }, data(), current)
    plot.current = made
    const sized = new ResizeObserver(() => { if (current.clientWidth > 0 && current.clientWidth !== made.width) made.setSize({ width: current.clientWidth, height }) })
    sized.observe(current)
    return () => {
      sized.disconnect()
      made.destroy()
      plot.current = undefined
    }
  }, [form])
  useEffect(() => { plot.current?.setData(data()) }, [version, flags.length])

  const walk: Readonly<Record<string, (i: number, last: number) => number>> = { ArrowRight: (i, last) => Math.min(last, i + 1), ArrowLeft: i => Math.max(0, i - 1), Home: () => 0, End: (_, last) => last }
  const moved = (e: KeyboardEvent): void => {
    const [u, step] = [plot.current, walk[e.key]]
    if (u === undefined || step === undefined) return
    e.preventDefault()
    const next = step(u.cursor.idx ?? -1, u.data[0].length - 1)
    const [left, top] = [u.valToPos(u.data[0][next] ?? 0, 'x'), u.bbox.height / devicePixelRatio / 2]
    u.setCursor({ left, top })
  }
  const svg = (): string => chartSvg({
    title, x, log, ink: colourOf('--ink'), muted: colourOf('--muted'), grid: colourOf('--line'), ground: colourOf('--ground'),
    lines: curves.map(c => ({ label: c.label, colour: colourOf(series(c.colour)), x: c.x, y: c.y, kind: c.kind })),
  })
  const table = (): VNode => {
    const shown = curves.filter(c => c.kind !== 'faint')
    const [xs, ...ys] = laid(shown)
    const step = Math.max(1, Math.ceil(xs.length / mostRows))
    const rows = xs.flatMap((at, i) => (i % step === 0 || i === xs.length - 1 ? [[at, i] as const] : []))
    return (
      <table>
        <caption class="unseen">{title}{step > 1 ? `, one of ${step} points` : ''}</caption>
        <thead><tr><th scope="col">{x}</th>{shown.map(c => <th key={c.label} scope="col">{c.label}</th>)}</tr></thead>
        <tbody>{rows.map(([place, i]) => <tr key={i}><th scope="row">{tick(place)}</th>{ys.map((y, k) => <td key={k}>{typeof y[i] === 'number' ? value(y[i]) : ''}</td>)}</tr>)}</tbody>
      </table>
    )
  }
  const bad = flags.filter(f => f.kind === 'bad').length
  const about = `${title} of ${[...new Set(curves.map(c => c.label))].join(', ')}, along ${x}${bad > 0 ? `, ${bad} bad or skipped steps marked` : ''}. The arrow keys walk along it.`
  return (
    <Figure name={name} title={title} table={table} svg={svg}>
      {/* A range is dragged over with a pointer; the fields above do the same. */}
      <div class="plot-box" ref={box} tabIndex={0} role="application" aria-roledescription="chart" aria-label={about} onKeyDown={moved} onBlur={() => { setAt(undefined) }} />
      <Reading chart={curves} at={at} value={value} x={x} />
    </Figure>
  )
}
