/**
 * Gathers that give the same in every turn of a loop run once, before it. Parameters that rest cut up enter loops as they rest, so
 * that a turn gathers no more than it needs; what a whole loop needs in every turn, all of it, is gathered once where memory
 * for it is no matter.
 */
import { sizeOf } from '../../core/dim.ts'
import { dtypes } from '../../core/dtype.ts'
import { dtypeOf, nodesOf, orderOf, shapeOf, typeOf, type Make } from '../../graph/node.ts'
import type { LocalAttrs, LocalNode } from '../local.ts'
import { replaceNodes, type Pass } from './rewrite.ts'

/** What is gathered before a loop is held until its end: larger tensors are gathered anew in every turn. */
export const hoistBytes: number = 64 * 1024 * 1024

const bytesOf = (n: LocalNode): number => sizeOf(shapeOf(n)) * dtypes[dtypeOf(n)].bytes

/** The gathers of a loop's body that depend on nothing but what it captures. */
function invariantGathers(n: LocalNode<'scan'>): LocalNode[] {
  const { body, carries, xs } = n.attrs
  const changing = new Set<LocalNode>(body.inputs.slice(0, carries + xs))
  const order = orderOf(body.outputs)
  for (const m of order) if (m.inputs.some(i => changing.has(i))) changing.add(m)
  return order.filter(m => m.op === 'allGather' && !changing.has(m) && bytesOf(m) <= hoistBytes)
}

function hoisted(n: LocalNode<'scan'>, make: Make<LocalAttrs>): LocalNode | undefined {
  const { body, carries, xs, over } = n.attrs
  const gathers = over.size > 1 ? invariantGathers(n) : []
  if (gathers.length === 0) return undefined
  const captures = new Map<LocalNode, LocalNode>(body.inputs.flatMap((p, i) => (i < carries + xs ? [] : n.inputs.slice(i, i + 1).map(v => [p, v] as const))))
  const before = replaceNodes({ inputs: body.inputs, outputs: gathers }, make, captures)
  const stands = gathers.map(g => make('input', [], { name: 'gathered', role: 'compute', serial: g.id, type: typeOf(g) }))
  const outputs = replaceNodes(body, make, new Map(gathers.map((g, i) => [g, stands[i] ?? g])))
  return make('scan', [...n.inputs, ...before], { ...n.attrs, body: { inputs: [...body.inputs, ...stands], outputs } }, n.site)
}

export const hoistGathers: Pass = (body, make) => new Map(nodesOf<LocalAttrs, 'scan'>(body.outputs, 'scan').flatMap(n => {
  const again = hoisted(n, make)
  return again === undefined ? [] : [[n, again] as const]
}))
