/** Types of results: ops that look up or place elements by computed indices. */
import { formatShape, names } from '../../core/dim.ts'
import { DimError, type Site } from '../../core/errors.ts'
import { typeOf, type Infer, type TensorType } from '../node.ts'
import { agree, dimIn, distinct, numbers, only, sameType, wrongDtype, type Inputs } from './checks.ts'
import type { IndexingAttrs } from '../ops.ts'

function startOf(inputs: Inputs, i: number, op: string, site: Site | undefined): void {
  const start = only(inputs, i)
  if (start.dtype !== 'i32' || start.shape.length > 0) throw wrongDtype(op, start, 'a start that is an i32 scalar', site)
}
const tooLong = (op: string, dim: string, size: number, x: TensorType, site: Site | undefined): DimError =>
  new DimError({ code: 'size-differs', what: `${op}: ${size} elements of "${dim}" are asked for, and there are fewer`, details: { tensor: formatShape(x.shape) }, fix: 'ask for as many as there are, at most', at: site })

export const indexing: Infer<IndexingAttrs> = {
  take: (a, inputs, site) => {
    const [table, indices] = [only(inputs), only(inputs, 1)]
    dimIn(table.shape, a.dim, 'take', site)
    if (indices.dtype !== 'i32') throw wrongDtype('take', indices, 'i32 indices', site)
    const others = table.shape.filter(d => d.name !== a.dim)
    agree(indices.shape, others, 'take', site)
    const shared = new Set(names(indices.shape))
    return [{ shape: [...indices.shape, ...others.filter(d => !shared.has(d.name))], dtype: table.dtype }]
  },
  scatter: (a, inputs, site) => {
    const [target, indices, updates] = [only(inputs), only(inputs, 1), only(inputs, 2)]
    const op = `scatter ${a.kind}`
    dimIn(target.shape, a.dim, op, site)
    if (indices.dtype !== 'i32') throw wrongDtype(op, indices, 'i32 indices', site)
    if (updates.dtype !== target.dtype) sameType(op, [{ results: [{ shape: [], dtype: target.dtype }] }, { results: [{ shape: [], dtype: updates.dtype }] }], site)
    if (a.kind !== 'set') numbers(op, target, site)
    const others = target.shape.filter(d => d.name !== a.dim)
    const expected = [...indices.shape, ...others.filter(d => !names(indices.shape).includes(d.name))]
    agree(indices.shape, others, op, site)
    agree(updates.shape, expected, op, site)
    for (const d of updates.shape) dimIn(expected, d.name, `${op}: updates`, site)
    for (const d of expected) dimIn(updates.shape, d.name, `${op}: updates`, site)
    return [target]
  },
  dynamicSlice: (a, inputs, site) => {
    const x = only(inputs)
    startOf(inputs, 1, 'dynamicSlice', site)
    const { size } = dimIn(x.shape, a.dim, 'dynamicSlice', site)
    if (a.to.size > size) throw tooLong('dynamicSlice', a.dim, a.to.size, x, site)
    return [{ shape: distinct(x.shape.map(d => (d.name === a.dim ? a.to : d)), 'dynamicSlice', site), dtype: x.dtype }]
  },
  dynamicUpdate: (a, inputs, site) => {
    const [x, update] = [only(inputs), only(inputs, 1)]
    startOf(inputs, 2, 'dynamicUpdate', site)
    const [{ size }, { size: part }] = [dimIn(x.shape, a.dim, 'dynamicUpdate', site), dimIn(update.shape, a.dim, 'dynamicUpdate', site)]
    if (part > size) throw tooLong('dynamicUpdate', a.dim, part, x, site)
    const rest = (t: TensorType): TensorType => ({ dtype: t.dtype, shape: t.shape.filter(d => d.name !== a.dim) })
    for (const d of x.shape) dimIn(update.shape, d.name, 'dynamicUpdate: the update', site)
    for (const d of update.shape) dimIn(x.shape, d.name, 'dynamicUpdate', site)
    sameType('dynamicUpdate', [{ results: [rest(x)] }, { results: [rest(update)] }], site)
    return [x]
  },
  sort: (a, inputs, site) => {
    const keys = only(inputs)
    dimIn(keys.shape, a.dim, 'sort', site)
    for (const other of inputs.slice(1)) agree(keys.shape, typeOf(other).shape, 'sort', site)
    return inputs.map(typeOf)
  },
  topK: (a, inputs, site) => {
    const x = only(inputs)
    const { size } = dimIn(x.shape, a.dim, 'topK', site)
    if (a.to.size > size) throw tooLong('topK', a.dim, a.to.size, x, site)
    const shape = distinct(x.shape.map(d => (d.name === a.dim ? a.to : d)), 'topK', site)
    return [{ shape, dtype: x.dtype }, { shape, dtype: 'i32' }]
  },
  cumulative: (a, inputs, site) => {
    dimIn(only(inputs).shape, a.dim, `cum${a.kind}`, site)
    numbers(`cum${a.kind}`, only(inputs), site)
    return [only(inputs)]
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
