/** Half-precision floats: what is summed of them is summed in f32, and rounded once. */
import { isBits, isHalf, type DType } from '../core/dtype.ts'
import { make } from './make.ts'
import { dtypeOf, operand, type Node } from './node.ts'

/** The dtype that sums of a dtype are computed in: f32 for floats of 16 and of 8 bits, its own for all others. */
export const sumsIn = (dtype: DType): DType => (isBits(dtype) ? 'f32' : dtype)

/** The node converted to another dtype. A node that was only widened from that dtype is replaced by the one it was widened from. */
export function converted(n: Node, dtype: DType): Node {
  if (dtypeOf(n) === dtype) return n
  const widened = n.op === 'convert' && dtypeOf(operand(n, 0)) === dtype && sumsIn(dtype) === dtypeOf(n)
  return widened ? operand(n, 0) : make('convert', [n], { dtype })
}

/** A cotangent in another dtype. Where it was narrowed on its way, the wide one is taken, so that gradients are not rounded to half precision in between. */
export const cotangentIn = (g: Node, dtype: DType): Node => (g.op === 'convert' && dtypeOf(operand(g, 0)) === dtype ? operand(g, 0) : converted(g, dtype))

/** A cotangent as it was before it was narrowed to half precision, where that is the last that was done to it. */
export const unrounded = (g: Node): Node => (g.op === 'convert' && isBits(dtypeOf(g)) && dtypeOf(operand(g, 0)) === sumsIn(dtypeOf(g)) ? operand(g, 0) : g)

/**
 * What `f` makes of a cotangent by moving its elements: one that was narrowed moves as it was, and is narrowed again. So what meets another cotangent, or travels from one turn of a loop
 * to the next, is rounded once, where it is used.
 */
export const moved = (g: Node, f: (g: Node) => Node): Node => converted(f(unrounded(g)), dtypeOf(g))

/**
 * What `f` makes of nodes of one dtype: half-precision ones are widened to f32, and what comes of it is narrowed again. On a mesh addends are
 * reduced between the two, so that the result is rounded once whatever the mesh; where contractions of widened operands are
 * written, they are contractions of half-precision operands that give f32 (passes/half-precision.ts in src/partition).
 */
export function inSums(nodes: readonly Node[], f: (wide: readonly Node[]) => Node): Node {
  const [first] = nodes
  const dtype = first === undefined ? 'f32' : dtypeOf(first)
  if (!isHalf(dtype) || nodes.some(n => dtypeOf(n) !== dtype)) return f(nodes)
  return converted(f(nodes.map(n => converted(n, 'f32'))), dtype)
}

const isWidened = (n: Node, from: DType): boolean => n.op === 'convert' && dtypeOf(n) === sumsIn(from) && dtypeOf(operand(n, 0)) === from

/**
 * The cotangent of a contraction's result as it is multiplied by the factors: where these are bf16 that was widened, rounded to bf16 and widened, so that machines that multiply halves multiply nothing else.
 * What it is added to elsewhere stays f32. Of f16, whose range cotangents leave, it stays as it is (Micikevicius et al. 2018).
 */
export const narrowedFor = (g: Node, factors: readonly Node[]): Node => (dtypeOf(g) === 'f32' && factors.every(n => isWidened(n, 'bf16')) ? converted(converted(g, 'bf16'), 'f32') : g)

/** What `f` makes of a factor by moving its elements: one that was widened moves as it was, and is widened again. */
export const movedFactor = (n: Node, f: (n: Node) => Node): Node => (isWidened(n, 'bf16') || isWidened(n, 'f16') ? converted(f(operand(n, 0)), dtypeOf(n)) : f(n))

export const dotNode = (a: Node, b: Node, over: readonly string[]): Node => inSums([a, b], ([l = a, r = b]) => make('dot', [l, r], { over }))
export const sumNode = (x: Node, over: readonly string[]): Node => inSums([x], ([w = x]) => make('reduce', [w], { kind: 'sum', over }))
