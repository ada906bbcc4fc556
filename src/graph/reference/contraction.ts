/** What each op computes: ops that sum over dims. */
import { typeOf } from '../node.ts'
import { binaryOf } from './elementwise.ts'
import { at, get, reduceStart } from './evaluator.ts'
import { empty, offsets } from './values.ts'
import type { BinaryFn, ContractionAttrs, ReduceKind } from '../ops.ts'
import type { Evaluators } from './evaluator.ts'

const folds: { readonly [K in ReduceKind]: BinaryFn } = { sum: 'add', prod: 'mul', max: 'max', min: 'min' }

export const contraction: Evaluators<ContractionAttrs> = {
  dot: (n, v) => {
    const [out, a, b] = [empty(typeOf(n)), at(v, 0), at(v, 1)]
    const walked = [...out.shape, ...a.shape.filter(d => n.attrs.over.includes(d.name))]
    const [to, left, right] = [offsets(walked, out.shape), offsets(walked, a.shape), offsets(walked, b.shape)]
    for (let i = 0; i < to.length; i++) out.data[to[i] ?? 0] = (out.data[to[i] ?? 0] ?? 0) + get(a, left[i] ?? 0) * get(b, right[i] ?? 0)
    return [out]
  },
  reduce: (n, v) => {
    const [out, a, step] = [empty(typeOf(n)), at(v, 0), binaryOf(folds[n.attrs.kind], at(v, 0).dtype)]
    out.data.fill(reduceStart(n.attrs.kind, out.dtype))
    const to = offsets(a.shape, out.shape)
    for (let i = 0; i < to.length; i++) out.data[to[i] ?? 0] = step(out.data[to[i] ?? 0] ?? 0, get(a, i))
    return [out]
  },
}
