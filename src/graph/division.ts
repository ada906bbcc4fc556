/** Quotients rounded down, and what they leave: of integers exact whatever their size, of floats as in Python and NumPy. */
import { dtypes, isFloat } from '../core/dtype.ts'
import { cotangentIn, converted, inSums, sumsIn } from './half-precision.ts'
import { make } from './make.ts'
import { dtypeOf, type Node } from './node.ts'
import { add, and, choose, constantLike, div, equal, floor, greater, less, mul, neg, notEqual, rem, round, sub, xor } from './smooth.ts'
import type { Vjp } from './ops.ts'

type Two = (a: Node, b: Node) => Node

/** Where the remainder has not the divisor's sign: the quotient, cut towards zero, is one too large. */
const isAbove: Two = (r, b) => and(notEqual(r, 0), xor(less(r, 0), less(b, 0)))

/** By zero the quotient is all ones and the dividend is left, whatever its sign. */
const integers = (a: Node, b: Node): { readonly quotient: Node; readonly remainder: Node } => {
  const cut = div(a, b)
  const left = sub(a, mul(cut, b))
  if (dtypes[dtypeOf(a)].kind === 'uint') return { quotient: cut, remainder: left }
  const above = and(isAbove(left, b), notEqual(b, 0))
  return { quotient: choose(above, sub(cut, 1), cut), remainder: choose(above, add(left, b), left) }
}

/** NumPy's remainder: `rem` is exact, and the quotient follows from it, not the other way round. What is left of a multiple is 0 with the divisor's sign. */
const floatRemainder: Two = (a, b) => {
  const left = rem(a, b)
  const zero = choose(less(b, 0), constantLike(-0, b), 0)
  return choose(isAbove(left, b), add(left, b), choose(equal(left, 0), zero, left))
}
/** (a − remainder) / b is a whole number but for a rounding; 0 has the sign of a / b, and so has what division by zero gives. */
const floatQuotient: Two = (a, b) => {
  const left = rem(a, b)
  const cut = div(sub(a, left), b)
  const whole = choose(isAbove(left, b), sub(cut, 1), cut)
  const down = floor(whole)
  const [plain, nearest] = [div(a, b), choose(greater(sub(whole, down), 0.5), add(down, 1), down)]
  return choose(equal(b, 0), plain, choose(equal(whole, 0), mul(plain, 0), nearest))
}
const halvesOnce = (f: Two): Two => (a, b) => inSums([a, b], ([l = a, r = b]) => f(l, r))

/** ⌊a / b⌋, with no gradient: it is a step. */
export const floorDiv: Two = (a, b) => make('stopGradient', [isFloat(dtypeOf(a)) ? halvesOnce(floatQuotient)(a, b) : integers(a, b).quotient], {})

/** a − b ⌊a / b⌋ has the slopes 1 and −⌊a / b⌋. */
const modGradient: Vjp = (g, _, [a = g, b = g]) => [g, throughQuotient(g, floorDiv(a, b), dtypeOf(b))]
export const mod: Two = (a, b) => (isFloat(dtypeOf(a))
  ? make('customGradient', [halvesOnce(floatRemainder)(a, b), a, b], { vjp: modGradient, elementwise: true }) : integers(a, b).remainder)

/** The gradient of b in a − b q. */
function throughQuotient(g: Node, q: Node, dtype: ReturnType<typeof dtypeOf>): Node {
  const wide = sumsIn(dtype)
  return converted(neg(mul(cotangentIn(g, wide), converted(q, wide))), dtype)
}
/** The gradient of the divisor of `rem`, a − b trunc(a / b). */
export const remGradient = (g: Node, a: Node, b: Node): Node => throughQuotient(g, round(inSums([a, b], ([l = a, r = b]) => div(sub(l, rem(l, r)), r))), dtypeOf(b))
