/** Types of results: ops that look up or place elements by computed indices. */
import { names } from '../../core/dim.ts'
import { agree, dimIn, distinct, only, wrongDtype } from './checks.ts'
import type { Infer } from '../node.ts'
import type { IndexingAttrs } from '../ops.ts'

export const indexing: Infer<IndexingAttrs> = {
  take: (a, inputs, site) => {
    const [table, indices] = [only(inputs), only(inputs, 1)]
    dimIn(table.shape, a.dim, 'take', site)
    if (indices.dtype !== 'i32') throw wrongDtype('take', indices, 'i32 indices', site)
    return [{ shape: distinct([...indices.shape, ...table.shape.filter(d => d.name !== a.dim)], 'take', site), dtype: table.dtype }]
  },
  scatterAdd: (a, inputs, site) => {
    const [indices, updates] = [only(inputs), only(inputs, 1)]
    if (indices.dtype !== 'i32') throw wrongDtype('scatterAdd', indices, 'i32 indices', site)
    for (const d of indices.shape) dimIn(updates.shape, d.name, 'scatterAdd', site)
    agree(indices.shape, updates.shape, 'scatterAdd', site)
    const gone = new Set(names(indices.shape))
    return [{ shape: distinct([a.dim, ...updates.shape.filter(d => !gone.has(d.name))], 'scatterAdd', site), dtype: updates.dtype }]
  },
}
