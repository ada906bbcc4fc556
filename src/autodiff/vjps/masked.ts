/** Cotangents that a `where` has masked. */
import { fullNode, make, splatValue } from '../../graph/make.ts'
import { dtypeOf, operand, shapeOf, type Node } from '../../graph/node.ts'

const zerosLike = (like: Node): Node => fullNode(0, shapeOf(like), dtypeOf(like))
const both = (a: Node, b: Node): Node => (a === b ? a : make('binary', [a, b], { fn: 'and' }))
const condition = (p: Node, holds: boolean): Node => (holds ? p : make('unary', [p], { fn: 'not' }))

/** A cotangent that is zero except where `p` is `holds`. */
interface Masked { readonly p: Node; readonly holds: boolean; readonly value: Node }
function maskedOf(g: Node): Masked | undefined {
  if (g.op !== 'select') return undefined
  const [p, yes, no] = [operand(g, 0), operand(g, 1), operand(g, 2)]
  return splatValue(no) === 0 ? { p, holds: true, value: yes } : splatValue(yes) === 0 ? { p, holds: false, value: no } : undefined
}

/** The cotangent where `p` is `holds`, else zero. Of a masked one the two masks become one: however many a chain has, only one is outermost. */
export function mask(p: Node, holds: boolean, g: Node): Node {
  const inner = maskedOf(g)
  if (inner !== undefined) return make('select', [both(condition(inner.p, inner.holds), condition(p, holds)), inner.value, zerosLike(g)], {})
  return make('select', holds ? [p, g, zerosLike(g)] : [p, zerosLike(g), g], {})
}

/**
 * A vjp is linear in the cotangent, so what a `where` has masked may be masked after it as well as before. After it,
 * what the vjp gives where the operand was not chosen (1/0, say) is not seen.
 */
export function masked(g: Node, vjp: (g: Node) => Node): Node {
  const outer = maskedOf(g)
  return outer === undefined ? vjp(g) : mask(outer.p, outer.holds, masked(outer.value, vjp))
}
