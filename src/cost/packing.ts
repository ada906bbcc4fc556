/** How much memory spans need that lie beside each other where they overlap in time. */
import type { Lent, Span } from './timeline.ts'

const overlaps = (a: Omit<Span, 'bytes'>, b: Omit<Span, 'bytes'>): boolean => a.from <= b.to && b.from <= a.to

/** Largest first, each in the smallest gap that holds it, as XLA's heap does. */
export function packed(spans: readonly Span[]): number {
  const placed: (Span & { readonly offset: number })[] = []
  let size = 0
  for (const s of [...spans].sort((a, b) => b.bytes - a.bytes || a.from - b.from)) {
    if (s.bytes === 0) continue
    const beside = placed.filter(p => overlaps(p, s)).sort((a, b) => a.offset - b.offset)
    let [end, best, gap] = [0, -1, Infinity]
    for (const p of beside) {
      const room = p.offset - end
      if (room >= s.bytes && room < gap) [best, gap] = [end, room]
      end = Math.max(end, p.offset + p.bytes)
    }
    const offset = best >= 0 ? best : end
    placed.push({ ...s, offset })
    size = Math.max(size, offset + s.bytes)
  }
  return size
}

/** The spans that find no room in what is lent. */
export function without(spans: readonly Span[], lent: readonly Lent[]): Span[] {
  const free = [...lent].sort((a, b) => a.bytes - b.bytes).map(l => ({ bytes: l.bytes, taken: [...l.taken] }))
  return [...spans].sort((a, b) => b.bytes - a.bytes).filter(s => {
    const room = free.find(l => l.bytes >= s.bytes && !l.taken.some(t => overlaps(t, s)))
    room?.taken.push(s)
    return room === undefined
  })
}
