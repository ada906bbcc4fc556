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
export interface Machine { readonly nodes: readonly Node[]; readonly start: number; /** Entries of rules. */ readonly entries: readonly number[] }

/** So many turns are written out; more are counted. */
const unrolled = 3
const mostNodes = 200_000

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
  for (let before = -1; before !== empty.size;) {
    before = empty.size
    for (const [name, e] of rules) if (is(e)) empty.add(name)
  }
  return is
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

/** @throws UsageError for a rule that is not there, and for grammars that are too large */
export function machineOf(rules: Rules, root: string): Machine {
  const isEmpty = nullable(rules)
  refuseLeftRecursion(rules, isEmpty)
  const nodes: Node[] = [{ kind: 'return' }, { kind: 'again' }]
  const names = [...rules.keys()]
  const index = new Map(names.map((name, i) => [name, i]))
  const add = (node: Node): number => {
    if (nodes.length >= mostNodes) throw wrong('the constraint is too large', 'allow less at once')
    return nodes.push(node) - 1
  }
  const build = (e: Expr, next: number): number => {
    if (e.op === 'bytes') {
      const accepts = new Uint8Array(256)
      for (const [low, high] of e.ranges) accepts.fill(1, low, high + 1)
      return add({ kind: 'byte', accepts, next })
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
  return { nodes, start: entries[at] as number, entries }
}
