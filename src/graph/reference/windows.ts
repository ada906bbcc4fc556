/** What each op computes: ops that see windows of neighbours. */
import { sizeOf, type Dim } from '../../core/dim.ts'
import { dimIn } from '../infer/checks.ts'
import { typeOf } from '../node.ts'
import type { WindowAttrs } from '../ops.ts'
import { convDims } from '../windows.ts'
import { at, get, type Evaluators } from './evaluator.ts'
import { empty, offsets } from './values.ts'

export const windows: Evaluators<WindowAttrs> = {
  conv: (n, v) => {
    const [out, x, w] = [empty(typeOf(n)), at(v, 0), at(v, 1)]
    const slides = n.attrs.windows.map((s, i) => ({ ...s, place: `place ${i}`, weight: `weight ${i}`, from: dimIn(x.shape, s.x, 'conv').size, width: dimIn(w.shape, s.w, 'conv').size }))
    // One name may mean a dim of x, of w and of the result: here each has its own.
    const named = (shape: readonly Dim[], name: (s: (typeof slides)[number]) => string, own: (s: (typeof slides)[number]) => string): Dim[] =>
      shape.map(d => { const s = slides.find(e => name(e) === d.name); return s === undefined ? d : { name: own(s), size: d.size } })
    const to = named(out.shape, s => s.out.name, s => s.place)
    const walked = [...to, ...convDims(n.attrs, x.shape, w.shape).over, ...slides.map(s => ({ name: s.weight, size: s.width }))]
    const [result, left, right] = [offsets(walked, to), offsets(walked, named(x.shape, s => s.x, s => `${s.place} of x`)), offsets(walked, named(w.shape, s => s.w, s => s.weight))]
    const moving = slides.map(s => ({
      ...s, places: offsets(walked, [{ name: s.place, size: s.out.size }]), weights: offsets(walked, [{ name: s.weight, size: s.width }]),
      step: sizeOf(x.shape.slice(x.shape.findIndex(d => d.name === s.x) + 1)),
    }))
    for (let i = 0; i < result.length; i++) {
      let from = left[i] ?? 0
      const inside = moving.every(s => {
        const p = (s.places[i] ?? 0) * s.stride + (s.weights[i] ?? 0) * s.wDilation - s.low
        from += (p / s.xDilation) * s.step
        return p >= 0 && p % s.xDilation === 0 && p / s.xDilation < s.from
      })
      if (inside) out.data[result[i] ?? 0] = (out.data[result[i] ?? 0] ?? 0) + get(x, from) * get(w, right[i] ?? 0)
    }
    return [out]
  },
}
