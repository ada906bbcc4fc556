/** Random numbers of other distributions, made of uniform ones. The same on every mesh. */
import type { Dim, DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { erf } from '../core/special.ts'
import { numbers } from './infer/checks.ts'
import { broadcastTo, make } from './make.ts'
import { falls, fold, openUniform, randomBits, type Key } from './random.ts'
import { userSite } from '../core/site.ts'
import { full, iota, tensor } from './tensor.ts'
import type { Distinct, Minus, Scalar, Tensor, Unsettled } from './types.ts'

type Draw<S extends readonly Dim[]> = Tensor<S[number]['name']>

/** Keys along a dim, each for one element of it: a loop walks over them. */
export function splitKey<N extends string>(key: Key, dim: Dim<N>): { readonly word0: Tensor<N>; readonly word1: Tensor<N> } {
  const index = make('convert', [iota(dim).node], { dtype: 'u32' })
  const along = (n: Scalar): Tensor<N> => tensor(broadcastTo(n.node, [dim]))
  const word = (i: number): Tensor<N> => tensor(make('threefry', [along(key.word0).node, along(key.word1).node, index, full(i, [dim], 'u32').node], {}))
  return { word0: word(0xffffffff), word1: word(0xfffffffe) }
}

/** Standard normal, cut off outside of [low, high] (standard deviations; ±2 unless said): by the inverse of its distribution. */
export function truncatedNormal<const S extends readonly Dim[]>(key: Key, shape: S & Distinct<S>, { low = -2, high = 2 }: { readonly low?: number; readonly high?: number } = {}): Draw<S> {
  const [from, to] = [erfOf(low), erfOf(high)]
  if (!(Math.fround(to) > Math.fround(from))) throw new DimError({ code: 'range', what: `truncatedNormal: next to no numbers lie in [${low}, ${high}]`, fix: 'give the lower bound first, and a range that is not so far out', at: userSite() })
  // Rounding may reach ±1, whose inverse is infinite.
  return openUniform<S>(key, shape).mul(to - from).add(from).clamp(-inside, inside).erfInv().mul(Math.SQRT2).clamp(low, high)
}
const inside = 1 - 2 ** -24
const erfOf = (x: number): number => erf(x * Math.SQRT1_2)

/** Whether a coin of this chance, in steps of 2⁻³², shows heads, bool: never of chance 0, always of chance 1. */
export const bernoulli = <const S extends readonly Dim[]>(key: Key, chance: number, shape: S & Distinct<S>): Draw<S> => {
  if (!(chance >= 0 && chance <= 1)) throw new DimError({ code: 'chance', what: `bernoulli: the chance is ${chance}`, fix: 'give a number from 0 to 1', at: userSite() })
  return falls<S>(key, chance, shape)
}
/** Rate 1; above 0, and finite. */
export const exponential = <const S extends readonly Dim[]>(key: Key, shape: S & Distinct<S>): Draw<S> => openUniform<S>(key, shape).log().neg()
/** Standard Gumbel: −log(−log u), always finite. */
export const gumbel = <const S extends readonly Dim[]>(key: Key, shape: S & Distinct<S>): Draw<S> => openUniform<S>(key, shape).log().neg().log().neg()

/**
 * Whole numbers in [low, high), i32; a range that is no power of two favours some of them, by a share of at most 2⁻¹⁶.
 * @throws DimError when the range is empty
 */
export function randomIntegers<const S extends readonly Dim[]>(key: Key, shape: S & Distinct<S>, low: number, high: number): Draw<S> {
  const fits = [low, high - 1].every(n => Number.isInteger(n) && n >= -(2 ** 31) && n < 2 ** 31)
  if (!fits || !(high > low)) throw new DimError({ code: 'range', what: `randomIntegers: no whole numbers lie in [${low}, ${high})`, fix: 'give two i32, the lower one first', at: userSite() })
  const size = high - low
  const bits = randomBits<S>(key, shape)
  if (size <= 2 ** 16) return bits.rem(size).cast('i32').add(low)
  // What size times a fraction of 48 random bits is rounded down, 16 bits after another: no product outgrows what f64 holds exactly.
  const more = randomBits<S>(fold(key, 5), shape)
  const scaled = (part: Draw<S>): Draw<S> => part.cast('i64').mul(size)
  const first = scaled(more.shiftRight(16)).shiftRight(16)
  const second = scaled(bits.and(0xffff)).add(first).shiftRight(16)
  return scaled(bits.shiftRight(16)).add(second).shiftRight(16).add(low).cast('i32')
}

/**
 * Draws an index along a dim with the chances softmax(logits), i32: the largest of logits plus Gumbel noise (Maddison et al. 2014). A logit of −∞
 * is never drawn, unless all are: then it is the first. Where a logit is ∞ or NaN, the first such is drawn.
 */
export function categorical<D extends string, R extends D | Unsettled<D>>(key: Key, logits: Tensor<D>, over: DimLike<R>): Tensor<Minus<D, R>> {
  const noise = gumbel(fold(key, 4), logits.shape)
  numbers('categorical', logits, userSite)
  return logits.cast('f32').add(noise).argmax(over)
}
