/** Split rules: ops that look up or place elements by computed indices. */
import { names, type Dim } from '../../core/dim.ts'
import { partsOf } from '../../core/mesh.ts'
import { shapeOf } from '../../graph/node.ts'
import { binary, constant, partIndex, ready, relayout, unified, type Context } from '../context.ts'
import type { LocalNode } from '../local.ts'
import { at, result } from './rule.ts'
import type { IndexingAttrs } from '../../graph/ops.ts'
import type { Rules } from './rule.ts'

/** Where a dim is split, rows are looked up in the device's part; `inside` says which indices fall into it. */
function localRows(c: Context, indices: LocalNode, rows: number, axes: readonly string[]): { readonly local: LocalNode; readonly inside: LocalNode } {
  const part = partIndex(c, axes)
  const start = binary(c, 'mul', part, constant(c, rows, part))
  const shape = shapeOf(indices)
  const local = binary(c, 'sub', indices, shape.length === 0 ? start : c.make('broadcast', [start], { shape }))
  const from = c.make('compare', [local, constant(c, 0, local)], { direction: 'GE' })
  const to = c.make('compare', [local, constant(c, rows, local)], { direction: 'LT' })
  return { local, inside: c.make('binary', [from, to], { fn: 'and' }) }
}
const broadcastLocal = (c: Context, n: LocalNode, shape: readonly Dim[]): LocalNode =>
  names(shapeOf(n)).join() === names(shape).join() ? n : c.make('broadcast', [n], { shape })

export const indexing: Rules<IndexingAttrs> = {
  take: (n, values, c) => {
    const [rows, asked] = [ready(c, at(values, 0)), ready(c, at(values, 1))]
    // Indices split along the rows' own axes are gathered first: every part of the table must see them all.
    const along = new Set(rows.split.get(n.attrs.dim))
    const seen = new Map([...asked.split].filter(([, axes]) => !axes.some(a => along.has(a))))
    const clash = seen.size < asked.split.size
    const { values: [table, indices], split } = unified(c, [rows, clash ? relayout(c, asked, seen) : asked])
    if (table === undefined || indices === undefined) throw new Error('take has two operands')
    const axes = split.get(n.attrs.dim) ?? []
    const out = new Map([...split].filter(([name]) => name !== n.attrs.dim))
    if (axes.length === 0) return result(n, c.make('take', [table.node, indices.node], n.attrs, n.site), out)
    // Each device looks up what it has and adds zero for the rest: no device needs the whole table.
    const size = shapeOf(table.node).find(d => d.name === n.attrs.dim)?.size ?? 0
    const last = size * partsOf(c.mesh, axes) - 1
    const bounded = (fn: 'min' | 'max', i: LocalNode, by: number): LocalNode => c.make('binary', [i, constant(c, by, i)], { fn })
    const { local, inside } = localRows(c, bounded('max', bounded('min', indices.node, last), 0), size, axes)
    const looked = c.make('take', [table.node, local], n.attrs, n.site)
    const node = c.make('select', [broadcastLocal(c, inside, shapeOf(looked)), looked, constant(c, 0, looked)], {}, n.site)
    const found = result(n, node, out, { kind: 'sum', axes })
    return clash ? found.map(v => relayout(c, v, c.target(v.shape))) : found
  },
  scatterAdd: (n, values, c) => {
    const { values: [indices, updates], split } = unified(c, values.map(v => ready(c, v)))
    if (indices === undefined || updates === undefined) throw new Error('scatterAdd has two operands')
    const contracted = names(indices.shape)
    const out = new Map([...split].filter(([name]) => !contracted.includes(name)))
    const addends = contracted.flatMap(name => split.get(name) ?? [])
    const want = c.target(shapeOf(n)).get(n.attrs.dim.name) ?? []
    const taken = new Set([...addends, ...[...out.values()].flat()])
    const axes = want.every(a => !taken.has(a)) ? want : []
    const rows = n.attrs.dim.size / partsOf(c.mesh, axes)
    const dim = { name: n.attrs.dim.name, size: rows }
    // Out of the device's part is out of range, and dropped.
    const local = axes.length === 0 ? indices.node : localRows(c, indices.node, rows, axes).local
    if (axes.length > 0) out.set(dim.name, axes)
    return result(n, c.make('scatterAdd', [local, updates.node], { dim }, n.site), out, addends.length === 0 ? undefined : { kind: 'sum', axes: addends })
  },
}
