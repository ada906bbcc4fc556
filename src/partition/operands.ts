/** What ops ask of their operands: reduced, laid out as they are computed with, laid out alike. */
import { sameAxes, sameSharding, type Sharding } from '../core/layout.ts'
import { operand, shapeOf } from '../graph/node.ts'
import { reduced, type Context, type Value } from './context.ts'
import { relayout } from './moves/relayout.ts'

const axesOf = (sharding: Sharding, name: string): readonly string[] => sharding.get(name) ?? []

/** The value as it is computed with: reduced, and where it rests otherwise, moved to where `layout` has it. */
export const ready = (c: Context, v: Value): Value => (v.resting === undefined ? landed(c, v) : relayout(c, v, c.target(v.shape)))
/** The value reduced: one that lies off the rules by a reduce-scatter to where they want it, if they split it over the axes of its addends. */
export function landed(c: Context, v: Value): Value {
  if (v.strayed === undefined || v.partial === undefined) return reduced(c, v)
  const home = c.target(v.shape)
  return [...home.values()].flat().some(a => v.partial?.axes.includes(a)) ? relayout(c, v, home) : reduced(c, v)
}
/** Like `ready`, but what is partial stays so. */
export const computable = (c: Context, v: Value): Value => (v.resting === undefined ? v : ready(c, v))

/**
 * Several values of overlapping dims, each shared dim laid out alike in all. Where they differ, broadcasts give way to what
 * was computed; of an op that works element by element (`elementwise`) the ones that are cut less give way to those that are cut
 * more, which costs nothing; and failing that the rules decide.
 */
export function unified(c: Context, values: readonly Value[], elementwise = false): { readonly values: Value[]; readonly sharding: Sharding } {
  const sharding = agreed(c, values, elementwise)
  return { values: values.map(v => relayoutKeepingPartial(c, v, sharding)), sharding }
}

/** The layout that they come to. */
export function agreed(c: Context, values: readonly Value[], elementwise = false): Sharding {
  const [only] = values
  if (only !== undefined && values.every(v => v === only || alike(v, only)) && inOrder(only)) return only.sharding
  // One that only reorders dims was computed as what it reorders; elementwise the others are cut as it is.
  const firm = values.filter(v => v.node.op !== 'broadcast' || (elementwise && shapeOf(operand(v.node, 0)).length === shapeOf(v.node).length))
  const all = values.flatMap(v => v.shape)
  const shape = all.filter((d, i) => all.findIndex(e => e.name === d.name) === i)
  const sharding = agreement(firm.length > 0 ? firm : values) ?? (elementwise ? finest(firm) : undefined) ?? c.target(shape)
  // A dim that only a broadcast has keeps that broadcast's layout, unless its axes are taken.
  const full = new Map(sharding)
  const taken = new Set([...sharding.values()].flat())
  for (const v of values) {
    for (const d of v.shape) {
      const axes = axesOf(v.sharding, d.name)
      if (axes.length === 0 || firm.some(f => f.shape.some(e => e.name === d.name)) || axes.some(a => taken.has(a))) continue
      full.set(d.name, axes)
      for (const a of axes) taken.add(a)
    }
  }
  return full
}

/** To the part of a layout that the dims of a value have. */
function relayoutKeepingPartial(c: Context, v: Value, all: Sharding): Value {
  if (sameSharding(v.sharding, all)) return v
  const to = new Map([...all].filter(([name]) => v.shape.some(d => d.name === name)))
  return sameSharding(v.sharding, to) ? v : relayout(c, v, to)
}

/** Whether two values have the same dims, whatever their order, and lie alike. Those of one value lie on axes of their own. */
const alike = (a: Value, b: Value): boolean => a.shape.length === b.shape.length && sameSharding(a.sharding, b.sharding) && a.shape.every((d, i) => d.name === b.shape[i]?.name || b.shape.some(e => e.name === d.name))

/** Whether a value's layout names dims in the order of its shape, as what is agreed on does. */
function inOrder({ shape, sharding }: Value): boolean {
  if (sharding.size < 2) return true
  let at = -1
  for (const name of sharding.keys()) {
    const next = shape.findIndex(d => d.name === name)
    if (next < at) return false
    at = next
  }
  return true
}

/** The layout that all come to by taking their own parts: along each dim the axes of one begin with those of every other. */
export function finest(values: readonly Pick<Value, 'shape' | 'sharding'>[]): Sharding | undefined {
  const sharding = new Map<string, readonly string[]>()
  for (const v of values) {
    for (const d of v.shape) {
      const [axes, others] = [axesOf(v.sharding, d.name), axesOf(sharding, d.name)]
      const [less, more] = axes.length < others.length ? [axes, others] : [others, axes]
      if (!sameAxes(less, more.slice(0, less.length))) return undefined
      if (more.length > 0) sharding.set(d.name, more)
    }
  }
  const used = [...sharding.values()].flat()
  return new Set(used).size === used.length ? sharding : undefined
}

function agreement(values: readonly Value[]): Sharding | undefined {
  const sharding = new Map<string, readonly string[]>()
  const seen = new Set<string>()
  for (const v of values) {
    for (const d of v.shape) {
      const axes = axesOf(v.sharding, d.name)
      if (seen.has(d.name) && !sameAxes(axes, axesOf(sharding, d.name))) return undefined
      seen.add(d.name)
      if (axes.length > 0) sharding.set(d.name, axes)
    }
  }
  const used = [...sharding.values()].flat()
  return new Set(used).size === used.length ? sharding : undefined
}
