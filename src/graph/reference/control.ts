/** What each op computes: loops. */
import { empty, type Value } from './values.ts'
import type { ControlAttrs } from '../ops.ts'
import type { Evaluators } from './evaluator.ts'

export const control: Evaluators<ControlAttrs> = {
  scan: (n, v, context) => {
    const { over, carries, xs, body, reverse } = n.attrs
    const results = n.results.map(empty)
    let carried = v.slice(0, carries)
    const slice = (x: Value, i: number, shape: Value['shape']): Value => {
      const length = x.data.length / over.size
      return { shape, dtype: x.dtype, data: x.data.slice(i * length, (i + 1) * length) }
    }
    for (let step = 0; step < over.size; step++) {
      const i = reverse ? over.size - 1 - step : step
      const walked = v.slice(carries, carries + xs).map(x => slice(x, i, x.shape.slice(1)))
      const out = context.run(body, [...carried, ...walked, ...v.slice(carries + xs)])
      carried = out.slice(0, carries)
      out.slice(carries).forEach((y, k) => results[carries + k]?.data.set(y.data as never, i * y.data.length))
    }
    return [...carried, ...results.slice(carries)]
  },
  cond: (n, [predicate, ...captures], context) => context.run([...predicate?.data ?? []].some(p => Number(p) !== 0) ? n.attrs.yes : n.attrs.no, captures),
  while: (n, v, context) => {
    const { condition, body, carries } = n.attrs
    const captures = v.slice(carries)
    let state = v.slice(0, carries)
    while (Number(context.run(condition, [...state, ...captures])[0]?.data[0]) !== 0) state = context.run(body, [...state, ...captures])
    return state
  },
  recompute: (n, v, context) => context.run(n.attrs.body, v),
  barrier: (_, v) => v,
  project: () => { throw new Error('a projection has no values of its own') },
}
