/** Nodes: frozen, interned, typed by their op; and the tables that passes are made of. */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import type { Site } from '../core/errors.ts'
import type { GraphOf, NodeOf, TensorType } from './language.ts'
import type { Attrs, Node } from './ops.ts'

export type { GraphOf, NodeOf, TensorType, Node }

/** A pass: one rule for every op. */
export type TableOf<A, R, Args extends readonly unknown[] = []> = { readonly [K in keyof A]: (n: NodeOf<A, K>, ...args: Args) => R }
export type Table<R, Args extends readonly unknown[] = []> = TableOf<Attrs, R, Args>
/** The rules of some of the global ops. */
export type TableFor<G, R, Args extends readonly unknown[] = []> = { readonly [K in keyof G & keyof Attrs]: (n: Node<K>, ...args: Args) => R }

/** Applies the rule of the node's op: no cast, no switch. */
export const visit = <A, R, Args extends readonly unknown[], K extends keyof A>(table: TableOf<A, R, Args>, n: NodeOf<A, K>, ...args: Args): R =>
  table[n.op](n, ...args)

/** The graphs that an op runs, by the names of its attributes: a loop's body, a choice's branches. Most ops have none. */
export function namedBodies<A>(n: NodeOf<A>): readonly (readonly [string, GraphOf<A>])[] {
  const attrs = n.attrs as { readonly [name: string]: unknown }
  let found: [string, GraphOf<A>][] | undefined
  for (const name in attrs) if (isGraph(attrs[name])) (found ??= []).push([name, attrs[name] as GraphOf<A>])
  return found ?? none
}
const none: readonly never[] = []
const isGraph = (value: unknown): boolean => typeof value === 'object' && value !== null && 'outputs' in value
export function bodiesOf<A>(n: NodeOf<A>): readonly GraphOf<A>[] {
  const named = namedBodies(n)
  return named.length === 0 ? none : named.map(([, body]) => body)
}

/** The node with its bodies replaced; itself where none is. */
export function withBodies<A>(make: Make<A>, n: NodeOf<A>, replace: (body: GraphOf<A>) => GraphOf<A>, inputs: readonly NodeOf<A>[] = n.inputs): NodeOf<A> {
  const named = namedBodies(n)
  if (named.length === 0 && inputs === n.inputs) return n
  const bodies = named.map(([name, body]) => [name, body, replace(body)] as const)
  if (inputs === n.inputs && bodies.every(([, before, after]) => before === after)) return n
  // What it replaces are graphs, by graphs.
  const attrs = { ...n.attrs, ...Object.fromEntries(bodies.map(([name, , body]) => [name, body])) }
  return make(n.op, inputs, attrs, n.site)
}

/** What inference sees of an operand, in any language of ops. */
export interface Typed { readonly results: readonly TensorType[] }

/** The type of a node's (first) result. */
export function typeOf(n: Typed): TensorType {
  const [first] = n.results
  if (first === undefined) throw new Error('a node has no result')
  return first
}
export const shapeOf = (n: Typed): readonly Dim[] => typeOf(n).shape
export const dtypeOf = (n: Typed): DType => typeOf(n).dtype

/** The i-th operand of an op that is known to have it. */
export function operand<A>(n: NodeOf<A>, i: number): NodeOf<A> {
  const found = n.inputs[i]
  if (found === undefined) throw new Error(`op ${String(n.op)} has no operand ${i}`)
  return found
}

/** What an op's results are, from its operands; throws DimError when they do not fit. */
export type Infer<A> = { readonly [K in keyof A]: (attrs: A[K], inputs: readonly Typed[], site: Site | undefined) => readonly TensorType[] }
/** `like` is a node of the same op and attributes that this one is made after: where the operands are of the same types, so are the results, and nothing is checked again. */
export type Make<A> = <K extends keyof A>(op: K, inputs: readonly NodeOf<A>[], attrs: A[K], site?: Site, like?: NodeOf<A>) => NodeOf<A, K>

/** The node with other operands. */
export const remade = <A>(make: Make<A>, n: NodeOf<A>, inputs: readonly NodeOf<A>[]): NodeOf<A> => make(n.op, inputs, n.attrs, n.site, n)

/** Whether the same types come in. */
function sameTypes(a: readonly Typed[], b: readonly Typed[]): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) {
    const [these, those] = [(a[i] as Typed).results, (b[i] as Typed).results]
    if (these === those) continue
    if (these.length !== those.length) return false
    for (let k = 0; k < these.length; k++) if (these[k] !== those[k]) return false
  }
  return true
}

/** Where made nodes are found again. */
export interface Interned { get(key: string): object | undefined; set(key: string, n: object): unknown }

/**
 * A table for as long as the process: a node that nobody has any more leaves it. One for a single piece of work is a `Map`, which costs less. Nodes are held until Node's loop turns, as V8 would hold what a weak reference
 * is made of, and weakly from then on: references are made when what asked for the nodes has gone its way. Those that have come to nothing are swept together, which costs less than to have V8 tell of each.
 */
export function heldWeakly(): Interned {
  const held = new Map<string, object>()
  const weak = new Map<string, WeakRef<object>>()
  let most = 20_000
  const letGo = (): void => {
    for (const [key, n] of held) weak.set(key, new WeakRef(n))
    held.clear()
    if (weak.size <= most) return
    for (const [key, reference] of weak) if (reference.deref() === undefined) weak.delete(key)
    most = Math.max(most, 2 * weak.size)
  }
  return {
    get: key => held.get(key) ?? weak.get(key)?.deref(),
    set(key, n) {
      if (held.size === 0) setImmediate(letGo).unref()
      held.set(key, n)
    },
  }
}

/** A maker of nodes that returns the same object for the same op, operands and attributes, which it finds in `made`; `siteOf` finds the line of those given none; the others check what goes in and what comes out. */
export function interner<A>(
  infer: Infer<A>, siteOf: () => Site | undefined, made: Interned, operands: (op: string, inputs: readonly Typed[]) => void = () => {},
  results: (op: string, found: readonly TensorType[], site: Site | undefined) => readonly TensorType[] = (_, found) => found,
): Make<A> {
  const identities = new WeakMap<object, string>()
  let nextId = 0
  let nextIdentity = 0

  const identity = (o: object): string => {
    const known = identities.get(o)
    if (known !== undefined) return known
    const made = `@${nextIdentity++}`
    identities.set(o, made)
    return made
  }
  // Functions and graphs count by identity, everything else by value. Every node that is asked for is written so: no lists are made on the way.
  const keyOf = (value: unknown): string => {
    // With its length before it a text needs no quoting, which would be looked through letter by letter.
    if (typeof value === 'string') return `${value.length}'${value}`
    if (typeof value === 'function') return identity(value)
    if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? '-0' : String(value)
    let key = ''
    if (Array.isArray(value)) {
      for (const item of value) key += `${keyOf(item)},`
      return `[${key}]`
    }
    if (isGraph(value)) return identity(value)
    const fields = value as { readonly [name: string]: unknown }
    for (const name in fields) key += `${name}:${keyOf(fields[name])},`
    return `{${key}}`
  }

  return (op, inputs, attrs, site, like) => {
    type Made = NodeOf<A, typeof op>
    operands(String(op), inputs)
    let key = `${String(op)}(`
    for (const n of inputs) key += `${n.id},`
    key += keyOf(attrs)
    const old = made.get(key)
    if (old !== undefined) return old as Made
    const at = site ?? siteOf()
    const node = Object.freeze({ id: nextId++, op, inputs: Object.freeze([...inputs]), attrs: Object.freeze(attrs), results: like !== undefined && sameTypes(inputs, like.inputs) ? like.results : results(String(op), infer[op](attrs, inputs, at), at), site: at })
    made.set(key, node)
    return node as unknown as Made
  }
}

/**
 * Every node the roots need, operands before users, loop bodies not entered. The order follows from the graph alone, never
 * from what was made before it: the same program always reads, sums and compiles the same. What only nodes
 * outside of `within` need is left out. `inputsOf` says what a node needs, where that is not all that it is made of.
 */
export function reachable<A>(roots: readonly NodeOf<A>[], within: (n: NodeOf<A>) => boolean = () => true, inputsOf: (n: NodeOf<A>) => readonly NodeOf<A>[] = n => n.inputs): NodeOf<A>[] {
  const done: NodeOf<A>[] = []
  // Of each node that was met whether it is done.
  const met = new Map<NodeOf<A>, boolean>()
  const stack = [...roots].reverse()
  for (let n = stack.at(-1); n !== undefined; n = stack.at(-1)) {
    const state = met.get(n)
    if (state !== undefined) {
      stack.pop()
      if (!state) done.push(n)
      met.set(n, true)
      continue
    }
    met.set(n, false)
    if (!within(n)) continue
    const inputs = inputsOf(n)
    for (let i = inputs.length - 1; i >= 0; i--) {
      const input = inputs[i]
      if (input !== undefined && !met.has(input)) stack.push(input)
    }
  }
  return done
}

/** Orders that were found before, by the list of results. */
const orders = new WeakMap<object, readonly unknown[]>()
/** Of these orders the nodes of each op, and those with bodies. */
const sorted = new WeakMap<object, { readonly byOp: ReadonlyMap<unknown, readonly unknown[]>; readonly withBodies: readonly unknown[] }>()

/** What `reachable` gives for the results of a graph or of a body, which are never changed: passes walk them again and again. */
export function orderOf<A>(outputs: readonly NodeOf<A>[]): readonly NodeOf<A>[] {
  const known = orders.get(outputs) as readonly NodeOf<A>[] | undefined
  if (known !== undefined) return known
  const found = reachable(outputs)
  orders.set(outputs, found)
  return found
}

function sortedOf<A>(outputs: readonly NodeOf<A>[]): { readonly byOp: ReadonlyMap<unknown, readonly unknown[]>; readonly withBodies: readonly unknown[] } {
  const known = sorted.get(outputs)
  if (known !== undefined) return known
  const [byOp, withBodies] = [new Map<unknown, NodeOf<A>[]>(), [] as NodeOf<A>[]]
  for (const n of orderOf(outputs)) {
    const alike = byOp.get(n.op)
    if (alike === undefined) byOp.set(n.op, [n])
    else alike.push(n)
    if (bodiesOf(n).length > 0) withBodies.push(n)
  }
  const found = { byOp, withBodies }
  sorted.set(outputs, found)
  return found
}
/** Of `orderOf` the nodes of one op. */
export const nodesOf = <A, K extends keyof A>(outputs: readonly NodeOf<A>[], op: K): readonly NodeOf<A, K>[] => (sortedOf(outputs).byOp.get(op) ?? none) as readonly NodeOf<A, K>[]
/** Of `orderOf` the nodes that have bodies. */
export const loopsOf = <A>(outputs: readonly NodeOf<A>[]): readonly NodeOf<A>[] => sortedOf(outputs).withBodies as readonly NodeOf<A>[]
