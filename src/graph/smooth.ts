/** Elementwise functions composed of ops, each with a slope of its own: what follows from the ops alone would lose digits, or meet 0 · ∞. */
import { cotangentIn, converted, inSums, sumsIn } from './half-precision.ts'
import { fullNode, make } from './make.ts'
import { dtypeOf, shapeOf, type Node } from './node.ts'
import type { BinaryFn, Direction, UnaryFn, Vjp } from './ops.ts'

/** A node, or a number of the dtype that it meets. */
export type Operand = Node | number
export const constantLike = (value: number, like: Node): Node => fullNode(value, shapeOf(like), dtypeOf(like))
function both(a: Operand, b: Operand): Node[] {
  if (typeof a !== 'number') return [a, typeof b === 'number' ? constantLike(b, a) : b]
  if (typeof b !== 'number') return [constantLike(a, b), b]
  throw new Error('one operand must be a tensor')
}
export type OfOne = (x: Node) => Node
export type OfTwo = (a: Operand, b: Operand) => Node
const unary = (fn: UnaryFn): OfOne => (x: Node): Node => make('unary', [x], { fn })
const binary = (fn: BinaryFn): OfTwo => (a: Operand, b: Operand): Node => make('binary', both(a, b), { fn })
const compare = (direction: Direction): OfTwo => (a: Operand, b: Operand): Node => make('compare', both(a, b), { direction })

// Operands have one shape: these are for what is computed from one tensor, element by element.
export const neg: OfOne = unary('neg')
export const abs: OfOne = unary('abs')
export const sign: OfOne = unary('sign')
export const floor: OfOne = unary('floor')
export const round: OfOne = unary('round')
export const exp: OfOne = unary('exp')
export const expm1: OfOne = unary('expm1')
export const log: OfOne = unary('log')
export const log1p: OfOne = unary('log1p')
export const sqrt: OfOne = unary('sqrt')
export const rsqrt: OfOne = unary('rsqrt')
export const add: OfTwo = binary('add')
export const sub: OfTwo = binary('sub')
export const mul: OfTwo = binary('mul')
export const div: OfTwo = binary('div')
export const rem: OfTwo = binary('rem')
export const max: OfTwo = binary('max')
export const min: OfTwo = binary('min')
export const atan2: OfTwo = binary('atan2')
export const and: OfTwo = binary('and')
export const xor: OfTwo = binary('xor')
export const equal: OfTwo = compare('EQ')
export const notEqual: OfTwo = compare('NE')
export const less: OfTwo = compare('LT')
export const greater: OfTwo = compare('GT')
export const choose = (p: Node, yes: Operand, no: Operand): Node => make('select', [p, ...both(yes, no)], {})
export const square = (x: Node): Node => mul(x, x)
export const clamp = (x: Node, low: number, high: number): Node => min(max(x, low), high)

/**
 * e^(high + low) for |low| < 0.04: the sum, rounded, would be wrong in as many last bits as it has before its point, so e^low is
 * multiplied by, as its series. `high` must be the same wherever it is computed: made of sums and products that are exact, as
 * compilers may round a product and a sum once or twice, and in each place otherwise.
 */
export function expOfSum(high: Node, low: Node): Node {
  let series = add(mul(low, 1 / 4), 1)
  for (const n of [3, 2, 1]) series = add(mul(mul(series, low), 1 / n), 1)
  return mul(exp(high), series)
}

/** A function of one tensor, computed in f32 where it is a half and then rounded once; its gradient is g · slope(x, f(x)), computed so, too. */
export function smooth(f: OfOne, slope: (x: Node, y: Node) => Node): OfOne {
  // One closure for all calls, so that equal calls are one node.
  const vjp: Vjp = (g, y, [x = y]) => {
    const dtype = sumsIn(dtypeOf(x))
    const wide = converted(x, dtype)
    return [converted(mul(cotangentIn(g, dtype), slope(wide, wide === x ? y : of(wide))), dtypeOf(x))]
  }
  const of = (x: Node): Node => make('customGradient', [inSums([x], ([w = x]) => f(w)), x], { vjp, elementwise: true })
  return of
}
