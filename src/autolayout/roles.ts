/** What an axis may be for: the dims that it can split together, by which dims meet in a tensor. */
import { isHidden } from '../core/dim.ts'
import type { Asked } from './legal.ts'

/** Which dims meet in a tensor: one axis cannot split both. */
export type Conflicts = ReadonlyMap<string, ReadonlySet<string>>

/** Of the dims named, by the tensors of these layouts. */
export function conflictsOf(asked: readonly Asked[], dims: readonly string[], layouts: readonly string[]): Conflicts {
  const found = new Map(dims.map(d => [d, new Set<string>()]))
  for (const { layout, shape } of asked) {
    if (!layouts.includes(layout)) continue
    const here = shape.map(d => d.name).filter(d => found.has(d) && !isHidden(d))
    for (const a of here) for (const b of here) if (a !== b) found.get(a)?.add(b)
  }
  return found
}

/** All sets of these dims, none of which meet, that no other dim of them can join (Bron and Kerbosch 1973). In the order of the dims. */
export function maximalSets(dims: readonly string[], conflicts: Conflicts): string[][] {
  const fits = (d: string, e: string): boolean => conflicts.get(d)?.has(e) !== true
  const found: string[][] = []
  const extend = (set: readonly string[], open: readonly string[], done: readonly string[]): void => {
    if (open.length === 0 && done.length === 0) { found.push([...set]); return }
    let [left, tried] = [[...open], [...done]]
    for (const d of open) {
      const joins = (e: string): boolean => e !== d && fits(d, e)
      extend([...set, d], left.filter(joins), tried.filter(joins))
      left = left.filter(e => e !== d)
      tried = [...tried, d]
    }
  }
  extend([], dims, [])
  return found.map(set => dims.filter(d => set.includes(d))).filter(set => set.length > 0)
}
