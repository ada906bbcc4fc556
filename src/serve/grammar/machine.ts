/** A grammar as a machine with a stack: nodes that take a byte, choose, call a rule, count turns, or come to an end. */
import { wrong, type Expr, type Rules } from './expr.ts'

export type Node =
  | { readonly kind: 'byte'; readonly accepts: Uint8Array; readonly next: number }
  | { readonly kind: 'split'; readonly to: readonly number[] }
  | { readonly kind: 'call'; readonly rule: number; readonly next: number }
  /** Turns of a body between two numbers: which turn it is stands on the stack. */
  | { readonly kind: 'count'; readonly body: number; readonly min: number; readonly max: number; readonly next: number }
  | { readonly kind: 'again' }
  | { readonly kind: 'return' }
export interface Machine {
  readonly nodes: readonly Node[]
  readonly start: number
  /** Entries of rules. */
  readonly entries: readonly number[]
  /** Of each node how much deeper the stack must become, at least, until its rule returns; infinite where it never can. */
  readonly needs: Float64Array
}

/** How much a machine may be, and take; `beyond` is thrown where it is more. */
export interface Limits {
  readonly nodes: number
  /** Places that are looked at for one mask. */
  readonly work: number
  readonly beyond: (what: 'nodes' | 'work') => Error
}
const tooLarge = (): Error => wrong('the constraint is too large', 'allow less at once')
export const tooMany = (): Error => wrong('the constraint can be read in too many ways at once', 'say it so that what comes next tells where it belongs: repeats within repeats do not')
/** The most that is done at all: a fraction of a second for one mask. */
export const atMost: Limits = { nodes: 150_000, work: 400_000, beyond: what => (what === 'nodes' ? tooLarge() : tooMany()) }

/** So many turns are written out; more are counted. */
const unrolled = 3
/** Rules that are open within each other, and turns that are counted. */
export const deepest = 256

function namesIn(e: Expr, into = new Set<string>()): ReadonlySet<string> {
  if (e.op === 'rule') into.add(e.name)
  else if (e.op === 'repeat') namesIn(e.item, into)
  else if (e.op !== 'bytes') for (const item of e.items) namesIn(item, into)
  return into
}

/** Rules that may be empty. */
function nullable(rules: Rules): (e: Expr) => boolean {
  const empty = new Set<string>()
  const is = (e: Expr): boolean => {
    if (e.op === 'bytes') return false
    if (e.op === 'seq') return e.items.every(is)
    if (e.op === 'any') return e.items.some(is)
    if (e.op === 'repeat') return e.min === 0 || is(e.item)
    return empty.has(e.name)
  }
  // A rule is looked at again when one that it names has been found to be empty.
  const named = new Map<string, string[]>()
  for (const [name, e] of rules) for (const of of namesIn(e)) { const those = named.get(of); if (those === undefined) named.set(of, [name]); else those.push(name) }
  const open = [...rules.keys()]
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (empty.has(name) || !is(rules.get(name) as Expr)) continue
    empty.add(name)
    open.push(...named.get(name) ?? [])
  }
  return is
}

/** What never comes to an end needs infinitely much, and what nothing can follow is never begun. */
function needsOf(nodes: readonly Node[], entries: readonly number[]): Float64Array {
  const needs = new Float64Array(nodes.length).fill(Infinity)
  const after = (node: Node): readonly number[] => (node.kind === 'byte' ? [node.next] : node.kind === 'split' ? node.to : node.kind === 'call' ? [entries[node.rule] as number, node.next] : node.kind === 'count' ? [node.body, node.next] : [])
  // Which nodes lead to one: of node i those from starts[i] on, up to starts[i + 1].
  const starts = new Int32Array(nodes.length + 1)
  for (const node of nodes) for (const to of after(node)) starts[to + 1] = (starts[to + 1] as number) + 1
  for (let i = 0; i < nodes.length; i++) starts[i + 1] = (starts[i + 1] as number) + (starts[i] as number)
  const before = new Int32Array(starts[nodes.length] as number)
  const filled = starts.slice()
  for (const [i, node] of nodes.entries()) for (const to of after(node)) { before[filled[to] as number] = i; filled[to] = (filled[to] as number) + 1 }
  const at = (i: number): number => needs[i] as number
  const need = (node: Node): number => {
    if (node.kind === 'byte') return at(node.next)
    if (node.kind === 'split') return node.to.reduce((least, to) => Math.min(least, at(to)), Infinity)
    if (node.kind === 'call') return nodes[node.next]?.kind === 'return' ? at(entries[node.rule] as number) : Math.max(1 + at(entries[node.rule] as number), at(node.next))
    if (node.kind === 'count') return node.min === 0 ? at(node.next) : Math.max(1 + at(node.body), at(node.next))
    return 0
  }
  // What a node leads to is mostly made before it.
  const open = Array.from(nodes, (_, i) => nodes.length - 1 - i)
  for (let i = open.pop(); i !== undefined; i = open.pop()) {
    const found = need(nodes[i] as Node)
    if (found >= at(i)) continue
    needs[i] = found
    for (let k = starts[i] as number; k < (starts[i + 1] as number); k++) open.push(before[k] as number)
  }
  return needs
}

/** @throws UsageError for a rule that begins with itself: it would never come to a byte */
function refuseLeftRecursion(rules: Rules, isEmpty: (e: Expr) => boolean): void {
  const first = (e: Expr): string[] => {
    if (e.op === 'rule') return [e.name]
    if (e.op === 'bytes') return []
    if (e.op === 'any') return e.items.flatMap(first)
    if (e.op === 'repeat') return e.max === 0 ? [] : first(e.item)
    const found: string[] = []
    for (const item of e.items) {
      found.push(...first(item))
      if (!isEmpty(item)) break
    }
    return found
  }
  const begins = new Map([...rules].map(([name, e]) => [name, [...new Set(first(e))]]))
  const state = new Map<string, 'open' | 'done'>()
  for (const root of rules.keys()) {
    const path: { readonly name: string; at: number }[] = state.has(root) ? [] : [{ name: root, at: 0 }]
    if (path.length > 0) state.set(root, 'open')
    while (path.length > 0) {
      const top = path[path.length - 1] as { readonly name: string; at: number }
      const next = begins.get(top.name)?.[top.at++]
      if (next === undefined) {
        state.set(top.name, 'done')
        path.pop()
      } else if (state.get(next) === 'open') throw wrong(`the rule "${next}" begins with itself`, 'write what repeats behind what it begins with')
      else if (!state.has(next)) {
        state.set(next, 'open')
        path.push({ name: next, at: 0 })
      }
    }
  }
}

/** What is named in many places is written out in each: it is counted first, or a short text could stand for endlessly much. */
function refuseLarge(rules: Rules, { nodes, beyond }: Limits): void {
  const sizes = new Map<Expr, number>()
  const sizeOf = (e: Expr): number => {
    if (e.op === 'bytes' || e.op === 'rule') return 1
    const known = sizes.get(e)
    if (known !== undefined) return known
    const found = e.op === 'repeat' ? 1 + sizeOf(e.item) * (e.max <= unrolled ? e.max : Math.max(1, e.max === Infinity && e.min <= unrolled ? e.min + 1 : 1)) : e.items.reduce((sum, item) => sum + sizeOf(item), 1)
    sizes.set(e, found)
    if (found > nodes) throw beyond('nodes')
    return found
  }
  let sum = 0
  for (const e of rules.values()) if ((sum += sizeOf(e)) > 2 * nodes) throw beyond('nodes')
}

/** @throws UsageError for a rule that is not there; what `limits` says for grammars that are too large */
export function machineOf(rules: Rules, root: string, limits: Limits = atMost): Machine {
  refuseLarge(rules, limits)
  const isEmpty = nullable(rules)
  refuseLeftRecursion(rules, isEmpty)
  const nodes: Node[] = [{ kind: 'return' }, { kind: 'again' }]
  const names = [...rules.keys()]
  const index = new Map(names.map((name, i) => [name, i]))
  const add = (node: Node): number => {
    if (nodes.length >= limits.nodes) throw limits.beyond('nodes')
    return nodes.push(node) - 1
  }
  // Most bytes are those of fixed texts: they share their tables.
  const tables = new Map<string, Uint8Array>()
  const tableOf = (ranges: readonly (readonly [number, number])[]): Uint8Array => {
    const key = ranges.join(';')
    let accepts = tables.get(key)
    if (accepts === undefined) {
      accepts = new Uint8Array(256)
      for (const [low, high] of ranges) accepts.fill(1, low, high + 1)
      tables.set(key, accepts)
    }
    return accepts
  }
  const build = (e: Expr, next: number): number => {
    if (e.op === 'bytes') {
      return add({ kind: 'byte', accepts: tableOf(e.ranges), next })
    }
    if (e.op === 'seq') return e.items.reduceRight((to, item) => build(item, to), next)
    if (e.op === 'any') return add({ kind: 'split', to: e.items.map(item => build(item, next)) })
    if (e.op === 'rule') {
      const at = index.get(e.name)
      if (at === undefined) throw wrong(`there is no rule "${e.name}"`, `there are ${names.slice(0, 8).join(', ')}`)
      return add({ kind: 'call', rule: at, next })
    }
    return repeated(e.item, e.min, e.max, next)
  }
  function repeated(item: Expr, min: number, max: number, next: number): number {
    if (max === 0) return next
    if (max === Infinity) {
      // What may be empty is as well left out: turns that take nothing add nothing.
      const least = isEmpty(item) ? 0 : min
      if (least <= unrolled) {
        const loop = add({ kind: 'split', to: [] })
        nodes[loop] = { kind: 'split', to: [build(item, loop), next] }
        return Array.from({ length: least }).reduce<number>(to => build(item, to), loop)
      }
      return add({ kind: 'count', body: build(item, 1), min: least, max, next })
    }
    if (max <= unrolled) {
      let at = next
      for (let turn = max; turn > min; turn--) at = add({ kind: 'split', to: [build(item, at), next] })
      for (let turn = min; turn > 0; turn--) at = build(item, at)
      return at
    }
    return add({ kind: 'count', body: build(item, 1), min: isEmpty(item) ? 0 : min, max, next })
  }
  const entries = names.map(name => build(rules.get(name) as Expr, 0))
  const at = index.get(root)
  if (at === undefined) throw wrong(`there is no rule "${root}"`, `name the first rule "${root}"`)
  const needs = needsOf(nodes, entries)
  if ((needs[entries[at] as number] as number) > deepest) throw wrong('there is nothing that the constraint would let come', 'allow something: a schema that is false, or that needs itself without end, holds for nothing')
  return { nodes, start: entries[at] as number, entries, needs }
}
