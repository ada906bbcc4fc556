/** A dim made whole on every device, as ops that work along it need it. */
import type { Split } from '../../core/layout.ts'
import { partsOf } from '../../core/mesh.ts'
import type { Context, Value } from '../context.ts'
import { relayout } from './relayout.ts'

/**
 * How a value lies with `dim` whole: its axes on the largest other dim that they divide, which takes an all-to-all, or on none,
 * which takes an all-gather of every part.
 */
export function vacated(c: Context, v: Pick<Value, 'shape' | 'split'>, dim: string, fixed: readonly string[] = []): Split {
  const axes = v.split.get(dim)
  if (axes === undefined) return v.split
  const split = new Map(v.split)
  split.delete(dim)
  const localSize = (d: { readonly name: string; readonly size: number }): number => d.size / partsOf(c.mesh, v.split.get(d.name) ?? [])
  const [widest] = v.shape.filter(d => d.name !== dim && !fixed.includes(d.name) && localSize(d) % partsOf(c.mesh, axes) === 0)
    .sort((a, b) => localSize(b) - localSize(a))
  if (widest !== undefined) split.set(widest.name, [...(v.split.get(widest.name) ?? []), ...axes])
  return split
}

/** The value with `dim` whole on every device; its addends reduced. Dims in `fixed` do not take its axes over. */
export const vacate = (c: Context, v: Value, dim: string, fixed: readonly string[] = []): Value => relayout(c, v, vacated(c, v, dim, fixed))

/** The value with these dims as the rules want them, where their axes are free; its others as they lie. */
export function settle(c: Context, v: Value, dims: readonly string[]): Value {
  const want = c.target(v.shape)
  const split = new Map([...v.split].filter(([name]) => !dims.includes(name)))
  for (const name of dims) {
    const axes = want.get(name)
    const taken = new Set([...split.values()].flat())
    if (axes !== undefined && axes.every(a => !taken.has(a))) split.set(name, axes)
  }
  const same = split.size === v.split.size && [...split].every(([name, axes]) => axes.join() === v.split.get(name)?.join())
  return same ? v : relayout(c, v, split)
}

/** After a dim was vacated: back to the layout that the rules give the result. */
export const restored = (c: Context, v: Value): Value => relayout(c, v, c.target(v.shape))
