/**
 * The partition rule of loops. The body is split like any graph; what must be found is how the carries lie, since what comes in
 * and what goes out must lie alike. A sum that starts at zero may stay partial all the way round, so that gradients
 * accumulated in a loop are reduced once, after it.
 */
import { sameSharding, type Sharding } from '../core/layout.ts'
import { splatValue } from '../graph/make.ts'
import { operand, reachable, type Node } from '../graph/node.ts'
import { enter, projected } from './bodies.ts'
import { samePartial, reduced, type Context, type Partial, type Value } from './context.ts'
import { relayout } from './moves/relayout.ts'
import { ready } from './operands.ts'
import type { LocalNode } from './local.ts'
import { home } from './meet.ts'

type CarryPartial = Partial | 'any' | undefined

const without = (sharding: Sharding, name: string): Sharding => new Map([...sharding].filter(([dim]) => dim !== name))

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
  const zero = init.map((v, i): CarryPartial => (v.partial === undefined && splatValue(operand(n, i)) === 0 ? 'any' : undefined))
  let partials: readonly CarryPartial[] = init.map(() => undefined)
  let outputs: Value[] | undefined
  if (zero.includes('any')) {
    let first = attempt(zero)
    // A zero lies anywhere: sums are made where what is added lies, and moved once, after the loop.
    const away = lying.map((to, i) => (zero[i] === 'any' && !sameSharding(to, init[i]?.sharding ?? to) ? to : undefined))
    if (away.some(to => to !== undefined)) {
      forget()
      away.forEach((to, i) => { const v = init[i]; if (to !== undefined && v !== undefined) init[i] = { ...relayout(c, v, to), strayed: true } })
      first = attempt(zero)
    }
    partials = first.slice(0, carries).map((v, i) => (zero[i] === 'any' && v.partial?.kind === 'sum' ? v.partial : undefined))
    forget()
    outputs = attempt(partials)
    if (outputs.slice(0, carries).some((v, i) => !samePartial(v.partial, partials[i] as Partial | undefined))) {
      forget()
      partials = init.map(() => undefined)
      outputs = undefined
    }
  }
  outputs ??= attempt(partials)

  const loop = c.make('scan', [...init, ...walked, ...captured].map(v => v.node), {
    ...n.attrs, body: { inputs: [...inputs], outputs: outputs.map(v => v.node) },
  }, n.site)
  return projected(c, n, loop, outputs)
}
