/** A step's time as a picture: what is computed and what is sent, each as long as it takes, in the order of the program; of a pipeline also who works when. */
import { formatMs } from '../core/quantities.ts'
import type { PagePlan, PartShown, PredictedShown, TurnShown } from '../train/pictured-shape.ts'
import { ticks } from './ticks.ts'
import { shape, text, type Picture, type Shape } from './svg.ts'

export const kindNames: { readonly [K in PartShown['kind']]: string } = { product: 'products', memory: 'memory', collective: 'collectives', turn: 'loops' }
const kinds = Object.keys(kindNames) as readonly PartShown['kind'][]

const bar = (x: number, y: number, width: number, height: number, name: string, said: string): Shape => shape('rect', { class: name, x, y, width: Math.max(0.3, width), height }, shape('title', {}, said))

const saidOf = ({ kind, what, times, ms, besideMs, at }: PartShown): string => `${kindNames[kind]}: ${what}, ${times} ×, ${formatMs(ms)}${besideMs > 0 ? `, ${formatMs(besideMs)} of it beside computation` : ''}${at === null ? '' : `; ${at}`}`

/** What the host takes, beside the turns of loops. */
const hostOf = ({ parts, overheadMs }: PredictedShown): number => Math.max(0, overheadMs - parts.filter(p => p.kind === 'turn').reduce((n, p) => n + p.ms, 0))

/** What follows each other: bars on their lanes, a collective that nothing waits for below what goes on meanwhile. */
function lanes(predicted: PredictedShown, x: (ms: number) => number): Shape[] {
  const drawn: Shape[] = []
  let now = 0
  // What goes on beside is drawn where the program comes to it, and takes no time of its own.
  for (const p of predicted.parts) {
    if (p.ms > 0) drawn.push(bar(x(now), p.kind === 'collective' ? 90 : 40, x(now + p.ms) - x(now), 36, `of-${p.kind}`, saidOf(p)))
    now += p.ms - p.besideMs
  }
  const rest = hostOf(predicted)
  if (predicted.parts.length > 0) drawn.push(bar(x(now), 40, x(now + rest) - x(now), 36, 'idle', `the host: ${formatMs(rest)}`))
  return drawn
}

function stages(turns: readonly TurnShown[], count: number, top: number, left: number, width: number): Shape[] {
  const step = width / Math.max(1, turns.length)
  return Array.from({ length: count }, (_, s) => [
    text(left - 8, top + 22 * s + 13, `stage ${s}`, { anchor: 'end' }),
    ...turns.flatMap(({ forward, backward }, t) => {
      const x = left + t * step
      const [f, b] = [forward[s] ?? null, backward[s] ?? null]
      const [y, half] = [top + 22 * s, f !== null && b !== null]
      return [
        ...(f === null ? [] : [bar(x, y, step - 0.5, half ? 9 : 18, 'of-product', `microbatch ${f} forward`)]),
        ...(b === null ? [] : [bar(x, half ? y + 9 : y, step - 0.5, half ? 9 : 18, 'back', `microbatch ${b} back`)]),
        ...(f === null && b === null ? [bar(x, y, step - 0.5, 18, 'idle', 'idle')] : []),
      ]
    }),
  ]).flat()
}

export interface TimelineOptions { readonly width?: number }

/** Undefined where no machine was asked for. */
export function timelinePicture({ name, plan: { devices }, predicted }: Pick<PagePlan, 'name' | 'plan' | 'predicted'>, { width = 1000 }: TimelineOptions = {}): Picture | undefined {
  if (predicted === undefined) return undefined
  const { machine, stepMs, parts, overheadMs, turns } = predicted
  const [left, right] = [82, width - 20]
  const total = Math.max(stepMs, parts.reduce((n, p) => n + p.ms - p.besideMs, 0) + overheadMs) * 1.001
  const x = (ms: number): number => left + (right - left) * ms / total
  const count = Math.max(0, ...(turns ?? []).map(t => Math.max(t.forward.length, t.backward.length)))
  const named = [...kinds.map(kind => [`of-${kind}`, kindNames[kind]] as const), ['idle', 'the host'] as const]
  const legend = named.flatMap(([of, words], i) => {
    const at = left + Math.min(130, (right - left) / named.length) * i
    return [shape('rect', { class: of, x: at, y: 172, width: 12, height: 12 }), text(at + 18, 182, words)]
  })
  const title = `${name} on ${devices} device${devices === 1 ? '' : 's'} of ${machine}: a step takes ${formatMs(stepMs)}`
  return {
    width, height: 200 + (count === 0 ? 0 : 40 + 22 * count), title, shapes: [
      text(12, 24, title, { class: 'heading' }), text(left - 8, 62, 'computed', { anchor: 'end' }), text(left - 8, 112, 'sent', { anchor: 'end' }), ...lanes(predicted, x),
      shape('path', { class: 'strong', d: `M${left} 130H${right}` }), ...ticks(total).flatMap(t => [shape('path', { class: 'strong', d: `M${Math.round(x(t))} 130V136` }), text(x(t), 152, formatMs(t), { anchor: 'middle', class: 'small muted' })]), ...legend,
      ...(turns === null ? [] : [text(left, 222, 'a pipeline: microbatches forward (blue) and back (green), and who is idle (grey)', { class: 'heading' }), ...stages(turns, count, 232, left, right - left)]),
    ],
  }
}
