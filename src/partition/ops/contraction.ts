/** Partition rules: ops that sum over dims. */
import type { Sharding } from '../../core/layout.ts'
import type { Context, Value } from '../context.ts'
import { met, stayed, wherever } from '../meet.ts'
import { relayout } from '../moves/relayout.ts'
import { computable, landed, ready, unified } from '../operands.ts'
import { at, result } from './partitioner.ts'
import type { ContractionAttrs } from '../../graph/ops.ts'
import type { Partitioners } from './partitioner.ts'

const together = (c: Context, values: readonly Value[], over: readonly string[]): { readonly values: readonly Value[]; readonly sharding: Sharding } => {
  const sharding = stayed(c, values, over)
  if (sharding === undefined) return unified(c, values)
  return { values: values.map(v => relayout(c, v, new Map([...sharding].filter(([name]) => v.shape.some(d => d.name === name))))), sharding }
}

export const contraction: Partitioners<ContractionAttrs> = {
  dot: (n, values, c) => {
    const { over } = n.attrs
    const meeting = met(c, values, over)
    const { values: [a, b], sharding } = meeting ?? together(c, values.map(v => ready(c, v)), over)
    if (a === undefined || b === undefined) throw new Error('dot has two operands')
    const out = new Map([...sharding].filter(([name]) => !over.includes(name)))
    const addends = over.flatMap(name => sharding.get(name) ?? [])
    const made = result(n, c.make('dot', [a.node, b.node], n.attrs, n.site), out, addends.length === 0 ? undefined : { kind: 'sum', axes: addends })
    return meeting === undefined ? made : made.map(v => wherever(c, v))
  },
  reduce: (n, values, c) => {
    const given = computable(c, at(values, 0))
    const v = given.partial === undefined || given.partial.kind === n.attrs.kind ? given : landed(c, given)
    const sharding = new Map([...v.sharding].filter(([name]) => !n.attrs.over.includes(name)))
    const axes = [...(v.partial?.axes ?? []), ...n.attrs.over.flatMap(name => v.sharding.get(name) ?? []).filter(axis => !(c.alone?.axes ?? []).includes(axis))]
    return result(n, c.make('reduce', [v.node], n.attrs, n.site), sharding, axes.length === 0 ? undefined : { kind: n.attrs.kind, axes })
  },
}
