/** How much memory spans need that lie beside each other where they overlap in time. */
import type { Span } from './timeline.ts'

type Time = Pick<Span, 'from' | 'to'>
type Sized = Time & Pick<Span, 'bytes'>
/** Memory of the caller's: nothing else may lie there while it is `taken`. */
export interface Lent { readonly bytes: number; readonly taken: readonly Time[] }

const overlap = (a: Time, b: Time): boolean => a.from <= b.to && b.from <= a.to

/** Bytes of a heap in which the largest are placed first, each in the smallest gap that holds it, as XLA does. */
export function heapSize(spans: readonly Sized[]): number {
  const placed: (Sized & { readonly offset: number })[] = []
  for (const s of [...spans].sort((a, b) => b.bytes - a.bytes || a.from - b.from)) {
    let [end, best, least] = [0, -1, Infinity]
    for (const p of placed.filter(other => overlap(other, s)).sort((a, b) => a.offset - b.offset)) {
      const gap = p.offset - end
      if (gap >= s.bytes && gap < least) [best, least] = [end, gap]
      end = Math.max(end, p.offset + p.bytes)
    }
    placed.push({ bytes: s.bytes, from: s.from, to: s.to, offset: best >= 0 ? best : end })
  }
  return placed.reduce((size, p) => Math.max(size, p.offset + p.bytes), 0)
}

/** Those for which there is no room in what is lent: the largest choose first, each the least that holds it. */
export function without<S extends Sized>(spans: readonly S[], lent: readonly Lent[]): S[] {
  const rooms = [...lent].sort((a, b) => a.bytes - b.bytes).map(l => ({ bytes: l.bytes, taken: [...l.taken] }))
  return [...spans].sort((a, b) => b.bytes - a.bytes).filter(s => {
    const room = rooms.find(l => l.bytes >= s.bytes && !l.taken.some(t => overlap(t, s)))
    room?.taken.push(s)
    return room === undefined
  })
}

/** Those that lie in memory at the moment when most does, the first of several. */
export function atPeak<S extends Sized>(spans: readonly S[]): S[] {
  let [most, found]: [number, S[]] = [0, []]
  for (const t of [...new Set(spans.map(s => s.from))].sort((a, b) => a - b)) {
    const here = spans.filter(s => s.from <= t && t <= s.to)
    const bytes = here.reduce((n, s) => n + s.bytes, 0)
    if (bytes > most) [most, found] = [bytes, here]
  }
  return found
}
