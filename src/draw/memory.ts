/** Memory over a step as a picture: what rests, and what comes and goes, by the phase that made it; at the peak, who owns it. */
import { formatBytes } from '../core/quantities.ts'
import type { MemoryShown, PagePlan, Phase, SpanShown } from '../train/pictured-shape.ts'
import { fitted, shape, text, type Picture, type Shape } from './svg.ts'

const phases: readonly Phase[] = ['forward', 'backward', 'update']
const made: { readonly [P in Phase]: string } = { forward: 'made on the way forward', backward: 'made on the way back', update: 'made by the update' }

/** Bytes of values by the phase that made them, at each moment. */
export interface Curve { readonly [phase: string]: readonly number[] }

export function curveOf({ moments, spans, makers }: Pick<MemoryShown, 'moments' | 'spans' | 'makers'>): Curve {
  const curve: { [P in Phase]: number[] } = { forward: [], backward: [], update: [] }
  for (const phase of phases) {
    const steps = new Float64Array(moments.length + 1)
    for (const { from, to, bytes, maker } of spans) {
      if (makers[maker]?.phase !== phase) continue
      steps[from] = (steps[from] ?? 0) + bytes
      steps[to + 1] = (steps[to + 1] ?? 0) - bytes
    }
    let sum = 0
    curve[phase] = Array.from(moments, (_, t) => (sum += steps[t] ?? 0))
  }
  return curve
}
export const totalAt = (curve: Curve, t: number): number => phases.reduce((n, p) => n + (curve[p]?.[t] ?? 0), 0)

/** The moment when most lies in memory. */
export function peakOf(curve: Curve): number {
  const [length, at] = [curve['forward']?.length ?? 0, (t: number): number => totalAt(curve, t)]
  let peak = 0
  for (let t = 1; t < length; t++) if (at(t) > at(peak)) peak = t
  return peak
}

export interface Owner { readonly op: string; readonly type: string; readonly phase: Phase; readonly at: string | null; readonly bytes: number; readonly count: number }
/** What lies in memory at a moment, values that one op makes together, the largest first. */
export function ownersAt({ spans, makers }: Pick<MemoryShown, 'spans' | 'makers'>, t: number): Owner[] {
  const sums = new Map<number, { bytes: number; count: number }>()
  for (const s of spans.filter((x: SpanShown) => x.from <= t && t <= x.to)) {
    const sum = sums.get(s.maker) ?? { bytes: 0, count: 0 }
    sums.set(s.maker, { bytes: sum.bytes + s.bytes, count: sum.count + 1 })
  }
  return [...sums].flatMap(([maker, sum]) => { const m = makers[maker]; return m === undefined ? [] : [{ ...m, ...sum }] }).sort((a, b) => b.bytes - a.bytes)
}

export interface MemoryOptions {
  /** A moment that is pointed at, instead of the peak. */
  readonly moment?: number | undefined
  readonly width?: number
  /** How many owners are named. */
  readonly owners?: number
}

const ticksTo = (top: number): number[] => {
  const step = [1, 2, 5, 10].map(f => f * 10 ** Math.floor(Math.log10(Math.max(1, top / 5)))).find(s => top / s <= 6) ?? top
  return Array.from({ length: Math.floor(top / step) + 1 }, (_, i) => i * step)
}

/** How `memoryPicture` places moments: of a width, where a moment lies, and which one lies at a place. */
export const momentScale = (width: number, moments: number): { readonly left: number; readonly x: (t: number) => number; readonly at: (x: number) => number } => {
  const [left, right] = [72, width - 12]
  const step = (right - left) / Math.max(1, moments)
  return { left, x: t => left + t * step, at: x => Math.max(0, Math.min(moments - 1, Math.floor((x - left) / step))) }
}

export function memoryPicture({ memory, name }: Pick<PagePlan, 'memory' | 'name'>, { moment, width = 760, owners = 6 }: MemoryOptions = {}): Picture {
  const curve = curveOf(memory)
  const peak = peakOf(curve)
  const pointed = moment ?? peak
  const rests: readonly (readonly [string, number])[] = [['parameters', memory.parameters], ['state', memory.state], ['rest', memory.rest]]
  const rest = rests.reduce((n, [, bytes]) => n + bytes, 0)
  const top = (rest + Math.max(memory.heap, totalAt(curve, peak))) * 1.06 || 1
  const [y0, height] = [40, 220]
  const { left, x } = momentScale(width, memory.moments.length)
  const right = x(memory.moments.length)
  const y = (bytes: number): number => y0 + height * (1 - bytes / top)
  const shapes: Shape[] = [text(12, 22, `${name}: memory of one device over a step`, { class: 'heading' })]
  for (const t of ticksTo(top)) shapes.push(shape('path', { class: 'rule', d: `M${left} ${r(y(t))}H${r(right)}` }), text(left - 6, y(t) + 4, formatBytes(t), { anchor: 'end', class: 'small muted' }))
  let below = 0
  for (const [of, bytes] of rests) {
    shapes.push(shape('rect', { class: of, x: left, y: y(below + bytes), width: right - left, height: Math.max(0, y(below) - y(below + bytes)) }, shape('title', {}, `${label(of)}: ${formatBytes(bytes)}, all the time`)))
    below += bytes
  }
  let under = memory.moments.map(() => rest)
  for (const phase of phases) {
    const over = under.map((b, t) => b + (curve[phase]?.[t] ?? 0))
    if (over.some((o, t) => o !== under[t])) shapes.push(shape('path', { class: phase, d: area(over.map(y), under.map(y), x) }, shape('title', {}, made[phase])))
    under = over
  }
  shapes.push(shape('path', { class: 'strong dashed', d: `M${left} ${r(y(rest + memory.heap))}H${r(right)}` }), text(right, y(rest + memory.heap) - 5, `${formatBytes(rest + memory.heap)} with gaps`, { anchor: 'end', class: 'small' }))
  const [px, total] = [x(pointed + 0.5), rest + totalAt(curve, pointed)]
  shapes.push(shape('path', { class: 'strong', d: `M${r(px)} ${r(y(total))}V${y0 + height}` }), shape('circle', { class: 'chosen', cx: px, cy: y(total), r: 3 }))
  // Which phase the program is in.
  let [from, strip] = [0, y0 + height + 4]
  memory.moments.forEach((phase, t) => {
    if (phase === memory.moments[t + 1]) return
    shapes.push(shape('rect', { class: phase, x: x(from), y: strip, width: x(t + 1) - x(from), height: 6 }, shape('title', {}, phase)))
    from = t + 1
  })
  strip += 24
  let lx = left
  for (const [of, words] of [...rests.map(([n]) => [n, label(n)] as const), ...phases.map(p => [p, made[p]] as const)]) {
    if (lx + 14 + words.length * 6.2 > right) [lx, strip] = [left, strip + 16]
    shapes.push(shape('rect', { class: of, x: lx, y: strip - 9, width: 10, height: 10, rx: 2 }), text(lx + 14, strip, words, { class: 'small muted' }))
    lx += 14 + words.length * 5.4 + 14
  }
  let line = strip + 26
  const list = ownersAt(memory, pointed)
  shapes.push(text(12, line, `${moment === undefined || moment === peak ? 'At the peak' : `At moment ${pointed}`}, beside what rests: ${formatBytes(totalAt(curve, pointed))}`, { class: 'heading' }))
  for (const o of list.slice(0, owners)) {
    line += 17
    const [words, place] = [`${o.op} : ${o.type}${o.count > 1 ? ` (${o.count} of them)` : ''}`, o.at?.replace(/:\d+$/, '') ?? '']
    const room = width - 12 - 108 - place.length * 5.8
    shapes.push(shape('rect', { class: o.phase, x: 12, y: line - 9, width: 10, height: 10, rx: 2 }), text(94, line, formatBytes(o.bytes), { anchor: 'end' }), text(104, line, fitted(words, room)), text(width - 12, line, place, { anchor: 'end', class: 'small muted' }))
  }
  if (list.length > owners) shapes.push(text(104, line += 17, `and ${list.length - owners} more, ${formatBytes(list.slice(owners).reduce((n, o) => n + o.bytes, 0))}`, { class: 'muted' }))
  return { width, height: line + 14, title: `${name}: memory of one device over a step, ${formatBytes(rest + totalAt(curve, peak))} at the peak`, shapes }
}

const labels: { readonly [of: string]: string } = { parameters: 'parameters', state: 'optimizer and step', rest: 'batch and results' }
const label = (of: string): string => labels[of] ?? of
const r = (n: number): number => Math.round(n * 10) / 10

/** An area of steps: moments of the same height are one. */
function area(upper: readonly number[], lower: readonly number[], x: (t: number) => number): string {
  const edge = (of: readonly number[], order: readonly number[], back: boolean): string => order.filter((t, i) => i === 0 || of[t] !== of[order[i - 1] ?? 0] || i === order.length - 1)
    .map(t => (back ? `H${r(x(t + 1))}V${r(of[t] ?? 0)}` : `H${r(x(t))}V${r(of[t] ?? 0)}`)).join('')
  const forth = upper.map((_, t) => t)
  return `M${r(x(0))} ${r(lower[0] ?? 0)}${edge(upper, forth, false)}H${r(x(upper.length))}V${r(lower.at(-1) ?? 0)}${edge(lower, [...forth].reverse(), true)}H${r(x(0))}Z`
}
