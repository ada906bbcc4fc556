/** A dim freed of its axes, so that every device has all of it, as ops that work along it need it. */
import { isHidden } from '../../core/dim.ts'
import type { Sharding } from '../../core/layout.ts'
import { partsOf } from '../../core/mesh.ts'
import type { Context, Value } from '../context.ts'
import { relayout } from './relayout.ts'

/**
 * How a value lies with `dim` not split: its axes on the largest other dim that they divide, which takes an all-to-all, or on none,
 * which takes an all-gather of every part.
 */
export function vacated(c: Context, v: Pick<Value, 'shape' | 'sharding'>, dim: string, fixed: readonly string[] = []): Sharding {
  const axes = v.sharding.get(dim)
  if (axes === undefined) return v.sharding
  const sharding = new Map(v.sharding)
  sharding.delete(dim)
  const localSize = (d: { readonly name: string; readonly size: number }): number => d.size / partsOf(c.mesh, v.sharding.get(d.name) ?? [])
  const [widest] = v.shape.filter(d => d.name !== dim && !fixed.includes(d.name) && localSize(d) % partsOf(c.mesh, axes) === 0)
    .sort((a, b) => localSize(b) - localSize(a))
  if (widest !== undefined) sharding.set(widest.name, [...(v.sharding.get(widest.name) ?? []), ...axes])
  return sharding
}

/** The value with `dim` not split, its addends reduced. Dims in `fixed` do not take its axes over. */
export const vacate = (c: Context, v: Value, dim: string, fixed: readonly string[] = []): Value => relayout(c, v, vacated(c, v, dim, fixed))

/** The value with these dims as the rules want them, where their axes are free; its others as they lie. */
export function settle(c: Context, v: Value, given: readonly string[]): Value {
  // Of dims that only an op knows the rules want nothing.
  const dims = given.filter(name => !isHidden(name))
  const want = c.target(v.shape)
  const sharding = new Map([...v.sharding].filter(([name]) => !dims.includes(name)))
  for (const name of dims) {
    const axes = want.get(name)
    const taken = new Set([...sharding.values()].flat())
    const held = v.sharding.get(name)
    if (axes !== undefined && axes.every(a => !taken.has(a))) sharding.set(name, axes)
    else if (axes !== undefined && held?.every(a => !taken.has(a)) === true) sharding.set(name, held)
  }
  const same = sharding.size === v.sharding.size && [...sharding].every(([name, axes]) => axes.join() === v.sharding.get(name)?.join())
  return same ? v : relayout(c, v, sharding)
}

/** The result of an op for which a dim was vacated, moved back to the layout that the rules give it. */
export const restored = (c: Context, v: Value): Value => relayout(c, v, c.target(v.shape))
