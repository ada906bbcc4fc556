/** What each op computes: ops that look up or place elements by computed indices. */
import { names, sizeOf } from '../../core/dim.ts'
import { typeOf } from '../node.ts'
import { at, get } from './rule.ts'
import { empty, offsets } from './values.ts'
import type { IndexingAttrs } from '../ops.ts'
import type { Rules } from './rule.ts'

export const indexing: Rules<IndexingAttrs> = {
  take: (n, v) => {
    const [out, table, indices] = [empty(typeOf(n)), at(v, 0), at(v, 1)]
    const size = table.shape.find(d => d.name === n.attrs.dim)?.size ?? 0
    const stride = sizeOf(table.shape.slice(names(table.shape).indexOf(n.attrs.dim) + 1))
    const [rest, which] = [offsets(out.shape, table.shape.map(d => (d.name === n.attrs.dim ? { name: '', size: d.size } : d))), offsets(out.shape, indices.shape)]
    for (let i = 0; i < out.data.length; i++) {
      const row = Math.min(Math.max(get(indices, which[i] ?? 0), 0), size - 1)
      out.data[i] = get(table, (rest[i] ?? 0) + row * stride)
    }
    return [out]
  },
  scatterAdd: (n, v) => {
    const [out, indices, updates] = [empty(typeOf(n)), at(v, 0), at(v, 1)]
    const stride = sizeOf(out.shape.slice(1))
    const [rest, which] = [offsets(updates.shape, out.shape.slice(1)), offsets(updates.shape, indices.shape)]
    for (let i = 0; i < updates.data.length; i++) {
      const row = get(indices, which[i] ?? 0)
      if (row < 0 || row >= n.attrs.dim.size) continue
      const to = (rest[i] ?? 0) + row * stride
      out.data[to] = (out.data[to] ?? 0) + get(updates, i)
    }
    return [out]
  },
}
