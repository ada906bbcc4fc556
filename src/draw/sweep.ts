/** Predictions for several values of a field as curves: the time of a step, and utilisation. */
import { formatMs } from '../core/quantities.ts'
import { ticks } from './ticks.ts'
import { shape, text, type Picture, type Shape } from './svg.ts'

export interface SweptShown { readonly value: string; readonly stepMs: number; readonly utilisation: number | null; readonly fits: boolean }

const [width, height, left, right, top, bottom] = [720, 380, 80, 80, 50, 60] as const

const curve = (points: readonly (readonly [x: number, y: number])[], name: string): Shape[] => [
  shape('polyline', { class: `curve ${name}`, points: points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(' ') }), ...points.map(([x, y]) => shape('circle', { class: name, cx: x, cy: y, r: 3 })),
]

/** Values stand beside each other, equally far. */
export function sweepPicture(name: string, machine: string, field: string, swept: readonly SweptShown[]): Picture {
  const x = (i: number): number => left + (width - left - right) * (swept.length < 2 ? 0.5 : i / (swept.length - 1))
  const y = (share: number): number => height - bottom - (height - top - bottom) * share
  const most = 1.05 * Math.max(...swept.map(s => s.stepMs))
  const best = 1.05 * Math.max(0.01, ...swept.map(s => s.utilisation ?? 0))
  return {
    width, height, title: `${name} on ${machine}: the time of a step, and utilisation, by ${field}`, shapes: [
      text(12, 24, `${name} on ${machine}: the time of a step (blue), utilisation (green), by ${field}`, { class: 'heading' }),
      shape('path', { class: 'strong', d: `M${left} ${y(1)}V${y(0)}H${width - right}V${y(1)}` }),
      ...ticks(most).map(t => text(left - 6, y(t / most) + 4, formatMs(t), { anchor: 'end', class: 'small muted' })), ...ticks(best).map(t => text(width - right + 6, y(t / best) + 4, `${(100 * t).toFixed(best < 0.05 ? 1 : 0)} %`, { class: 'small muted' })),
      ...swept.map((s, i) => text(x(i), height - bottom + 20, `${s.value}${s.fits ? '' : ' (too large)'}`, { anchor: 'middle' })), text(width / 2, height - 14, field, { anchor: 'middle' }),
      ...curve(swept.map((s, i) => [x(i), y(s.stepMs / most)] as const), 'of-product'), ...curve(swept.flatMap((s, i) => (s.utilisation === null ? [] : [[x(i), y(s.utilisation / best)] as const])), 'back'),
    ],
  }
}
