/** What each op computes: ops that look up or place elements by computed indices. */
import { names, sizeOf } from '../../core/dim.ts'
import { typeOf } from '../node.ts'
import { isFloat } from '../../core/dtype.ts'
import { at, get } from './evaluator.ts'
import { lines, ranked } from './order.ts'
import { empty, offsets, type Value } from './values.ts'
import type { CumulativeKind, IndexingAttrs, ScatterKind } from '../ops.ts'
import type { Evaluators } from './evaluator.ts'

const placing: { readonly [K in ScatterKind]: (old: number, update: number) => number } = {
  set: (_, update) => update, add: (old, update) => old + update, max: Math.max, min: Math.min,
}
const stepping: { readonly [K in CumulativeKind]: (sum: number, x: number) => number } = {
  sum: (a, b) => a + b, prod: (a, b) => a * b, max: Math.max, min: Math.min,
}
const copyOf = (v: Value): Value => ({ ...v, data: v.data.slice() })
/** For every element of a shape, its offset in another shape that has the same dims but for `dim`, whose index is taken to be 0. */
const besides = (walked: Value['shape'], of: Value['shape'], dim: string): Int32Array =>
  offsets(walked, of.map(d => (d.name === dim ? { name: '', size: d.size } : d)))
const strideOf = (shape: Value['shape'], dim: string): number => sizeOf(shape.slice(names(shape).indexOf(dim) + 1))
const sizeAlong = (v: Value, dim: string): number => v.shape.find(d => d.name === dim)?.size ?? 1
const clampedStart = (start: Value, whole: number, part: number): number => Math.min(Math.max(get(start, 0), 0), whole - part)

export const indexing: Evaluators<IndexingAttrs> = {
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
  scatter: (n, v) => {
    const { dim, kind } = n.attrs
    const [out, indices, updates] = [copyOf(at(v, 0)), at(v, 1), at(v, 2)]
    const [size, stride, place] = [sizeAlong(out, dim), strideOf(out.shape, dim), placing[kind]]
    // Updates are applied in the order of the indices, which decides which of several updates of one element counts.
    const walked = [...indices.shape, ...updates.shape.filter(d => !names(indices.shape).includes(d.name))]
    const [which, from, rest] = [offsets(walked, indices.shape), offsets(walked, updates.shape), besides(walked, out.shape, dim)]
    for (let i = 0; i < which.length; i++) {
      const row = get(indices, which[i] ?? 0)
      if (row < 0 || row >= size) continue
      const to = (rest[i] ?? 0) + row * stride
      out.data[to] = place(out.data[to] ?? 0, get(updates, from[i] ?? 0))
    }
    return [out]
  },
  dynamicSlice: (n, v) => {
    const { dim, to } = n.attrs
    const [out, x] = [empty(typeOf(n)), at(v, 0)]
    const [start, stride] = [clampedStart(at(v, 1), sizeAlong(x, dim), to.size), strideOf(x.shape, dim)]
    const [rest, along] = [besides(out.shape, x.shape, dim), offsets(out.shape, [to])]
    for (let i = 0; i < out.data.length; i++) out.data[i] = get(x, (rest[i] ?? 0) + (start + (along[i] ?? 0)) * stride)
    return [out]
  },
  dynamicUpdate: (n, v) => {
    const { dim } = n.attrs
    const [out, update] = [copyOf(at(v, 0)), at(v, 1)]
    const [start, stride] = [clampedStart(at(v, 2), sizeAlong(out, dim), sizeAlong(update, dim)), strideOf(out.shape, dim)]
    const [rest, along] = [besides(update.shape, out.shape, dim), offsets(update.shape, update.shape.filter(d => d.name === dim))]
    for (let i = 0; i < update.data.length; i++) out.data[(rest[i] ?? 0) + (start + (along[i] ?? 0)) * stride] = get(update, i)
    return [out]
  },
  sort: (n, v) => {
    const [outs, keys] = [v.map(x => empty(x)), at(v, 0)]
    for (const line of lines(keys.shape, n.attrs.dim)) {
      const order = ranked(line.map(i => get(keys, i)), n.attrs.descending)
      outs.forEach((out, k) => { order.forEach((from, j) => { out.data[line[j] ?? 0] = get(at(v, k), line[from] ?? 0) }) })
    }
    return outs
  },
  topK: (n, v) => {
    const [values, places] = n.results.map(empty)
    const x = at(v, 0)
    if (values === undefined || places === undefined) throw new Error('topK has two results')
    const to = lines(values.shape, n.attrs.to.name)
    for (const [l, line] of lines(x.shape, n.attrs.dim).entries()) {
      const order = ranked(line.map(i => get(x, i)), true)
      to[l]?.forEach((o, j) => { values.data[o] = get(x, line[order[j] ?? 0] ?? 0); places.data[o] = order[j] ?? 0 })
    }
    return [values, places]
  },
  cumulative: (n, v) => {
    const { kind, dim, reverse } = n.attrs
    const out = copyOf(at(v, 0))
    const step = kind === 'prod' && !isFloat(out.dtype) ? Math.imul : stepping[kind]
    for (const line of lines(out.shape, dim)) {
      if (reverse) line.reverse()
      line.forEach((o, j) => { if (j > 0) out.data[o] = step(out.data[line[j - 1] ?? 0] ?? 0, out.data[o] ?? 0) })
    }
    return [out]
  },
}
