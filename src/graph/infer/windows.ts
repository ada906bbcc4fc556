/** Types of results: ops that see windows of neighbours. */
import { agree, dimIn, distinct, numbers, only, sameType } from './checks.ts'
import type { Infer } from '../node.ts'
import type { WindowAttrs } from '../ops.ts'
import { convDims } from '../windows.ts'

export const windows: Infer<WindowAttrs> = {
  conv: (a, inputs, site) => {
    const [x, w] = [only(inputs), only(inputs, 1)]
    for (const v of a.windows) {
      dimIn(x.shape, v.x, 'conv', site)
      dimIn(w.shape, v.w, 'conv', site)
    }
    const { groups, over, features } = convDims(a, x.shape, w.shape)
    for (const name of a.over) for (const t of [x, w]) dimIn(t.shape, name, 'conv', site)
    const shared = [...groups, ...over].map(d => d.name)
    agree(x.shape.filter(d => shared.includes(d.name)), w.shape.filter(d => shared.includes(d.name)), 'conv', site)
    if (x.dtype !== w.dtype) sameType('conv', inputs, site)
    numbers('conv', x, site)
    const own = x.shape.filter(d => !shared.includes(d.name)).map(d => a.windows.find(v => v.x === d.name)?.out ?? d)
    return [{ shape: distinct([...own, ...groups, ...features], 'conv', site), dtype: x.dtype }]
  },
}
