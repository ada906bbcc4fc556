/** Split rules: ops that sum over dims. */
import { computable, ready, unified, whole } from '../context.ts'
import { at, result } from './rule.ts'
import type { ContractionAttrs } from '../../graph/ops.ts'
import type { Rules } from './rule.ts'

export const contraction: Rules<ContractionAttrs> = {
  dot: (n, values, c) => {
    const { values: [a, b], split } = unified(c, values.map(v => ready(c, v)))
    if (a === undefined || b === undefined) throw new Error('dot has two operands')
    const out = new Map([...split].filter(([name]) => !n.attrs.over.includes(name)))
    const addends = n.attrs.over.flatMap(name => split.get(name) ?? [])
    return result(n, c.make('dot', [a.node, b.node], n.attrs, n.site), out, addends.length === 0 ? undefined : { kind: 'sum', axes: addends })
  },
  reduce: (n, values, c) => {
    const given = computable(c, at(values, 0))
    const v = given.partial === undefined || given.partial.kind === n.attrs.kind ? given : whole(c, given)
    const split = new Map([...v.split].filter(([name]) => !n.attrs.over.includes(name)))
    const axes = [...(v.partial?.axes ?? []), ...n.attrs.over.flatMap(name => v.split.get(name) ?? [])]
    return result(n, c.make('reduce', [v.node], n.attrs, n.site), split, axes.length === 0 ? undefined : { kind: n.attrs.kind, axes })
  },
}
