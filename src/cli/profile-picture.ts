/** A profile as text: the step, what kinds of work it is made of, and each part by the user's line, the dearest first. */
import { labelOf } from '../train/profile-trace.ts'
import type { Profile, ProfiledPart } from '../train/profile.ts'
import { formatBytes, formatFlops, formatInteger } from './format.ts'

/** Always in the same unit, so that a column can be compared at a glance. */
const ms = (value: number): string => `${value < 999.5 ? value.toPrecision(3) : formatInteger(value)} ms`
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
const perSecond = (amount: number, millis: number, format: (n: number) => string): string => (amount === 0 || millis === 0 ? '' : `${format(Math.round(amount / millis * 1000))}/s`)

/** What stands in one row: parts of one line that do the same, since XLA names each apart. */
export interface ProfileRow { readonly line: string; readonly also: number; readonly what: string; readonly ms: number; readonly times: number; readonly flops: number; readonly bytes: number }

export function rowsOf(parts: readonly ProfiledPart[]): ProfileRow[] {
  const rows = new Map<string, ProfileRow>()
  for (const part of parts) {
    const [line = ''] = part.lines
    const what = labelOf(part)
    const key = `${line} ${what}`
    const before = rows.get(key)
    rows.set(key, {
      line, what, also: Math.max(before?.also ?? 0, part.lines.length - 1), ms: (before?.ms ?? 0) + part.ms, times: (before?.times ?? 0) + part.times,
      flops: (before?.flops ?? 0) + part.flops * part.times, bytes: (before?.bytes ?? 0) + part.bytes * part.times,
    })
  }
  return [...rows.values()].sort((a, b) => b.ms - a.ms)
}

const lineText = ({ line, also }: ProfileRow): string => (line === '' ? '(no line)' : also > 0 ? `${line} +${also}` : line)

/** Words to the left, numbers to the right; `left` are the columns of words. */
function columns(rows: readonly (readonly string[])[], left: readonly number[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map(r => (r[i] ?? '').length)))
  return rows.map(r => `  ${r.map((cell, i) => (left.includes(i) ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ').trimEnd()}`)
}

/** @param most rows of the table of parts */
export function drawProfile(name: string, profile: Profile, most: number): string[] {
  const { mesh, devices, steps, stepMs, tracedMs, flops, peak, busyMs, hostMs, parts } = profile
  const meshText = Object.entries(mesh).map(([axis, size]) => `${axis} ${size}`).join(' × ') || 'no axes'
  const speed = flops / stepMs * 1000
  const kinds = [...new Set(parts.map(p => p.kind))].map(kind => {
    const own = parts.filter(p => p.kind === kind)
    const sum = (of: (p: ProfiledPart) => number): number => own.reduce((n, p) => n + of(p), 0)
    return { kind, ms: sum(p => p.ms), times: sum(p => p.times), flops: sum(p => p.flops * p.times), bytes: sum(p => p.bytes * p.times) }
  }).sort((a, b) => b.ms - a.ms)
  const inParts = kinds.reduce((n, k) => n + k.ms, 0)
  const rows = rowsOf(parts)
  const shown = rows.slice(0, most)
  const rest = rows.slice(most)
  return [
    `${name}: a training step on ${meshText}, ${devices} device${devices === 1 ? '' : 's'}, median of ${steps}`, '',
    ...columns([
      ['as it is trained', ms(stepMs), ''], ['with clocks in it', ms(tracedMs), `${(tracedMs / stepMs).toFixed(2)} times that; what follows is of this one`],
      ['the model\'s products', flops === 0 ? '' : formatFlops(flops), flops === 0 ? '' : `${formatFlops(speed)}/s${peak === undefined ? '' : `, ${percent(speed / peak)} of the best matrix multiplication here`}`],
    ], [0, 2]), '',
    'on each device, of a step', ...columns([
      ['kind of work', 'time', 'share', 'times', 'speed', 'memory'],
      ...kinds.map(k => [k.kind, ms(k.ms), percent(k.ms / tracedMs), formatInteger(k.times), perSecond(k.flops, k.ms, formatFlops), perSecond(k.bytes, k.ms, formatBytes)]),
      ...(inParts - busyMs > 0.005 * tracedMs ? [['at the same time', ms(busyMs - inParts), percent((busyMs - inParts) / tracedMs), '', '', '']] : []),
      ['between parts', ms(Math.max(0, tracedMs - busyMs - hostMs)), percent(Math.max(0, tracedMs - busyMs - hostMs) / tracedMs), '', '', ''],
      ['before the first, after the last', ms(hostMs), percent(hostMs / tracedMs), '', '', ''],
    ], [0]), '',
    'by line', ...columns([
      ['time', 'share', 'times', 'speed', 'memory', 'what', 'line'],
      ...shown.map(r => [ms(r.ms), percent(r.ms / tracedMs), formatInteger(r.times), perSecond(r.flops, r.ms, formatFlops), perSecond(r.bytes, r.ms, formatBytes), r.what, lineText(r)]),
      ...(rest.length === 0 ? [] : [[ms(rest.reduce((n, r) => n + r.ms, 0)), percent(rest.reduce((n, r) => n + r.ms, 0) / tracedMs), formatInteger(rest.reduce((n, r) => n + r.times, 0)), '', '', `${rest.length} more`, '--top all shows them']]),
    ], [5, 6]),
  ]
}
