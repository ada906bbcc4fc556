/** What partition rules are given and give, and the few helpers they share. */
import type { Sharding } from '../../core/layout.ts'
import { shapeOf, type Node, type TableFor } from '../../graph/node.ts'
import type { Context, Partial, Value } from '../context.ts'
import { met, wherever, type Meeting } from '../meet.ts'
import { ready, unified } from '../operands.ts'
import type { LocalNode } from '../local.ts'

export type Partitioners<G> = TableFor<G, readonly Value[], [readonly Value[], Context]>

export const at = (values: readonly Value[], i: number): Value => {
  const v = values[i]
  if (v === undefined) throw new Error(`operand ${i} has no value`)
  return v
}
export const result = (n: Node, node: LocalNode, sharding: Sharding, partial?: Partial): readonly Value[] =>
  [{ shape: shapeOf(n), node, sharding, ...(partial === undefined ? {} : { partial }) }]

export type Build = (operands: readonly LocalNode[]) => LocalNode

/** What an elementwise op makes of operands that met where one of them rests. */
export const meetingResult = (c: Context, n: Node, node: LocalNode, { sharding, resting }: Meeting): readonly Value[] =>
  result(n, node, sharding).map(v => wherever(c, resting === undefined ? v : { ...v, resting }))

/** Elementwise on reduced values that lie alike. */
export function elementwise(n: Node, values: readonly Value[], c: Context, build: Build): readonly Value[] {
  const meeting = met(c, values, [])
  if (meeting !== undefined) return meetingResult(c, n, build(meeting.values.map(v => v.node)), meeting)
  const { values: moved, sharding } = unified(c, values.map(v => ready(c, v)), true)
  return result(n, build(moved.map(v => v.node)), sharding)
}

/** One operand, any layout, addends and all: what only moves or copies elements. */
export const moving = (n: Node, v: Value, node: LocalNode, sharding: Sharding): readonly Value[] => result(n, node, sharding, v.partial)
