/**
 * The partition rule of loops. The body is split like any graph; what must be found is how the carries lie, since what comes in
 * and what goes out must lie alike. A sum that nothing in the loop reads may stay partial all the way round, so that gradients
 * accumulated in a loop are reduced once, after it; one that does not start at zero starts on one device.
 */
import { isFloat } from '../core/dtype.ts'
import { sameSharding, type Sharding } from '../core/layout.ts'
import { splatValue } from '../graph/make.ts'
import { dtypeOf, operand, reachable, type Node } from '../graph/node.ts'
import type { Graph } from '../graph/ops.ts'
import { enter, projected } from './bodies.ts'
import { samePartial, reduced, type Context, type Partial, type Value } from './context.ts'
import { relayout } from './moves/relayout.ts'
import { ready } from './operands.ts'
import type { LocalNode } from './local.ts'
import { home } from './meet.ts'
import { once } from './once.ts'

type CarryPartial = Partial | 'any' | undefined

const without = (sharding: Sharding, name: string): Sharding => new Map([...sharding].filter(([dim]) => dim !== name))

/** Whether a carry is a sum that only grows: nothing in a turn reads it but what adds to it. */
function sumsUp(body: Graph, i: number): boolean {
  const [p, last] = [body.inputs[i], body.outputs[i]]
  if (p === undefined || last === undefined || p === last || !isFloat(dtypeOf(p))) return false
  const readers = new Map<Node, number>()
  for (const m of reachable(body.outputs)) for (const x of m.inputs) readers.set(x, (readers.get(x) ?? 0) + 1)
  for (const y of body.outputs) readers.set(y, (readers.get(y) ?? 0) + 1)
  const leads = (m: Node): boolean => {
    if (readers.get(m) !== 1) return false
    if (m === p) return true
    return m.op === 'binary' && (m.attrs.fn === 'add' ? m.inputs.some(leads) : m.attrs.fn === 'sub' && leads(operand(m, 0)))
  }
  return leads(last)
}

export function partitionScan(n: Node<'scan'>, values: readonly Value[], c: Context): readonly Value[] {
  const { body, carries, xs, over } = n.attrs
  const init = values.slice(0, carries).map(v => home(c, ready(c, v)))
  // Walked tensors keep the layout they rest in and move slice by slice; only the dim walked over must be there.
  const walked = values.slice(carries, carries + xs).map(v => {
    const there = reduced(c, v)
    if (!there.sharding.has(over.name)) return there
    const { resting } = there
    return { ...relayout(c, there, without(there.sharding, over.name)), ...(resting === undefined ? {} : { resting }) }
  })
  const captured = values.slice(carries + xs).map(v => reduced(c, v))

  const inputs: LocalNode<'input'>[] = []
  const inside = (p: Node<'input'>, v: Value, addends?: Pick<Value, 'partial' | 'anyPartial'>): Value => {
    const { input, value } = enter(c, p, v, addends)
    inputs.push(input)
    return value
  }

  const used = new Set<Node>(reachable(body.outputs).flatMap(m => m.inputs))
  // How the carries lie as they come out of the body.
  let lying: readonly Sharding[] = []
  const attempt = (partials: readonly CarryPartial[]): Value[] => {
    inputs.length = 0
    const given = new Map<Node, Value>()
    body.inputs.forEach((p, i) => {
      const [carry, x, capture] = [init[i], walked[i - carries], captured[i - carries - xs]]
      if (i < carries && carry !== undefined) {
        const partial = partials[i]
        given.set(p, inside(p, carry, partial === 'any' ? { anyPartial: true } : partial === undefined ? {} : { partial }))
      } else if (i < carries + xs && x !== undefined) given.set(p, inside(p, x))
      else if (capture !== undefined) given.set(p, inside(p, capture))
    })
    const outputs = c.partitionNodes(body.outputs, given)
    lying = outputs.slice(0, carries).map(v => v.sharding)
    return outputs.map((v, i) => {
      // What is stacked and used in the body too is reduced there anyway: it is stacked reduced, not reduced again afterwards.
      if (i >= carries) return v.resting !== undefined ? ready(c, v) : used.has(body.outputs[i] ?? n) ? reduced(c, v) : v
      const want = partials[i]
      const there = sameSharding(v.sharding, init[i]?.sharding ?? v.sharding) ? v : relayout(c, v, init[i]?.sharding ?? v.sharding)
      return want === 'any' || samePartial(there.partial, want) ? there : reduced(c, there)
    })
  }

  // First it is asked over which axes the sums that start at zero would be partial, then they are held to these; where that fails, they are reduced in every turn.
  const before = new Set(c.reduced)
  const forget = (): void => { for (const r of [...c.reduced]) if (!before.has(r)) c.reduced.delete(r) }
  const isZero = init.map((v, i) => v.partial === undefined && splatValue(operand(n, i)) === 0)
  const whole = [...init]
  const summed = (sums: readonly boolean[]): Value[] | undefined => {
    if (!sums.includes(true)) return undefined
    const asked = sums.map((s): CarryPartial => (s ? 'any' : undefined))
    let first = attempt(asked)
    // A zero lies anywhere: sums are made where what is added lies, and moved once, after the loop.
    const away = lying.map((to, i) => (isZero[i] === true && !sameSharding(to, init[i]?.sharding ?? to) ? to : undefined))
    if (away.some(to => to !== undefined)) {
      forget()
      away.forEach((to, i) => { const v = init[i]; if (to !== undefined && v !== undefined) init[i] = { ...relayout(c, v, to), strayed: true } })
      first = attempt(asked)
    }
    const partials = first.slice(0, carries).map((v, i) => (sums[i] === true && v.partial?.kind === 'sum' ? v.partial : undefined))
    forget()
    const found = attempt(partials)
    if (found.slice(0, carries).every((v, i) => samePartial(v.partial, partials[i]))) {
      partials.forEach((p, i) => { const v = init[i]; if (p !== undefined && v !== undefined && isZero[i] === false) init[i] = once(c, v, p.axes) })
      return found
    }
    forget()
    return undefined
  }
  const grows = init.map((v, i) => isZero[i] === true || (v.partial === undefined && sumsUp(body, i)))
  let outputs = summed(grows)
  if (outputs === undefined && grows.some((g, i) => g && isZero[i] !== true)) {
    whole.forEach((v, i) => { init[i] = v })
    outputs = summed(isZero)
  }
  outputs ??= attempt(init.map(() => undefined))

  const loop = c.make('scan', [...init, ...walked, ...captured].map(v => v.node), {
    ...n.attrs, body: { inputs: [...inputs], outputs: outputs.map(v => v.node) },
  }, n.site)
  return projected(c, n, loop, outputs)
}
