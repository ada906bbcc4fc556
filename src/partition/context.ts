/** Values laid out over the mesh, and what the rules of all ops share while one graph is partitioned. */
import type { Dim } from '../core/dim.ts'
import { rulesOf, shardingOf, type Layout, type Layouts, type Role, type Sharding } from '../core/layout.ts'
import type { Mesh } from '../core/mesh.ts'
import { interner, type Make, type Node } from '../graph/node.ts'
import type { ReduceKind } from '../graph/ops.ts'
import { localInfer, type LocalAttrs, type LocalNode } from './local.ts'

/** Each device holds an addend (or a candidate for the extremum) along these axes; the value is what reducing them gives. */
export interface Partial { readonly kind: ReduceKind; readonly axes: readonly string[] }

/** A global node's value as the devices hold it. */
export interface Value {
  /** The global shape. */
  readonly shape: readonly Dim[]
  readonly node: LocalNode
  readonly sharding: Sharding
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
  /** Nodes whose values some user needed reduced, not partial. */
  readonly reduced: Set<Node>
  /** How the rules of a role split a shape. */
  readonly target: (shape: readonly Dim[], role?: Role | Layout) => Sharding
  /** The walk over a graph itself, for the bodies of loops and choices: the values of some nodes, given those of the inputs. */
  readonly partitionNodes: (roots: readonly Node[], given: ReadonlyMap<Node, Value>) => Value[]
}
type Walk = (roots: readonly Node[], given: ReadonlyMap<Node, Value>, c: Context) => Value[]

/** `derived` are the dims that got their sizes from ops: see `splitOf`. */
export function newContext(mesh: Mesh, layouts: Layouts, derived: (d: Dim) => boolean, reduced: Set<Node>, walk: Walk): Context {
  const target = (shape: readonly Dim[], role: Role | Layout = 'compute'): Sharding =>
    shardingOf(typeof role === 'string' ? rulesOf(layouts, role) : role, mesh, shape, 'relayout', undefined, derived)
  const c: Context = { mesh, make: interner(localInfer, () => undefined), reduced, target, partitionNodes: (roots, given) => walk(roots, given, c) }
  return c
}

export const samePartial = (a: Partial | undefined, b: Partial | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && a.kind === b.kind && [...a.axes].sort().join() === [...b.axes].sort().join())

/** The same value, no longer partial: all-reduced where it was. */
export function reduced(c: Context, v: Value): Value {
  const { partial, anyPartial: _, ...rest } = v
  if (partial === undefined) return rest
  if (v.origin !== undefined) c.reduced.add(v.origin)
  return { ...rest, node: c.make('allReduce', [v.node], partial, v.node.site) }
}
