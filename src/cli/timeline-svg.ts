/** A step as a picture: what is computed and what is sent, each as long as it takes, in the order of the program; of a pipeline also who works when. */
import type { StepTime } from '../cost/time.ts'
import { ticksOf, type Pipelined } from '../parallel/schedule.ts'
import type { Forecast } from '../train/forecast.ts'
import { formatMs } from './forecast-text.ts'
import { bar, colours, picture, rule, text, ticks } from './svg.ts'

const [width, left, right] = [1000, 110, 20] as const
const names = { product: 'products', memory: 'memory', collective: 'collectives', turn: 'loops' } as const

/** What follows each other: bars on their lanes, a collective that nothing waits for below what goes on meanwhile. */
function lanes({ parts, overheadMs, parts: { length } }: StepTime, scale: (ms: number) => number): string[] {
  const drawn: string[] = []
  let now = 0
  // What goes on beside is drawn where the program comes to it, and takes no time of its own.
  for (const p of parts) {
    const waited = p.ms - p.besideMs
    const colour = colours[p.kind]
    const said = `${names[p.kind]}: ${p.what}, ${p.times} ×, ${formatMs(p.ms)}${p.besideMs > 0 ? `, ${formatMs(p.besideMs)} of it beside computation` : ''}${p.at === null ? '' : `\n${p.at}`}`
    const y = p.kind === 'collective' ? 90 : 40
    if (p.ms > 0) drawn.push(bar({ x: scale(now), y, width: scale(now + p.ms) - scale(now), height: 36 }, colour, said))
    now += waited
  }
  const rest = Math.max(0, overheadMs - parts.filter(p => p.kind === 'turn').reduce((n, p) => n + p.ms, 0))
  if (length > 0) drawn.push(bar({ x: scale(now), y: 40, width: scale(now + rest) - scale(now), height: 36 }, colours.idle, `the host: ${formatMs(rest)}`))
  return drawn
}

function stages(pipelined: Pipelined, top: number): string[] {
  const all = ticksOf(pipelined)
  const cells = all.map(t => ({ forward: t.forward, backward: t.backward }))
  const count = Math.max(...cells.flatMap(c => [c.forward?.length ?? 0, c.backward?.length ?? 0]))
  const step = (width - left - right) / Math.max(1, cells.length)
  return Array.from({ length: count }, (_, s) => [
    text(left - 8, top + 22 * s + 13, `stage ${s}`, 'end'),
    ...cells.flatMap(({ forward, backward }, t) => {
      const x = left + t * step
      const [f, b] = [forward?.[s], backward?.[s]]
      const shown: string[] = []
      if (f !== undefined) shown.push(bar({ x, y: top + 22 * s, width: step - 0.5, height: b === undefined ? 18 : 9 }, colours.product, `microbatch ${f.microbatch} forward`))
      if (b !== undefined) shown.push(bar({ x, y: top + 22 * s + (f === undefined ? 0 : 9), width: step - 0.5, height: f === undefined ? 18 : 9 }, colours.good, `microbatch ${b.microbatch} back`))
      if (f === undefined && b === undefined) shown.push(bar({ x, y: top + 22 * s, width: step - 0.5, height: 18 }, colours.idle, 'idle'))
      return shown
    }),
  ]).flat()
}

/** `pipelined`: how its stages take turns, where the model is a pipeline. */
export function drawTimeline(name: string, predicted: Forecast, time: StepTime, pipelined: Pipelined | undefined): string {
  const total = Math.max(time.stepMs, time.parts.reduce((n, p) => n + p.ms - p.besideMs, 0) + time.overheadMs) * 1.001
  const scale = (ms: number): number => left + (width - left - right) * ms / total
  const count = pipelined === undefined ? 0 : typeof pipelined.stages === 'number' ? pipelined.stages : pipelined.stages.length
  const height = 200 + (count === 0 ? 0 : 40 + 22 * count)
  const legend = (Object.keys(names) as (keyof typeof names)[]).flatMap((k, i) => [bar({ x: left + 130 * i, y: 172, width: 12, height: 12 }, colours[k], names[k]), text(left + 130 * i + 18, 182, names[k])])
  return picture(width, height, `${name} on ${predicted.machine}`, [
    text(left, 24, `${name} on ${predicted.devices} device${predicted.devices === 1 ? '' : 's'} of ${predicted.machine}: a step takes ${formatMs(time.stepMs)}`),
    text(left - 8, 62, 'computed', 'end'), text(left - 8, 112, 'sent', 'end'), ...lanes(time, scale),
    ...ticks(total).flatMap(t => [rule(scale(t), 130, scale(t), 136), text(scale(t), 152, formatMs(t), 'middle')]), rule(left, 130, width - right, 130), ...legend,
    ...(pipelined === undefined ? [] : [text(left, 222, 'a pipeline: microbatches forward and back, and who is idle'), ...stages(pipelined, 232)]),
  ])
}
