/** Two plans beside each other as a picture: what a device holds, and what enters collectives, now and then. */
import { formatBytes, formatMs } from '../core/quantities.ts'
import type { PlanShown } from '../train/pictured-shape.ts'
import { shape, text, type Picture, type Shape } from './svg.ts'

type Bands = readonly (readonly [name: string, of: number])[]
const memoryOf = ({ perDevice: { parameterBytes, stateBytes, activationBytes, peakBytes } }: PlanShown): Bands =>
  [['parameters', parameterBytes], ['state', stateBytes], ['activations', activationBytes], ['rest', peakBytes - parameterBytes - stateBytes - activationBytes]]
/** Bytes that enter collectives of a step on one device, by their kinds. */
export function sentBy({ collectives }: Pick<PlanShown, 'collectives'>): Bands {
  const sums = new Map<string, number>()
  for (const c of collectives) sums.set(c.kind, (sums.get(c.kind) ?? 0) + c.bytes * c.count)
  return [...sums].sort((a, b) => a[0].localeCompare(b[0]))
}
const total = (bands: Bands): number => bands.reduce((n, [, of]) => n + of, 0)

export interface Compared { readonly words: string; readonly plan: PlanShown; readonly stepMs?: number | undefined }

export function comparePicture(all: readonly Compared[], width = 640): Picture {
  const shapes: Shape[] = []
  const groups: { readonly title: string; readonly of: (c: Compared) => Bands; readonly format: (n: number) => string }[] = [
    { title: 'memory of one device at the peak', of: c => memoryOf(c.plan), format: formatBytes },
    { title: 'bytes that enter collectives on one device, a step', of: c => sentBy(c.plan), format: formatBytes },
    ...(all.every(c => c.stepMs !== undefined) ? [{ title: 'predicted time of a step', of: (c: Compared): Bands => [['rest', c.stepMs ?? 0]], format: formatMs }] : []),
  ]
  const left = 12 + Math.max(...all.map(c => c.words.length)) * 6.8 + 8
  const room = width - left - 84
  let y = 8
  for (const { title, of, format } of groups) {
    const most = Math.max(1, ...all.map(c => total(of(c))))
    shapes.push(text(12, y += 14, title, { class: 'heading' }))
    for (const c of all) {
      let x = left
      y += 6
      shapes.push(text(12, y + 13, c.words, { class: 'muted' }))
      for (const [name, bytes] of of(c)) {
        const wide = room * bytes / most
        shapes.push(shape('rect', { class: name, x, y, width: wide, height: 18 }, shape('title', {}, `${name}: ${format(bytes)}`)))
        x += wide
      }
      shapes.push(text(x + 6, y + 13, format(total(of(c)))))
      y += 18
    }
    y += 10
  }
  return { width, height: y, title: `${all.map(c => c.words).join(' and ')}: ${all.map(c => formatBytes(total(memoryOf(c.plan)))).join(' and ')} at the peak, ${all.map(c => formatBytes(total(sentBy(c.plan)))).join(' and ')} enter collectives`, shapes }
}
