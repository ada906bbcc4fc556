/** Partition rules: ops that sum over dims. */
import { reduced } from '../context.ts'
import { computable, ready, unified } from '../operands.ts'
import { at, result } from './partitioner.ts'
import type { ContractionAttrs } from '../../graph/ops.ts'
import type { Partitioners } from './partitioner.ts'

export const contraction: Partitioners<ContractionAttrs> = {
  dot: (n, values, c) => {
    const { values: [a, b], sharding } = unified(c, values.map(v => ready(c, v)))
    if (a === undefined || b === undefined) throw new Error('dot has two operands')
    const out = new Map([...sharding].filter(([name]) => !n.attrs.over.includes(name)))
    const addends = n.attrs.over.flatMap(name => sharding.get(name) ?? [])
    return result(n, c.make('dot', [a.node, b.node], n.attrs, n.site), out, addends.length === 0 ? undefined : { kind: 'sum', axes: addends })
  },
  reduce: (n, values, c) => {
    const given = computable(c, at(values, 0))
    const v = given.partial === undefined || given.partial.kind === n.attrs.kind ? given : reduced(c, given)
    const sharding = new Map([...v.sharding].filter(([name]) => !n.attrs.over.includes(name)))
    const axes = [...(v.partial?.axes ?? []), ...n.attrs.over.flatMap(name => v.sharding.get(name) ?? [])]
    return result(n, c.make('reduce', [v.node], n.attrs, n.site), sharding, axes.length === 0 ? undefined : { kind: n.attrs.kind, axes })
  },
}
