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
export const namedBodies = <A>(n: NodeOf<A>): readonly (readonly [string, GraphOf<A>])[] =>
  Object.entries(n.attrs as object).filter((entry): entry is [string, GraphOf<A>] => isGraph(entry[1]))
const isGraph = (value: unknown): boolean => typeof value === 'object' && value !== null && 'outputs' in value
export const bodiesOf = <A>(n: NodeOf<A>): readonly GraphOf<A>[] => namedBodies(n).map(([, body]) => body)

/** The node with its bodies replaced; itself where none is. */
export function withBodies<A>(make: Make<A>, n: NodeOf<A>, replace: (body: GraphOf<A>) => GraphOf<A>, inputs: readonly NodeOf<A>[] = n.inputs): NodeOf<A> {
  const bodies = namedBodies(n).map(([name, body]) => [name, body, replace(body)] as const)
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
export type Make<A> = <K extends keyof A>(op: K, inputs: readonly NodeOf<A>[], attrs: A[K], site?: Site) => NodeOf<A, K>

/** A maker of nodes that returns the same object for the same op, operands and attributes; `siteOf` finds the line of those given none; the others check what goes in and what comes out. */
export function interner<A>(
  infer: Infer<A>, siteOf: () => Site | undefined, operands: (op: string, inputs: readonly Typed[]) => void = () => {},
  results: (op: string, found: readonly TensorType[], site: Site | undefined) => readonly TensorType[] = (_, found) => found,
): Make<A> {
  const made = new Map<string, WeakRef<object>>()
  const identities = new WeakMap<object, number>()
  let nextId = 0
  let nextIdentity = 0
  const swept = new FinalizationRegistry<string>(key => { if (made.get(key)?.deref() === undefined) made.delete(key) })

  const identity = (o: object): string => {
    const known = identities.get(o) ?? nextIdentity++
    identities.set(o, known)
    return `@${known}`
  }
  // Functions and graphs count by identity, everything else by value.
  const keyOf = (value: unknown): string => {
    if (typeof value === 'function') return identity(value)
    if (Array.isArray(value)) return `[${value.map(keyOf).join()}]`
    if (typeof value === 'object' && value !== null) {
      if (isGraph(value)) return identity(value)
      return `{${Object.entries(value).map(([k, v]) => `${k}:${keyOf(v)}`).join()}}`
    }
    return Object.is(value, -0) ? '-0' : `${typeof value === 'string' ? JSON.stringify(value) : String(value)}`
  }

  return (op, inputs, attrs, site) => {
    type Made = NodeOf<A, typeof op>
    operands(String(op), inputs)
    const key = `${String(op)}(${inputs.map(n => n.id).join()})${keyOf(attrs)}`
    const old = made.get(key)?.deref()
    if (old !== undefined) return old as Made
    const at = site ?? siteOf()
    const node = Object.freeze({ id: nextId++, op, inputs: Object.freeze([...inputs]), attrs: Object.freeze(attrs), results: results(String(op), infer[op](attrs, inputs, at), at), site: at })
    made.set(key, new WeakRef(node))
    swept.register(node, key)
    return node as unknown as Made
  }
}

/**
 * Every node the roots need, operands before users, loop bodies not entered. The order follows from the graph alone, never
 * from what was made before it: the same program always reads, sums and compiles the same. What only nodes
 * outside of `within` need is left out.
 */
export function reachable<A>(roots: readonly NodeOf<A>[], within: (n: NodeOf<A>) => boolean = () => true): NodeOf<A>[] {
  const done = new Set<NodeOf<A>>()
  const entered = new Set<NodeOf<A>>()
  const stack = [...roots].reverse()
  for (let n = stack.at(-1); n !== undefined; n = stack.at(-1)) {
    if (entered.has(n)) {
      done.add(n)
      stack.pop()
      continue
    }
    entered.add(n)
    if (!within(n)) continue
    for (let i = n.inputs.length - 1; i >= 0; i--) {
      const input = n.inputs[i]
      if (input !== undefined && !entered.has(input)) stack.push(input)
    }
  }
  return [...done]
}
