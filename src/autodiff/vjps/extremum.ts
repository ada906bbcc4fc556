/** Which elements an extremum's gradient goes to: those that equal it, in equal shares. */
import { isNearly } from '../../graph/extremum.ts'
import { sumsIn } from '../../graph/half-precision.ts'
import { full, loose, where } from '../../graph/tensor.ts'
import type { T } from './vjp.ts'

/** What an element weighs that differs from the extremum in its last bits: all such together weigh less than one that equals it. */
const slight = 2 ** -30

/** 1 where x equals the extremum, or is NaN; next to nothing where it nearly does; else 0. Both of one shape; f32, or f64 for f64. */
export function weights(x: T, extremum: T): T {
  const of = (weight: number): T => loose(full(weight, x.shape, sumsIn(x.dtype)))
  const same: T = x.equal(extremum).or(x.isNaN())
  return where(same, of(1), where(isNearly(x, extremum), of(slight), of(0)))
}

/**
 * From the sum of an extremum's weights: from which weight on an element counts, and how many do. Those that nearly are the extremum
 * count only where none equals it, as XLA may have computed it anew, to other last bits.
 */
export function counting(sum: T): { readonly least: T; readonly count: T } {
  const exact: T = sum.greaterEqual(1)
  const of = (n: number): T => loose(full(n, sum.shape, sum.dtype))
  return { least: where(exact, of(1), of(slight)), count: where(exact, sum.floor(), sum.mul(1 / slight)) }
}
