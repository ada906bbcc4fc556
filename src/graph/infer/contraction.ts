/** Types of results: ops that sum over dims. */
import { names } from '../../core/dim.ts'
import { isEight } from '../../core/dtype.ts'
import { agree, dimIn, numbers, only, sameType } from './checks.ts'
import type { Infer } from '../node.ts'
import type { ContractionAttrs } from '../ops.ts'

export const contraction: Infer<ContractionAttrs> = {
  dot: (a, inputs, site) => {
    const [left, right] = [only(inputs), only(inputs, 1)]
    agree(left.shape, right.shape, 'dot', site)
    for (const name of a.over) for (const t of [left, right]) dimIn(t.shape, name, 'dot', site)
    if (left.dtype !== right.dtype) sameType('dot', inputs, site)
    numbers('dot', left, site)
    const inRight = new Set(names(right.shape))
    const inLeft = new Set(names(left.shape))
    const kept = left.shape.filter(d => !a.over.includes(d.name))
    const shape = [...kept.filter(d => inRight.has(d.name)), ...kept.filter(d => !inRight.has(d.name)), ...right.shape.filter(d => !inLeft.has(d.name))]
    return [{ shape, dtype: left.dtype }]
  },
  reduce: (a, inputs, site) => {
    const t = only(inputs)
    for (const name of a.over) dimIn(t.shape, name, a.kind, site)
    if (a.kind === 'sum' || a.kind === 'prod' || isEight(t.dtype)) numbers(a.kind, t, site)
    return [{ shape: t.shape.filter(d => !a.over.includes(d.name)), dtype: t.dtype }]
  },
}
