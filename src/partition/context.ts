/** Values laid out over the mesh, and the moves between layouts: where every collective comes from. */
import type { Dim } from '../core/dim.ts'
import { localShape, rulesOf, sameSplit, splitOf, type Layout, type Layouts, type Role, type Split } from '../core/layout.ts'
import { partsOf, type Mesh } from '../core/mesh.ts'
import { dtypeOf, interner, shapeOf, type Make, type Node } from '../graph/node.ts'
import type { ReduceKind } from '../graph/ops.ts'
import { localInfer, type LocalAttrs, type LocalNode } from './local.ts'

/** Each device holds an addend (or a candidate for the extremum) along these axes; the value is what reducing them gives. */
export interface Partial { readonly kind: ReduceKind; readonly axes: readonly string[] }

/** A global node's value as the devices hold it. */
export interface Value {
  /** The global shape. */
  readonly shape: readonly Dim[]
  readonly node: LocalNode
  readonly split: Split
  readonly partial?: Partial
  /** Laid out as tensors of this role rest, not as `layout` says: it moves before it is computed with. */
  readonly resting?: Role
  /** The global node it came from, so that what is reduced for one user is reduced for all. */
  readonly origin?: Node
  /** A zero that starts a sum: it may count as partial over any axes. */
  readonly anyPartial?: true
}

export interface Context {
  readonly mesh: Mesh
  readonly make: Make<LocalAttrs>
  /** Nodes whose values some user needed whole. */
  readonly reduced: Set<Node>
  /** How the rules of a role split a shape. */
  readonly target: (shape: readonly Dim[], role?: Role | Layout) => Split
}

export function newContext(mesh: Mesh, layouts: Layouts, reduced: Set<Node>): Context {
  const target = (shape: readonly Dim[], role: Role | Layout = 'compute'): Split =>
    splitOf(typeof role === 'string' ? rulesOf(layouts, role) : role, mesh, shape, 'relayout')
  return { mesh, make: interner(localInfer, () => undefined), reduced, target }
}

const axesOf = (split: Split, name: string): readonly string[] => split.get(name) ?? []
const sameAxes = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && a.every((x, i) => x === b[i])
export const samePartial = (a: Partial | undefined, b: Partial | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && a.kind === b.kind && [...a.axes].sort().join() === [...b.axes].sort().join())

/** The same value without its addends' axes: all-reduced where it was partial. */
export function whole(c: Context, v: Value): Value {
  const { partial, anyPartial: _, ...rest } = v
  if (partial === undefined) return rest
  if (v.origin !== undefined) c.reduced.add(v.origin)
  return { ...rest, node: c.make('allReduce', [v.node], partial, v.node.site) }
}

/** i32: which part of a dim that takes these axes this device holds. */
export const partIndex = (c: Context, axes: readonly string[]): LocalNode => c.make('axisIndex', [], { axes })

export const binary = (c: Context, fn: 'add' | 'sub' | 'mul', a: LocalNode, b: LocalNode): LocalNode => c.make('binary', [a, b], { fn })
export const constant = (c: Context, value: number, like: LocalNode): LocalNode => {
  const scalar = c.make('constant', [], { value, dtype: dtypeOf(like) })
  return shapeOf(like).length === 0 ? scalar : c.make('broadcast', [scalar], { shape: shapeOf(like) })
}

function gather(c: Context, node: LocalNode, dim: string, axes: readonly string[]): LocalNode {
  return c.make('allGather', [node], { dim, axes, parts: partsOf(c.mesh, axes) }, node.site)
}
function slice(c: Context, node: LocalNode, dim: string, axes: readonly string[]): LocalNode {
  const size = (shapeOf(node).find(d => d.name === dim)?.size ?? 0) / partsOf(c.mesh, axes)
  const part = partIndex(c, axes)
  return c.make('dynamicSlice', [node, binary(c, 'mul', part, constant(c, size, part))], { dim, size }, node.site)
}

/** The value in another layout and whole: nothing, slices, a reduce-scatter, an all-reduce, all-gathers, in that order of liking. */
export function relayout(c: Context, v: Value, to: Split): Value {
  const { partial, resting: _, ...rest } = v
  if (partial === undefined && sameSplit(v.split, to)) return rest
  const again = rebroadcast(c, v, to)
  if (again !== undefined) return { ...rest, node: again, split: to }

  let node = v.node
  const split = new Map(v.split)
  const put = (dim: string, axes: readonly string[]): void => { if (axes.length > 0) split.set(dim, axes); else split.delete(dim) }
  let addends = partial?.axes ?? []
  if (partial?.kind === 'sum') {
    for (const [dim, axes] of to) {
      if (axesOf(split, dim).length > 0 || !axes.every(a => addends.includes(a))) continue
      node = c.make('reduceScatter', [node], { dim, axes, parts: partsOf(c.mesh, axes) }, node.site)
      addends = addends.filter(a => !axes.includes(a))
      put(dim, axes)
    }
  }
  if (partial !== undefined && addends.length > 0) {
    if (addends.length === partial.axes.length) return relayout(c, whole(c, v), to)
    node = c.make('allReduce', [node], { kind: partial.kind, axes: addends }, node.site)
  }
  const moves = v.shape.map(({ name }) => {
    const [from, want] = [axesOf(split, name), axesOf(to, name)]
    let common = 0
    while (common < Math.min(from.length, want.length) && from[common] === want[common]) common++
    return { name, kept: from.slice(0, common), gathered: from.slice(common), sliced: want.slice(common) }
  })
  const sliceOf = (free: (m: (typeof moves)[number]) => boolean): void => {
    for (const m of moves) {
      if (m.sliced.length === 0 || sameAxes(axesOf(split, m.name), axesOf(to, m.name)) || !free(m)) continue
      node = slice(c, node, m.name, m.sliced)
      put(m.name, axesOf(to, m.name))
    }
  }
  const busy = (): Set<string> => new Set([...split.values()].flat())
  sliceOf(m => m.gathered.length === 0 && m.sliced.every(a => !busy().has(a)))
  for (const m of moves) {
    if (m.gathered.length === 0) continue
    node = gather(c, node, m.name, m.gathered)
    put(m.name, m.kept)
  }
  sliceOf(() => true)
  return { ...rest, node, split }
}

/** A broadcast whose own dims do not move is made anew at the other layout: nothing needs cutting. */
function rebroadcast(c: Context, v: Value, to: Split): LocalNode | undefined {
  if (v.node.op !== 'broadcast' || v.partial !== undefined) return undefined
  const source = v.node.inputs[0]
  if (source === undefined || shapeOf(source).some(d => !sameAxes(axesOf(v.split, d.name), axesOf(to, d.name)))) return undefined
  return c.make('broadcast', [source], { shape: localShape(v.shape, to, c.mesh) }, v.node.site)
}

/** The value as it is computed with: whole, and where it rests otherwise, moved to where `layout` has it. */
export const ready = (c: Context, v: Value): Value => (v.resting === undefined ? whole(c, v) : relayout(c, v, c.target(v.shape)))
/** Like `ready`, but what is partial stays so. */
export const computable = (c: Context, v: Value): Value => (v.resting === undefined ? v : ready(c, v))

/**
 * Several values of overlapping dims, each shared dim laid out alike in all. Where they differ, broadcasts give way to what
 * was computed, and failing that the rules decide.
 */
export function unified(c: Context, values: readonly Value[]): { readonly values: Value[]; readonly split: Split } {
  const firm = values.filter(v => v.node.op !== 'broadcast')
  const agreed = agreement(firm.length > 0 ? firm : values)
  const all = values.flatMap(v => v.shape)
  const shape = all.filter((d, i) => all.findIndex(e => e.name === d.name) === i)
  const split = agreed ?? c.target(shape)
  // A dim that only a broadcast has keeps that broadcast's layout, unless its axes are taken.
  const full = new Map(split)
  const taken = new Set([...split.values()].flat())
  for (const v of values) {
    for (const d of v.shape) {
      const axes = axesOf(v.split, d.name)
      if (axes.length === 0 || firm.some(f => f.shape.some(e => e.name === d.name)) || axes.some(a => taken.has(a))) continue
      full.set(d.name, axes)
      for (const a of axes) taken.add(a)
    }
  }
  const moved = values.map(v => relayoutKeepingPartial(c, v, new Map([...full].filter(([name]) => v.shape.some(d => d.name === name)))))
  return { values: moved, split: full }
}

const relayoutKeepingPartial = (c: Context, v: Value, to: Split): Value => (sameSplit(v.split, to) ? v : relayout(c, v, to))

function agreement(values: readonly Value[]): Split | undefined {
  const split = new Map<string, readonly string[]>()
  const seen = new Set<string>()
  for (const v of values) {
    for (const d of v.shape) {
      const axes = axesOf(v.split, d.name)
      if (seen.has(d.name) && !sameAxes(axes, axesOf(split, d.name))) return undefined
      seen.add(d.name)
      if (axes.length > 0) split.set(d.name, axes)
    }
  }
  const used = [...split.values()].flat()
  return new Set(used).size === used.length ? split : undefined
}
