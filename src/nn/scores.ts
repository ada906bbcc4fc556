/** Scores of attention: how well keys fit queries. */
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { sumsIn } from '../graph/half-precision.ts'
import type { Tensor } from '../graph/types.ts'

type T = Tensor<string>

/** How scores are made of products. */
export interface Scoring {
  /** Scores are cap · tanh(score / cap), so none is beyond ±cap (Gemma 2). */
  readonly softCap: number | undefined
  /** Added to them thereafter, over some of their dims. */
  readonly bias: T | undefined
}

/** @throws DimError where it is none */
export function positive(what: string, value: number): void {
  if (!(value > 0 && value < Infinity)) throw new DimError({ code: 'option', what: `attention: ${what} is ${value}`, fix: 'give a number above 0', at: userSite() })
}

/** cap · tanh(x / cap). @throws DimError where cap is no number above 0 */
export function softCapped<D extends string>(x: Tensor<D>, cap: number): Tensor<D> {
  positive('softCap', cap)
  return x.mul(1 / cap).tanh().mul(cap)
}

/** Scores of scaled queries and keys, without the bias: in f32 of halves. */
export const cappedScores = (q: T, k: T, headDim: string, softCap: number | undefined): T => {
  const products = q.dot(k, headDim).cast(sumsIn(q.dtype))
  return softCap === undefined ? products : softCapped(products, softCap)
}
/** What a change of a product changes of its capped score. */
export const capSlope = (capped: T, softCap: number): T => capped.mul(1 / softCap).square().neg().add(1)

export const biased = (scores: T, bias: T | undefined): T => (bias === undefined ? scores : scores.add(bias.cast(scores.dtype)))
