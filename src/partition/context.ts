/** Values laid out over the mesh, and what ops ask of them: reduced, laid out as they are computed with, laid out alike. */
import type { Dim } from '../core/dim.ts'
import { sameSharding, shardingOf, type Layout, type Layouts, type Sharding } from '../core/layout.ts'
import type { Mesh } from '../core/mesh.ts'
import { rulesOf } from '../core/named-layouts.ts'
import { interner, type Make, type Node } from '../graph/node.ts'
import type { ReduceKind } from '../graph/ops.ts'
import { localInfer, type LocalAttrs, type LocalNode } from './local.ts'
import { relayout } from './moves/relayout.ts'

export { binary, constant, partIndex } from './build.ts'
export { relayout }

/** Each device holds an addend (or a candidate for the extremum) along these axes; the value is what reducing them gives. */
export interface Partial { readonly kind: ReduceKind; readonly axes: readonly string[] }

/** A global node's value as the devices hold it. */
export interface Value {
  /** The global shape. */
  readonly shape: readonly Dim[]
  readonly node: LocalNode
  readonly sharding: Sharding
  readonly partial?: Partial
  /** It lies by the layout of this name, in which it rests, and moves before it is computed with. */
  readonly resting?: string
  /** The global node it came from, so that what is reduced for one user is reduced for all. */
  readonly origin?: Node
  /** A zero that starts a sum: it may count as partial over any axes. */
  readonly anyPartial?: true
}

export interface Context {
  readonly mesh: Mesh
  readonly make: Make<LocalAttrs>
  /** Nodes whose values some user needed reduced, not partial. */
  readonly reduced: Set<Node>
  /** How a layout, `compute` unless said, splits a shape. */
  readonly target: (shape: readonly Dim[], layout?: string | Layout) => Sharding
}

/** `derived` are the dims that got their sizes from ops: see `splitOf`. */
export function newContext(mesh: Mesh, layouts: Layouts, derived: (d: Dim) => boolean, reduced: Set<Node>): Context {
  const byName = new Map<string, Layout>()
  const rules = (name: string): Layout => {
    const found = byName.get(name) ?? rulesOf(layouts, name)
    byName.set(name, found)
    return found
  }
  const target = (shape: readonly Dim[], layout: string | Layout = 'compute'): Sharding =>
    shardingOf(typeof layout === 'string' ? rules(layout) : layout, mesh, shape, 'relayout', undefined, derived)
  return { mesh, make: interner(localInfer, () => undefined), reduced, target }
}

const axesOf = (sharding: Sharding, name: string): readonly string[] => sharding.get(name) ?? []
const sameAxes = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && a.every((x, i) => x === b[i])
export const samePartial = (a: Partial | undefined, b: Partial | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && a.kind === b.kind && [...a.axes].sort().join() === [...b.axes].sort().join())

/** The same value, no longer partial: all-reduced where it was. */
export function reduced(c: Context, v: Value): Value {
  const { partial, anyPartial: _, ...rest } = v
  if (partial === undefined) return rest
  if (v.origin !== undefined) c.reduced.add(v.origin)
  return { ...rest, node: c.make('allReduce', [v.node], partial, v.node.site) }
}

/** The value as it is computed with: reduced, and where it rests otherwise, moved to where `layout` has it. */
export const ready = (c: Context, v: Value): Value => (v.resting === undefined ? reduced(c, v) : relayout(c, v, c.target(v.shape)))
/** Like `ready`, but what is partial stays so. */
export const computable = (c: Context, v: Value): Value => (v.resting === undefined ? v : ready(c, v))

/**
 * Several values of overlapping dims, each shared dim laid out alike in all. Where they differ, broadcasts give way to what
 * was computed, and failing that the rules decide.
 */
export function unified(c: Context, values: readonly Value[]): { readonly values: Value[]; readonly sharding: Sharding } {
  const firm = values.filter(v => v.node.op !== 'broadcast')
  const agreed = agreement(firm.length > 0 ? firm : values)
  const all = values.flatMap(v => v.shape)
  const shape = all.filter((d, i) => all.findIndex(e => e.name === d.name) === i)
  const sharding = agreed ?? c.target(shape)
  // A dim that only a broadcast has keeps that broadcast's layout, unless its axes are taken.
  const full = new Map(sharding)
  const taken = new Set([...sharding.values()].flat())
  for (const v of values) {
    for (const d of v.shape) {
      const axes = axesOf(v.sharding, d.name)
      if (axes.length === 0 || firm.some(f => f.shape.some(e => e.name === d.name)) || axes.some(a => taken.has(a))) continue
      full.set(d.name, axes)
      for (const a of axes) taken.add(a)
    }
  }
  const moved = values.map(v => relayoutKeepingPartial(c, v, new Map([...full].filter(([name]) => v.shape.some(d => d.name === name)))))
  return { values: moved, sharding: full }
}

const relayoutKeepingPartial = (c: Context, v: Value, to: Sharding): Value => (sameSharding(v.sharding, to) ? v : relayout(c, v, to))

function agreement(values: readonly Value[]): Sharding | undefined {
  const sharding = new Map<string, readonly string[]>()
  const seen = new Set<string>()
  for (const v of values) {
    for (const d of v.shape) {
      const axes = axesOf(v.sharding, d.name)
      if (seen.has(d.name) && !sameAxes(axes, axesOf(sharding, d.name))) return undefined
      seen.add(d.name)
      if (axes.length > 0) sharding.set(d.name, axes)
    }
  }
  const used = [...sharding.values()].flat()
  return new Set(used).size === used.length ? sharding : undefined
}
