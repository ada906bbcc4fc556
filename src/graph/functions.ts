/** Functions of one number that XLA has no op for, or a worse one: right to a few last bits over the whole range of f32 and f64, slopes too. */
import { make } from './make.ts'
import { dtypeOf, type Node } from './node.ts'
import type { Vjp } from './ops.ts'
import { abs, add, atan2, choose, clamp, constantLike, div, exp, expOfSum, greater, less, log, log1p, max, min, mul, neg, round, rsqrt, sign, smooth, sqrt, square, sub, type OfOne } from './smooth.ts'

const { LN2, LOG2E, LOG10E } = Math
const isDouble = (x: Node): boolean => dtypeOf(x) === 'f64'

/** x to the nearest multiple of a power of two. */
const onGrid = (x: Node, step: number): Node => mul(round(mul(x, 1 / step)), step)

/** What ln 2 has beyond a double. */
const moreOfLn2 = 2.3190468138462996e-17

/** 2ˣ as e^(c ln 2) e^(…), c on a grid so coarse that c times the first bits of ln 2 is exact. */
const power = (x: Node): Node => {
  const [step, bits] = isDouble(x) ? [2 ** -12, 30] : [2 ** -4, 12]
  const near = clamp(x, -2000, 2000)
  const coarse = onGrid(near, step)
  const high = Math.floor(LN2 * 2 ** bits) / 2 ** bits
  return expOfSum(mul(coarse, high), add(mul(sub(near, coarse), LN2), mul(coarse, LN2 - high + moreOfLn2)))
}
export const exp2: OfOne = smooth(power, x => {
  // ln 2 times the largest powers is a number where they are none.
  const large = greater(x, 1)
  return mul(power(choose(large, sub(x, 1), x)), choose(large, constantLike(2 * LN2, x), LN2))
})

export const log2: OfOne = smooth(x => mul(log(x), LOG2E), x => div(LOG2E, x))
export const log10: OfOne = smooth(x => mul(log(x), LOG10E), x => div(LOG10E, x))

/** |x|; or, where its exponential may be too large, |x| less a number whose exponential is known: half of it is the scale, elsewhere ½. */
function reduced(x: Node): { readonly a: Node; readonly scale: Node } {
  const [a, by] = [abs(x), isDouble(x) ? 512 : 64]
  const far = greater(a, by)
  return { a: choose(far, sub(a, by), a), scale: choose(far, constantLike(Math.exp(by) / 2, x), 0.5) }
}
/** (eᵃ + e⁻ᵃ) / 2. */
const coshOf = (x: Node): Node => {
  const { a, scale } = reduced(x)
  const half = mul(exp(a), scale)
  return add(half, div(0.25, half))
}
/** Near 0 by Taylor's series, as eᵃ − e⁻ᵃ loses digits there: the term after the last of these is below half a last bit. */
const sinhOf = (x: Node): Node => {
  const { a, scale } = reduced(x)
  const half = mul(exp(a), scale)
  const z = square(x)
  let series = constantLike(1, x)
  for (let n = isDouble(x) ? 9 : 4; n >= 1; n--) series = add(mul(mul(series, z), 1 / (2 * n * (2 * n + 1))), 1)
  return choose(less(abs(x), 1), mul(series, x), mul(sub(half, div(0.25, half)), sign(x)))
}
export const sinh: OfOne = smooth(sinhOf, coshOf)
export const cosh: OfOne = smooth(coshOf, sinhOf)

/** Beyond, x² + 1 is x², and log(2x) is log1p(x) + log 2. */
const huge = 2 ** 60
/** log1p(inner(x)), or where x is huge log(2x). */
const logOfTwice = (x: Node, inner: (near: Node) => Node): Node => {
  const far = greater(x, huge)
  return add(log1p(choose(far, x, inner(min(x, huge)))), choose(far, constantLike(LN2, x), 0))
}
/** log(a + √(a² + 1)) as log1p(a + a² / (1 + √(a² + 1))), a = |x|: exact near 0. Its slope, 1/√(x² + 1), without a square that overflows. */
export const asinh: OfOne = smooth(
  x => mul(logOfTwice(abs(x), a => add(a, div(square(a), add(sqrt(add(square(a), 1)), 1)))), sign(x)),
  x => {
    const [a, large] = [abs(x), max(abs(x), 1)]
    return div(rsqrt(add(square(div(min(a, 1), large)), 1)), large)
  },
)
/** log(x + √(x² − 1)) as log1p(t + √t √(t + 2)), t = x − 1: exact near 1. */
export const acosh: OfOne = smooth(
  x => logOfTwice(x, near => { const t = sub(near, 1); return add(t, mul(sqrt(t), sqrt(add(t, 2)))) }),
  x => mul(rsqrt(sub(x, 1)), rsqrt(add(x, 1))),
)
const oneLessSquare = (x: Node): Node => mul(sub(1, x), add(x, 1))
export const atanh: OfOne = smooth(x => mul(sub(log1p(x), log1p(neg(x))), 0.5), x => div(1, oneLessSquare(x)))

/** (√(1 − x²), x) is a point of the circle. */
export const asin: OfOne = smooth(x => atan2(x, sqrt(oneLessSquare(x))), x => rsqrt(oneLessSquare(x)))
export const acos: OfOne = smooth(x => atan2(sqrt(oneLessSquare(x)), x), x => neg(rsqrt(oneLessSquare(x))))
// Of a constant 1, XLA 0.10.2 to 0.11.2 makes an atan that is wrong from 50 elements on (jax issue 39352); of 2 it does not.
export const atan: OfOne = smooth(x => atan2(mul(x, 2), constantLike(2, x)), x => div(1, add(square(x), 1)))

/** √x of a sum of squares, 0 only where all of them are: its slope there is 0, so that theirs are, and not 0 · ∞. */
export const norm: OfOne = smooth(sqrt, (_, y) => choose(greater(y, 0), div(0.5, y), 0))
const deviationGradient: Vjp = (g, y, [, mean = y]) => [mul(g, choose(greater(y, mul(abs(mean), isDouble(y) ? 2 ** -51 : 2 ** -22)), div(0.5, y), 0))]
/** √variance. Of equal numbers the mean may be rounded, and its distance from them is no deviation: there the slope is 0, too. */
export const deviation = (variance: Node, mean: Node): Node =>
  make('customGradient', [sqrt(variance), variance, make('stopGradient', [mean], {})], { vjp: deviationGradient, elementwise: true })

/** ∛x; XLA's is wrong below the normal numbers. */
export const cbrt: OfOne = smooth(x => {
  const tiny = less(abs(x), isDouble(x) ? 2 ** -1022 : 2 ** -126)
  return mul(make('unary', [choose(tiny, mul(x, 2 ** 60), x)], { fn: 'cbrt' }), choose(tiny, constantLike(2 ** -20, x), 1))
}, (_, y) => div(1, mul(square(y), 3)))

/** e^(−x² / by), by a power of 2; x is a number on a grid so coarse that its square is exact, and a rest. */
export function gaussian(x: Node, by: 1 | 2 = 1): Node {
  const [step, end] = isDouble(x) ? [2 ** -16, 40] : [2 ** -8, 15.5]
  const near = clamp(x, -end, end)
  const coarse = onGrid(near, step)
  return expOfSum(mul(mul(coarse, -1 / by), coarse), mul(mul(sub(coarse, near), add(coarse, near)), 1 / by))
}
