/**
 * The split rule of every op. Given how its operands lie, each rule says what every device computes and how the result lies:
 * split dims stay split, contracting one leaves the result partial, and what an op cannot take is moved first.
 */
import { names, type Dim } from '../core/dim.ts'
import { isFloat } from '../core/dtype.ts'
import { localShape, type Split } from '../core/layout.ts'
import { partsOf } from '../core/mesh.ts'
import { splatValue } from '../graph/make.ts'
import { dtypeOf, operand, shapeOf, type Node, type Table } from '../graph/node.ts'
import type { BinaryFn } from '../graph/ops.ts'
import {
  binary, computable, constant, partIndex, ready, relayout, samePartial, unified, whole, type Context, type Partial, type Value,
} from './context.ts'
import type { LocalNode } from './local.ts'
import { scanRule } from './scan.ts'

export type Rules = Table<readonly Value[], [readonly Value[], Context]>

const at = (values: readonly Value[], i: number): Value => {
  const v = values[i]
  if (v === undefined) throw new Error(`operand ${i} has no value`)
  return v
}
const result = (n: Node, node: LocalNode, split: Split, partial?: Partial): readonly Value[] =>
  [{ shape: shapeOf(n), node, split, ...(partial === undefined ? {} : { partial }) }]

type Build = (operands: readonly LocalNode[]) => LocalNode

/** Elementwise on whole values that lie alike. */
function elementwise(n: Node, values: readonly Value[], c: Context, build: Build): readonly Value[] {
  const { values: moved, split } = unified(c, values.map(v => ready(c, v)))
  return result(n, build(moved.map(v => v.node)), split)
}

/** Sums of addends are addends of the sum; a scalar that is not partial becomes one, counted on the first device only. */
function addition(n: Node<'binary'>, values: readonly Value[], c: Context): readonly Value[] {
  const [a, b] = [computable(c, at(values, 0)), computable(c, at(values, 1))]
  const partial = a.partial ?? b.partial
  if (partial === undefined || partial.kind !== 'sum' || (a.partial ?? partial).kind !== (b.partial ?? partial).kind) return plain(n, values, c)
  const { values: [l = a, r = b], split } = unified(c, [a, b])
  const sum = (x: Value, y: Value, over: Partial | undefined): readonly Value[] => result(n, c.make('binary', [x.node, y.node], n.attrs, n.site), split, over)
  const zero = (v: Value, g: Node): boolean => v.anyPartial === true || splatValue(g) === 0
  // Moving to one layout may have reduced either.
  if (samePartial(l.partial, r.partial)) return sum(l, r, l.partial)
  if (l.partial !== undefined && zero(r, operand(n, 1))) return sum(l, r, l.partial)
  if (r.partial !== undefined && zero(l, operand(n, 0))) return sum(l, r, r.partial)
  if (n.results[0]?.shape.length !== 0) return plain(n, values, c)
  const axes = [...new Set([...(l.partial?.axes ?? []), ...(r.partial?.axes ?? [])])]
  return sum(once(c, l, axes), once(c, r, axes), { kind: 'sum', axes })
}

/** A value partial over more axes: itself on the first device along those it was whole over, zero elsewhere. */
function once(c: Context, v: Value, axes: readonly string[]): Value {
  const more = axes.filter(a => v.partial?.axes.includes(a) !== true)
  if (more.length === 0) return v
  const index = partIndex(c, more)
  const here = c.make('compare', [index, constant(c, 0, index)], { direction: 'EQ' })
  return { ...v, node: c.make('select', [here, v.node, constant(c, 0, v.node)], {}) }
}

/** Multiplying or dividing addends by a constant scales the sum. */
function scaling(n: Node<'binary'>, values: readonly Value[], c: Context): readonly Value[] {
  const [a, b] = [computable(c, at(values, 0)), computable(c, at(values, 1))]
  const scaled = splatValue(operand(n, 1)) !== undefined ? a : n.attrs.fn === 'mul' && splatValue(operand(n, 0)) !== undefined ? b : undefined
  if (scaled?.partial?.kind !== 'sum') return plain(n, values, c)
  const { values: moved, split } = unified(c, [a, b])
  return result(n, c.make('binary', moved.map(v => v.node), n.attrs, n.site), split, moved[scaled === a ? 0 : 1]?.partial)
}

const plain: BinaryRule = (n, values, c) => elementwise(n, values, c, operands => c.make('binary', operands, n.attrs, n.site))
type BinaryRule = (n: Node<'binary'>, values: readonly Value[], c: Context) => readonly Value[]
const linear: { readonly [F in BinaryFn]?: BinaryRule } = { add: addition, sub: addition, mul: scaling, div: scaling }

/** One operand, any layout, addends and all: what only moves or copies elements. */
const moving = (n: Node, v: Value, node: LocalNode, split: Split): readonly Value[] => result(n, node, split, v.partial)

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

export const rules: Rules = {
  input: n => { throw new Error(`input "${n.attrs.name}" was not placed`) },
  constant: (n, _, c) => result(n, c.make('constant', [], n.attrs), new Map()),
  iota: (n, _, c) => {
    const split = c.target(shapeOf(n))
    const axes = split.get(n.attrs.dim.name) ?? []
    const size = n.attrs.dim.size / partsOf(c.mesh, axes)
    const local = c.make('iota', [], { dim: { name: n.attrs.dim.name, size } })
    if (axes.length === 0) return result(n, local, split)
    const part = partIndex(c, axes)
    const start = binary(c, 'mul', part, constant(c, size, part))
    return result(n, binary(c, 'add', local, c.make('broadcast', [start], { shape: shapeOf(local) })), split)
  },
  unary: (n, values, c) => {
    const v = computable(c, at(values, 0))
    return n.attrs.fn === 'neg' && v.partial?.kind === 'sum' ? moving(n, v, c.make('unary', [v.node], n.attrs, n.site), v.split)
      : elementwise(n, values, c, operands => c.make('unary', operands, n.attrs, n.site))
  },
  binary: (n, values, c) => (linear[n.attrs.fn] ?? plain)(n, values, c),
  compare: (n, values, c) => elementwise(n, values, c, operands => c.make('compare', operands, n.attrs, n.site)),
  select: (n, values, c) => elementwise(n, values, c, operands => c.make('select', operands, n.attrs, n.site)),
  threefry: (n, values, c) => elementwise(n, values, c, operands => c.make('threefry', operands, n.attrs, n.site)),
  convert: (n, values, c) => {
    const v = computable(c, at(values, 0))
    // Addends may be widened before they are reduced, not narrowed.
    const wider = isFloat(dtypeOf(v.node)) && (n.attrs.dtype === 'f32' || n.attrs.dtype === 'f64')
    const taken = wider ? v : whole(c, v)
    return moving(n, taken, c.make('convert', [taken.node], n.attrs, n.site), v.split)
  },
  broadcast: (n, values, c) => {
    const given = computable(c, at(values, 0))
    // Reduced before it grows; a mere reordering stays partial.
    const v = given.shape.length === n.attrs.shape.length ? given : whole(c, given)
    const split = new Map(v.split)
    const taken = new Set([...split.values()].flat())
    for (const [name, axes] of c.target(n.attrs.shape)) {
      if (!v.shape.some(d => d.name === name) && axes.every(a => !taken.has(a))) split.set(name, axes)
    }
    return moving(n, v, c.make('broadcast', [v.node], { shape: localShape(n.attrs.shape, split, c.mesh) }, n.site), split)
  },
  dot: (n, values, c) => {
    const { values: [a, b], split } = unified(c, values.map(v => ready(c, v)))
    if (a === undefined || b === undefined) throw new Error('dot has two operands')
    const out = new Map([...split].filter(([name]) => !n.attrs.over.includes(name)))
    const addends = n.attrs.over.flatMap(name => split.get(name) ?? [])
    return result(n, c.make('dot', [a.node, b.node], n.attrs, n.site), out, addends.length === 0 ? undefined : { kind: 'sum', axes: addends })
  },
  reduce: (n, values, c) => {
    const given = computable(c, at(values, 0))
    const v = given.partial === undefined || given.partial.kind === n.attrs.kind ? given : whole(c, given)
    const split = new Map([...v.split].filter(([name]) => !n.attrs.over.includes(name)))
    const axes = [...(v.partial?.axes ?? []), ...n.attrs.over.flatMap(name => v.split.get(name) ?? [])]
    return result(n, c.make('reduce', [v.node], n.attrs, n.site), split, axes.length === 0 ? undefined : { kind: n.attrs.kind, axes })
  },
  rename: (n, values, c) => {
    const given = computable(c, at(values, 0))
    const { from, to } = n.attrs
    // The new name has rules of its own; what the old one held moves there first.
    const want = c.target(shapeOf(n)).get(to) ?? []
    const others = new Map([...given.split].filter(([name]) => name !== from))
    const free = want.every(a => ![...others.values()].flat().includes(a))
    const before = new Map(others)
    if (want.length > 0 && free) before.set(from, want)
    const same = (given.split.get(from) ?? []).join() === (before.get(from) ?? []).join()
    const v = same ? given : relayout(c, given, before)
    return moving(n, v, c.make('rename', [v.node], n.attrs, n.site), new Map([...before].map(([name, axes]) => [name === from ? to : name, axes])))
  },
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
  scan: (n, values, c) => scanRule(n, values, c),
  project: () => { throw new Error('projections are followed by the driver') },
  relayout: (n, values, c) => {
    const to = n.attrs.to
    const v = at(values, 0)
    const moved = relayout(c, v, c.target(v.shape, to))
    return [{ ...moved, shape: v.shape }]
  },
  stopGradient: (_, values) => [at(values, 0)],
  customGradient: (_, values) => [at(values, 0)],
}
