/** What a tensor was last laid out by. */
import { operand, shapeOf, type Node } from '../graph/node.ts'
import type { Attrs } from '../graph/ops.ts'

/** Elementwise ops lie as their operands do. */
const elementwise: ReadonlySet<string> = new Set(['unary', 'binary', 'compare', 'select', 'convert', 'named', 'stopGradient', 'customGradient'])
/** So few ops lie between a relayout and the next that a search for it is short. */
const furthest = 64

/**
 * What a tensor was last laid out by, as far as that can be read off the ops that lead to it: a cotangent lies as its tensor does, so
 * that a gather is a reduce-scatter on the way back and the other way round. Where it cannot, the partition rules decide.
 */
export function laidBy(n: Node): Attrs['relayout'] | undefined {
  const seen = new Set<Node>([n])
  for (const m of seen) {
    if (m.op === 'relayout') return m.attrs
    if (seen.size > furthest) return undefined
    const alike = elementwise.has(m.op) || (m.op === 'broadcast' && shapeOf(operand(m, 0)).length === shapeOf(m).length)
    if (alike) for (const i of m.inputs) seen.add(i)
  }
  return undefined
}
