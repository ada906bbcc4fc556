/**
 * What loops carry, and how it lies: what comes into a body and what goes out of it must lie alike. What starts as one number everywhere lies anywhere, so it lies where
 * the body leaves it; and what starts at zero, or is a sum that no turn reads, may stay partial all the way round, so that sums are reduced once, after the loop.
 */
import { isHidden } from '../core/dim.ts'
import { isFloat } from '../core/dtype.ts'
import { sameSharding, type Sharding } from '../core/layout.ts'
import { splatValue } from '../graph/make.ts'
import { dtypeOf, operand, orderOf, type Node } from '../graph/node.ts'
import type { Graph } from '../graph/ops.ts'
import { reduced, samePartial, type Context, type Partial, type Value } from './context.ts'
import { relayout } from './moves/relayout.ts'
import { once } from './once.ts'

/** What a carry is held to: addends over these axes, over any, or none. */
export type CarryPartial = Partial | 'any' | undefined
export type Addends = Pick<Value, 'partial' | 'anyPartial'>
/** What a body gives, its carries first and laid as they came in; and how they lay before. */
export interface Attempt { readonly outputs: readonly Value[]; readonly lying: readonly Sharding[] }

export const addendsOf = (partial: CarryPartial): Addends => (partial === 'any' ? { anyPartial: true } : partial === undefined ? {} : { partial })

/** A carry that a body has made, as the next turn wants it. */
export function held(c: Context, v: Value, init: Value | undefined, want: CarryPartial): Value {
  const there = sameSharding(v.sharding, init?.sharding ?? v.sharding) ? v : relayout(c, v, init?.sharding ?? v.sharding)
  return want === 'any' || samePartial(there.partial, want) ? there : reduced(c, there)
}

/** Whether one layout comes to the other by cutting. */
const within = (coarse: Sharding, fine: Sharding): boolean => [...coarse].every(([dim, axes]) => axes.every((a, k) => fine.get(dim)?.[k] === a))

/** By node of a body, how often it is read; a search asks for the same body many times. */
const readers = new WeakMap<Graph, ReadonlyMap<Node, number>>()
function readersOf(body: Graph): ReadonlyMap<Node, number> {
  const known = readers.get(body)
  if (known !== undefined) return known
  const found = new Map<Node, number>()
  const read = (x: Node): void => { found.set(x, (found.get(x) ?? 0) + 1) }
  for (const m of orderOf(body.outputs)) for (const x of m.inputs) read(x)
  for (const y of body.outputs) read(y)
  readers.set(body, found)
  return found
}

/** Whether a carry is a sum that only grows: nothing in a turn reads it but what adds to it. */
function grows(body: Graph, i: number): boolean {
  const [p, last] = [body.inputs[i], body.outputs[i]]
  if (p === undefined || last === undefined || p === last || !isFloat(dtypeOf(p))) return false
  const times = readersOf(body)
  const leads = (m: Node): boolean => {
    if (times.get(m) !== 1) return false
    if (m === p) return true
    return m.op === 'binary' && (m.attrs.fn === 'add' ? m.inputs.some(leads) : m.attrs.fn === 'sub' && leads(operand(m, 0)))
  }
  return leads(last)
}

/** What the carries of a loop start with, where that is one number, and whether they are sums that only grow; a search asks for the same loop many times. */
const kinds = new WeakMap<Node, readonly { readonly start: number | undefined; readonly grows: boolean }[]>()
function kindsOf(n: Node<'scan' | 'while'>): readonly { readonly start: number | undefined; readonly grows: boolean }[] {
  const known = kinds.get(n) ?? n.inputs.slice(0, n.attrs.carries).map((x, i) => ({ start: splatValue(x), grows: grows(n.attrs.body, i) }))
  kinds.set(n, known)
  return known
}

/** What the body of loop `n` gives once its carries, which begin as `init` has them, come out as they go in; those of one number are moved in `init`, and sums that begin with a value begin on one device. */
export function steady(c: Context, n: Node<'scan' | 'while'>, init: Value[], attempt: (partials: readonly CarryPartial[]) => Attempt): readonly Value[] {
  const before = new Set(c.reduced)
  const forget = (): void => { for (const r of [...c.reduced]) if (!before.has(r)) c.reduced.delete(r) }
  const carries = kindsOf(n)
  const starts = init.map((v, i) => (v.partial === undefined ? carries[i]?.start : undefined))
  const none = init.map(() => undefined)
  // Rules say nothing of what has dims that only an op knows: it is at home where it lies, and cut as its body cuts it, which costs nothing.
  const inner = init.map(v => v.shape.some(d => isHidden(d.name)))
  const growing = init.map((v, i) => starts[i] === undefined && v.partial === undefined && carries[i]?.grows === true)
  if (starts.every((value, i) => value === undefined && !inner[i] && !growing[i])) return attempt(none).outputs
  // First it is asked where they lie and over which axes sums would be partial, then they are held to these; where that fails, sums are reduced in every turn.
  const summed = (sums: readonly CarryPartial[]): readonly Value[] | undefined => {
    let first = attempt(sums)
    const moves = (to: Sharding, i: number): boolean => !sameSharding(to, init[i]?.sharding ?? to) && (starts[i] !== undefined || (inner[i] === true && within(init[i]?.sharding ?? to, to)))
    const away = first.lying.map((to, i) => (moves(to, i) ? to : undefined))
    if (away.some(to => to !== undefined)) {
      forget()
      away.forEach((to, i) => {
        const v = init[i]
        if (to !== undefined && v !== undefined) init[i] = { ...relayout(c, v, to), ...(inner[i] === true ? {} : { strayed: true }) }
      })
      first = attempt(sums)
    }
    const partials = init.map((_, i): Partial | undefined => { const v = first.outputs[i]; return sums[i] === 'any' && v?.partial?.kind === 'sum' ? v.partial : undefined })
    forget()
    const { outputs } = attempt(partials)
    if (partials.every((partial, i) => samePartial(outputs[i]?.partial, partial))) {
      partials.forEach((partial, i) => { const v = init[i]; if (partial !== undefined && v !== undefined && growing[i] === true) init[i] = once(c, v, partial.axes) })
      return outputs
    }
    forget()
    return undefined
  }
  const zero = starts.map((value): CarryPartial => (value === 0 ? 'any' : undefined))
  const all = zero.map((z, i): CarryPartial => (growing[i] === true ? 'any' : z))
  return (growing.includes(true) ? summed(all) : undefined) ?? summed(zero) ?? attempt(none).outputs
}
