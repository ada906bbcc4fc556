/** Partition rules: ops that look up or place elements by computed indices. */
import { names, type Dim } from '../../core/dim.ts'
import type { Sharding } from '../../core/layout.ts'
import { partsOf } from '../../core/mesh.ts'
import { shapeOf, type Node } from '../../graph/node.ts'
import type { IndexingAttrs, ReduceKind, ScatterKind } from '../../graph/ops.ts'
import { binary, constant, partIndex, sizeIn } from '../build.ts'
import type { Context, Partial, Value } from '../context.ts'
import { relayout } from '../moves/relayout.ts'
import { finest, ready, unified } from '../operands.ts'
import type { LocalNode } from '../local.ts'
import { met, wherever } from '../meet.ts'
import { settle } from '../moves/vacate.ts'
import { once } from '../once.ts'
import { cumulative, sort, topK } from './order.ts'
import { at, result, type Partitioners } from './partitioner.ts'

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
const bounded = (c: Context, i: LocalNode, from: number, to: number): LocalNode =>
  c.make('binary', [c.make('binary', [i, constant(c, to, i)], { fn: 'min' }), constant(c, from, i)], { fn: 'max' })

/** Each device looks up what it has and adds zero for the rest: no device needs all of the table. */
function lookedUp(c: Context, table: LocalNode, dim: string, indices: LocalNode, axes: readonly string[], site: Node['site']): { readonly node: LocalNode; readonly partial?: Partial } {
  if (axes.length === 0) return { node: c.make('take', [table, indices], { dim }, site) }
  const size = sizeIn(table, dim)
  const { local, inside } = localRows(c, bounded(c, indices, 0, size * partsOf(c.mesh, axes) - 1), size, axes)
  const looked = c.make('take', [table, local], { dim })
  return { node: c.make('select', [broadcastLocal(c, inside, shapeOf(looked)), looked, constant(c, 0, looked)], {}, site), partial: { kind: 'sum', axes } }
}

/** A name that no dim of a user can have. */
const own = '~own'
/** A dim that indices have too is another one: theirs counts results, this one counts rows. */
function apart(c: Context, v: Value, dim: string, indices: Value): { readonly v: Value; readonly dim: string } {
  if (!indices.shape.some(d => d.name === dim)) return { v, dim }
  const renamed = (name: string): string => (name === dim ? own : name)
  return {
    dim: own,
    v: { ...v, shape: v.shape.map(d => ({ name: renamed(d.name), size: d.size })), sharding: new Map([...v.sharding].map(([name, axes]) => [renamed(name), axes])), node: c.make('rename', [v.node], { from: dim, to: own }) },
  }
}

function take(n: Node<'take'>, values: readonly Value[], c: Context): readonly Value[] {
  return takenAtRest(n, values, c) ?? taken(n, values, c)
}

/** Rows looked up where the table rests, and the indices moved to it. */
function takenAtRest(n: Node<'take'>, values: readonly Value[], c: Context): readonly Value[] | undefined {
  const { dim } = n.attrs
  const meeting = at(values, 1).shape.some(d => d.name === dim) ? undefined : met(c, values, [dim], 'looked up')
  if (meeting === undefined) return undefined
  const { node, partial } = lookedUp(c, at(meeting.values, 0).node, dim, at(meeting.values, 1).node, meeting.sharding.get(dim) ?? [], n.site)
  return result(n, node, new Map([...meeting.sharding].filter(([name]) => name !== dim)), partial).map(v => wherever(c, v))
}

function taken(n: Node<'take'>, values: readonly Value[], c: Context): readonly Value[] {
  const asked = ready(c, at(values, 1))
  const { v: rows, dim } = apart(c, ready(c, at(values, 0)), n.attrs.dim, asked)
  // Indices split along the rows' own axes are gathered first: every part of the table must see them all.
  const along = new Set(rows.sharding.get(dim))
  const seen = new Map([...asked.sharding].filter(([, axes]) => !axes.some(a => along.has(a))))
  const clash = seen.size < asked.sharding.size
  const { values: [table, indices], sharding } = unified(c, [rows, clash ? relayout(c, asked, seen) : asked])
  if (table === undefined || indices === undefined) throw new Error('take has two operands')
  const out = new Map([...sharding].filter(([name]) => name !== dim))
  const { node, partial } = lookedUp(c, table.node, dim, indices.node, sharding.get(dim) ?? [], n.site)
  const found = result(n, node, out, partial)
  return clash ? found.map(v => relayout(c, v, c.target(v.shape))) : found
}

const sums: { readonly [K in ScatterKind]?: ReduceKind } = { add: 'sum', max: 'max', min: 'min' }

function scatter(n: Node<'scatter'>, values: readonly Value[], c: Context): readonly Value[] {
  const { kind } = n.attrs
  const [indices, updates] = [ready(c, at(values, 1)), ready(c, at(values, 2))]
  const { v: target, dim } = apart(c, ready(c, at(values, 0)), n.attrs.dim, indices)
  const scattered = indices.shape.filter(d => !names(target.shape).includes(d.name))
  // Dims of the target lie as the target does; along others the indices may be split, where the order of updates is none.
  const sharding = new Map(target.sharding)
  const taken = new Set([...sharding.values()].flat())
  for (const d of kind === 'set' ? [] : scattered) {
    const axes = (indices.sharding.get(d.name) ?? updates.sharding.get(d.name) ?? []).filter(a => !taken.has(a))
    if (axes.length === 0) continue
    sharding.set(d.name, axes)
    for (const a of axes) taken.add(a)
  }
  const [i, u] = [indices, updates].map(v => relayout(c, v, new Map([...sharding].filter(([name]) => v.shape.some(d => d.name === name)))))
  if (i === undefined || u === undefined) throw new Error('scatter has three operands')
  const addends = scattered.flatMap(d => sharding.get(d.name) ?? [])
  const reduced = sums[kind]
  const partial = addends.length === 0 || reduced === undefined ? undefined : { kind: reduced, axes: addends }
  const base = kind === 'add' ? once(c, target, addends) : target
  const axes = target.sharding.get(dim) ?? []
  // An index outside of the device's part is out of range for the local scatter, which drops it.
  const local = axes.length === 0 ? i.node : localRows(c, i.node, sizeIn(target.node, dim), axes).local
  const placed = c.make('scatter', [base.node, local, u.node], { dim, kind }, n.site)
  return result(n, dim === own ? c.make('rename', [placed], { from: own, to: n.attrs.dim }) : placed, new Map([...target.sharding].map(([name, a]) => [name === own ? n.attrs.dim : name, a])), partial)
}

function scatterAdd(n: Node<'scatterAdd'>, values: readonly Value[], c: Context): readonly Value[] {
  const { values: [indices, updates], sharding } = unified(c, values.map(v => ready(c, v)))
  if (indices === undefined || updates === undefined) throw new Error('scatterAdd has two operands')
  const contracted = names(indices.shape)
  const out = new Map([...sharding].filter(([name]) => !contracted.includes(name)))
  const addends = contracted.flatMap(name => sharding.get(name) ?? [])
  const want = c.target(shapeOf(n)).get(n.attrs.dim.name) ?? []
  const taken = new Set([...addends, ...[...out.values()].flat()])
  const axes = want.every(a => !taken.has(a)) ? want : []
  const rows = n.attrs.dim.size / partsOf(c.mesh, axes)
  const dim = { name: n.attrs.dim.name, size: rows }
  const local = axes.length === 0 ? indices.node : localRows(c, indices.node, rows, axes).local
  if (axes.length > 0) out.set(dim.name, axes)
  return result(n, c.make('scatterAdd', [local, updates.node], { dim }, n.site), out, addends.length === 0 ? undefined : { kind: 'sum', axes: addends })
}

const without = (sharding: Sharding, dim: string): Sharding => new Map([...sharding].filter(([name]) => name !== dim))
/** i32: where the window begins, so that all of it lies inside. */
const begin = (c: Context, start: LocalNode, whole: number, part: number): LocalNode => bounded(c, start, 0, whole - part)

function dynamicSlice(n: Node<'dynamicSlice'>, values: readonly Value[], c: Context): readonly Value[] {
  const { dim, to } = n.attrs
  const [x, start] = [ready(c, at(values, 0)), ready(c, at(values, 1))]
  const axes = x.sharding.get(dim) ?? []
  const out = without(x.sharding, dim)
  if (axes.length === 0) return result(n, c.make('dynamicSlice', [x.node, start.node], n.attrs, n.site), out).map(r => settle(c, r, [to.name]))
  const first = begin(c, start.node, sizeIn(x.node, dim) * partsOf(c.mesh, axes), to.size)
  const counted = c.make('iota', [], { dim: to })
  const indices = binary(c, 'add', counted, c.make('broadcast', [first], { shape: [to] }))
  const { node, partial } = lookedUp(c, x.node, dim, indices, axes, n.site)
  const local = shapeOf(x.node).map(d => (d.name === dim ? to : d))
  return result(n, broadcastLocal(c, node, local), out, partial).map(r => settle(c, r, [to.name]))
}

function dynamicUpdate(n: Node<'dynamicUpdate'>, values: readonly Value[], c: Context): readonly Value[] {
  const { dim } = n.attrs
  const [into, start, given] = [ready(c, at(values, 0)), ready(c, at(values, 2)), ready(c, at(values, 1))]
  const axes = into.sharding.get(dim) ?? []
  // What is cut less is cut as the other is, which costs nothing.
  const finer = finest([into, given].map(v => ({ shape: v.shape, sharding: without(v.sharding, dim) })))
  const others = finer !== undefined && axes.every(a => ![...finer.values()].flat().includes(a)) ? finer : without(into.sharding, dim)
  const [x, update] = [relayout(c, into, axes.length === 0 ? others : new Map([...others, [dim, axes]])), relayout(c, given, others)]
  if (axes.length === 0) return result(n, c.make('dynamicUpdate', [x.node, update.node, start.node], n.attrs, n.site), x.sharding)
  // Each device asks, for every element that it holds, which one of the update goes there.
  const [block, size] = [sizeIn(x.node, dim), sizeIn(update.node, dim)]
  const first = begin(c, start.node, block * partsOf(c.mesh, axes), size)
  const part = partIndex(c, axes)
  const offset = binary(c, 'sub', binary(c, 'mul', part, constant(c, block, part)), first)
  const along = [{ name: dim, size: block }]
  const index = binary(c, 'add', c.make('iota', [], { dim: { name: dim, size: block } }), c.make('broadcast', [offset], { shape: along }))
  const [from, to] = [c.make('compare', [index, constant(c, 0, index)], { direction: 'GE' }), c.make('compare', [index, constant(c, size, index)], { direction: 'LT' })]
  const inside = c.make('binary', [from, to], { fn: 'and' })
  const shape = shapeOf(x.node)
  const taken = broadcastLocal(c, c.make('take', [update.node, bounded(c, index, 0, size - 1)], { dim }), shape)
  return result(n, c.make('select', [broadcastLocal(c, inside, shape), taken, x.node], {}, n.site), x.sharding)
}

export const indexing: Partitioners<IndexingAttrs> = {
  take, scatter, scatterAdd, dynamicSlice, dynamicUpdate,
  sort: (n, values, c) => sort(n, values.map(v => ready(c, v)), c),
  topK: (n, values, c) => topK(n, ready(c, at(values, 0)), c),
  cumulative: (n, values, c) => cumulative(n, ready(c, at(values, 0)), c),
}
