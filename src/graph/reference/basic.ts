/** What each op computes: values from outside, and what changes only how they are seen. */
import { typeOf } from '../node.ts'
import { at, get } from './evaluator.ts'
import { empty, offsets, valueOf } from './values.ts'
import type { BasicAttrs } from '../ops.ts'
import type { Evaluators } from './evaluator.ts'

export const basic: Evaluators<BasicAttrs> = {
  input: n => { throw new Error(`input "${n.attrs.name}" was given no value`) },
  constant: n => [valueOf(typeOf(n), [n.attrs.value])],
  iota: n => [valueOf(typeOf(n), Array.from({ length: n.attrs.dim.size }, (_, i) => i))],
  broadcast: (n, v) => {
    const [out, a] = [empty(typeOf(n)), at(v, 0)]
    const from = offsets(out.shape, a.shape)
    for (let i = 0; i < out.data.length; i++) out.data[i] = get(a, from[i] ?? 0)
    return [out]
  },
  rename: (n, v) => [{ ...typeOf(n), data: at(v, 0).data }],
  relayout: (_, v) => [at(v, 0)],
  named: (_, v) => [at(v, 0)],
  stored: (_, v) => [at(v, 0)],
  stopGradient: (_, v) => [at(v, 0)],
  customGradient: (_, v) => [at(v, 0)],
}
