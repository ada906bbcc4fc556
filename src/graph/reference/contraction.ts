/** What each op computes: ops that sum over dims. */
import { typeOf } from '../node.ts'
import { at, get, reducers, reduceStart } from './rule.ts'
import { empty, offsets } from './values.ts'
import type { ContractionAttrs } from '../ops.ts'
import type { Rules } from './rule.ts'

export const contraction: Rules<ContractionAttrs> = {
  dot: (n, v) => {
    const [out, a, b] = [empty(typeOf(n)), at(v, 0), at(v, 1)]
    const walked = [...out.shape, ...a.shape.filter(d => n.attrs.over.includes(d.name))]
    const [to, left, right] = [offsets(walked, out.shape), offsets(walked, a.shape), offsets(walked, b.shape)]
    for (let i = 0; i < to.length; i++) out.data[to[i] ?? 0] = (out.data[to[i] ?? 0] ?? 0) + get(a, left[i] ?? 0) * get(b, right[i] ?? 0)
    return [out]
  },
  reduce: (n, v) => {
    const [out, a, { step }] = [empty(typeOf(n)), at(v, 0), reducers[n.attrs.kind]]
    out.data.fill(reduceStart(n.attrs.kind, out.dtype))
    const to = offsets(a.shape, out.shape)
    for (let i = 0; i < to.length; i++) out.data[to[i] ?? 0] = step(out.data[to[i] ?? 0] ?? 0, get(a, i))
    return [out]
  },
}
