/** A profile as a trace file, which chrome://tracing and Perfetto (ui.perfetto.dev) open: a track a device, the host's steps above them. */
import type { Profile, ProfiledPart } from './profile.ts'

/** What a part is called where there is little room: what it does, and along which axes a collective goes. */
export function labelOf({ op, inside, axes, target }: Pick<ProfiledPart, 'op' | 'inside' | 'axes' | 'target'>): string {
  if (op === 'custom-call') return target
  if (axes.length > 0) return `${op} along ${axes.join(', ')}`
  return inside.length === 0 ? op : inside.slice(0, 4).join(', ') + (inside.length > 4 ? ', …' : '')
}

interface Event { readonly name: string; readonly ph: 'X' | 'M'; readonly pid: number; readonly tid: number; readonly ts?: number; readonly dur?: number; readonly cat?: string; readonly args: object }

/** Parts that run at the same time on a device lie on lanes of its track, since spans of one lane must not cross. */
export function traceOf({ recorded, parts, devices }: Pick<Profile, 'recorded' | 'parts' | 'devices'>): { readonly traceEvents: readonly Event[]; readonly displayTimeUnit: 'ms' } {
  const start = Math.min(...recorded.map(r => r.from))
  const us = (ns: number): number => Math.round(ns - start) / 1000
  const named = (pid: number, name: string): Event => ({ name: 'process_name', ph: 'M', pid, tid: 0, args: { name } })
  const byId = new Map(parts.map(p => [p.id, p]))
  const traceEvents: Event[] = [named(0, 'host'), ...Array.from({ length: devices }, (_, d) => named(d + 1, `device ${d}`))]
  for (const [step, { from, to, spans }] of recorded.entries()) {
    traceEvents.push({ name: `step ${step}`, ph: 'X', cat: 'host', pid: 0, tid: 0, ts: us(from), dur: (to - from) / 1000, args: {} })
    for (let device = 0; device < devices; device++) {
      const lanes: number[] = []
      for (const span of spans.filter(s => s.device === device).sort((a, b) => a.from - b.from)) {
        const part = byId.get(span.part)
        if (part === undefined) continue
        const free = lanes.findIndex(until => until <= span.from)
        const lane = free < 0 ? lanes.length : free
        lanes[lane] = span.to
        traceEvents.push({
          name: labelOf(part), ph: 'X', cat: part.kind, pid: device + 1, tid: lane, ts: us(span.from), dur: (span.to - span.from) / 1000,
          args: { line: part.lines[0] ?? '', ...part.lines.length > 1 ? { 'fused from': part.lines.slice(1).join(' ') } : {}, part: part.name, flops: part.flops, bytes: part.bytes, shape: part.sizes.join('×') },
        })
      }
    }
  }
  return { traceEvents, displayTimeUnit: 'ms' }
}
