/**
 * The partition rule of loops. The body is split like any graph; what must be found is how the carries lie, since what comes in
 * and what goes out must lie alike. A sum that starts at zero may stay partial all the way round, so that gradients
 * accumulated in a loop are reduced once, after it.
 */
import type { Sharding } from '../core/layout.ts'
import { orderOf, type Node } from '../graph/node.ts'
import { enter, projected } from './bodies.ts'
import { addendsOf, held, steady, type Addends, type Attempt, type CarryPartial } from './carries.ts'
import { bodyOf, reduced, type Context, type Value } from './context.ts'
import { relayout } from './moves/relayout.ts'
import { ready } from './operands.ts'
import type { LocalNode } from './local.ts'
import { home } from './meet.ts'

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
  const inside = (p: Node<'input'>, v: Value, addends?: Addends): Value => {
    const { input, value } = enter(c, p, v, addends)
    inputs.push(input)
    return value
  }

  const used = new Set<Node>(orderOf(body.outputs).flatMap(m => m.inputs))
  const attempt = (partials: readonly CarryPartial[]): Attempt => {
    inputs.length = 0
    const given = new Map<Node, Value>()
    body.inputs.forEach((p, i) => {
      const [carry, x, capture] = [init[i], walked[i - carries], captured[i - carries - xs]]
      if (i < carries && carry !== undefined) {
        given.set(p, inside(p, carry, addendsOf(partials[i])))
      } else if (i < carries + xs && x !== undefined) given.set(p, inside(p, x))
      else if (capture !== undefined) given.set(p, inside(p, capture))
    })
    const outputs = c.partitionNodes(body.outputs, given)
    const placed = outputs.map((v, i) => {
      // What is stacked and used in the body too is reduced there anyway: it is stacked reduced, not reduced again afterwards.
      if (i >= carries) return v.resting !== undefined ? ready(c, v) : used.has(body.outputs[i] ?? n) ? reduced(c, v) : v
      return held(c, v, init[i], partials[i])
    })
    return { outputs: placed, lying: outputs.slice(0, carries).map(v => v.sharding) }
  }

  const outputs = steady(c, n, init, attempt)

  const loop = c.make('scan', [...init, ...walked, ...captured].map(v => v.node), {
    ...n.attrs, body: bodyOf(c, { inputs: [...inputs], outputs: outputs.map(v => v.node) }),
  }, n.site)
  return projected(c, n, loop, outputs)
}
