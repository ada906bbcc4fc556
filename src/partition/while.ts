/** The partition rule of loops of unknown length: the state lies alike before and after every turn, sums that start at zero stay sums, and what decides is reduced. */
import { orderOf, type Node } from '../graph/node.ts'
import { enter, enterAll, projected } from './bodies.ts'
import { addendsOf, held, steady, type Attempt, type CarryPartial } from './carries.ts'
import { bodyOf, reduced, type Context, type Value } from './context.ts'
import type { LocalBody } from './local.ts'
import { home } from './meet.ts'
import { ready } from './operands.ts'

export function partitionWhile(n: Node<'while'>, values: readonly Value[], c: Context): readonly Value[] {
  const { condition, body, carries } = n.attrs
  const init = values.slice(0, carries).map(v => home(c, ready(c, v)))
  const captured = values.slice(carries).map(v => reduced(c, v))
  // What decides is known to all devices in every turn.
  const deciding = new Set<Node>(orderOf(condition.outputs))
  const want = (i: number, partials: readonly CarryPartial[]): CarryPartial => (deciding.has(body.inputs[i] ?? n) ? undefined : partials[i])
  let bodies: { readonly condition: LocalBody; readonly body: LocalBody } | undefined
  const attempt = (partials: readonly CarryPartial[]): Attempt => {
    const around = enterAll(c, body.inputs.slice(carries), captured)
    const state = body.inputs.slice(0, carries).flatMap((p, i) => init.slice(i, i + 1).map(v => ({ p, ...enter(c, p, v, addendsOf(want(i, partials))) })))
    const given = new Map([...around.given, ...state.map(({ p, value }) => [p, value] as const)])
    const next = c.partitionNodes(body.outputs, given)
    const outputs = next.map((v, i) => held(c, v, init[i], want(i, partials)))
    const inputs = [...state.map(s => s.input), ...around.inputs]
    bodies = { condition: bodyOf(c, { inputs, outputs: c.partitionNodes(condition.outputs, given).map(v => ready(c, v).node) }), body: bodyOf(c, { inputs, outputs: outputs.map(v => v.node) }) }
    return { outputs, lying: next.map(v => v.sharding) }
  }
  const outputs = steady(c, n, init, attempt)
  if (bodies === undefined) throw new Error('a loop has a body')
  const loop = c.make('while', [...init, ...captured].map(v => v.node), { ...bodies, carries }, n.site)
  return projected(c, n, loop, outputs)
}
