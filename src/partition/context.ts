/** Values laid out over the mesh, and what the rules of all ops share while one graph is partitioned. */
import type { Dim } from '../core/dim.ts'
import { leavingTo, shardingOf, type Layout, type Layouts, type Sharding } from '../core/layout.ts'
import type { Mesh } from '../core/mesh.ts'
import { rulesOf } from '../core/named-layouts.ts'
import { interner, type Make, type Node } from '../graph/node.ts'
import type { Graph, ReduceKind } from '../graph/ops.ts'
import { axesOf } from './collectives.ts'
import { localInfer, type LocalAttrs, type LocalBody, type LocalNode } from './local.ts'

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
  /** It lies off the rules, because an operand was met where it rests. */
  readonly strayed?: true
  /** A zero that starts a sum: it may count as partial over any axes. */
  readonly anyPartial?: true
  /** Its addends are 0 but on the devices for which this predicate holds, which have made it alone. */
  readonly aloneBy?: Node
}

/** Axes along which one device is at work alone: of what it sums along them, nobody else has an addend. `asked`: each dim that rules split of what was asked about, and an axis that it lies on, as `dim axis`. */
export interface Alone { readonly axes: readonly string[]; readonly asked: Set<string> }
/** Rules that note what they are asked. */
export const noting = (target: Context['target'], asked: Set<string>): Context['target'] => (...of) => {
  const found = target(...of)
  for (const [dim, axes] of found) for (const axis of axes) asked.add(`${dim} ${axis}`)
  return found
}

/** What rules gave before: see `before.ts`. */
export interface Kept {
  readonly reduced: Set<Node>
  readonly tempted: Set<string>
  results(n: Node, operands: readonly Value[], c: Context, rule: () => readonly Value[]): readonly Value[]
  given(n: Node, values: readonly Value[], c: Context): readonly Value[]
  body<B extends LocalBody>(body: B): B
}

export interface Context {
  readonly mesh: Mesh
  readonly make: Make<LocalAttrs>
  /** Nodes whose values some user needed reduced, not partial. */
  readonly reduced: Set<Node>
  /** The uses (see `meet.ts`) of what rests that may be where it rests. */
  readonly atRest: ReadonlySet<string>
  /** Those that seemed less so. */
  readonly tempted: Set<string>
  /** Collectives are to be under way while a device computes: all devices begin the same ones in one order. */
  readonly overlaps: boolean
  /** How a layout, `compute` unless said, splits a shape. */
  readonly target: (shape: readonly Dim[], layout?: string | Layout, first?: string) => Sharding
  /** Where one device is at work alone. */
  readonly alone?: Alone
  /** What rules gave before, where that is kept: nothing is of what one device does alone. */
  readonly before?: Kept | undefined
  /** The same walk for one device along these axes. */
  readonly within: (c: Context, axes: readonly string[]) => Context & { readonly alone: Alone }
  /** The axes along which a branch takes collectives, which a walk over `of` has given, and whether how many it takes is known before. */
  readonly axesOf: (branch: Pick<LocalBody, 'outputs'>, of: Graph) => ReturnType<typeof axesOf>
  /** The walk over a graph itself, for the bodies of loops and choices: the values of some nodes, given those of the inputs. */
  readonly partitionNodes: (roots: readonly Node[], given: ReadonlyMap<Node, Value>) => Value[]
}
export type Rules = Context['target']
type Walk = (roots: readonly Node[], given: ReadonlyMap<Node, Value>, c: Context) => Value[]

/** How layouts split shapes, each list of dims looked at once: most ops have that of an operand. `derived` are the dims that got their sizes from ops: see `splitOf`. */
export function targetsOf(mesh: Mesh, layouts: Layouts, derived: (d: Dim) => boolean): Rules {
  const byName = new Map<string, Layout>()
  const rules = (name: string): Layout => {
    const found = byName.get(name) ?? rulesOf(layouts, name)
    byName.set(name, found)
    return found
  }
  const leaving = (first: string | undefined, all: Layout): Layout => (first === undefined ? all : leavingTo(first, all))
  const split = (shape: readonly Dim[], layout: string | Layout, first?: string): Sharding =>
    shardingOf(leaving(first, typeof layout === 'string' ? rules(layout) : layout), mesh, shape, 'relayout', undefined, derived)
  const computed = new Map<readonly Dim[], Sharding>()
  return (shape, layout = 'compute', first) => {
    if (layout !== 'compute' || first !== undefined) return split(shape, layout, first)
    const known = computed.get(shape)
    if (known !== undefined) return known
    const found = split(shape, layout)
    computed.set(shape, found)
    return found
  }
}

export function newContext(mesh: Mesh, overlaps: boolean, target: Rules, before: Kept, atRest: ReadonlySet<string>, walk: Walk): Context {
  const within: Context['within'] = (outer, axes) => {
    const alone: Alone = { axes, asked: new Set() }
    const own: ReturnType<Context['within']> = { ...outer, alone, before: undefined, target: noting(outer.target, alone.asked), partitionNodes: (roots, given) => walk(roots, given, own) }
    return own
  }
  const c: Context = { mesh, make: interner(localInfer, () => undefined, new Map()), before, reduced: before.reduced, atRest, tempted: before.tempted, overlaps, target, within, axesOf, partitionNodes: (roots, given) => walk(roots, given, c) }
  return c
}

export const samePartial = (a: Partial | undefined, b: Partial | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && a.kind === b.kind && [...a.axes].sort().join() === [...b.axes].sort().join())

/** The body, or one of the same nodes that was made before. */
export const bodyOf = <B extends LocalBody>(c: Context, body: B): B => c.before?.body(body) ?? body

/** The same value, no longer partial: all-reduced where it was. */
export function reduced(c: Context, v: Value): Value {
  const { partial, anyPartial: _, ...rest } = v
  if (partial === undefined) return rest
  if (v.origin !== undefined) c.reduced.add(v.origin)
  return { ...rest, node: c.make('allReduce', [v.node], partial, v.node.site) }
}
