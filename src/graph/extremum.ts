/** Which elements an extremum is. */
import { isFloat, type DType } from '../core/dtype.ts'
import type { Tensor } from './types.ts'

/** Less than what two roundings leave between neighbours of 16 bits; a few last bits of the wider ones. */
const last: { readonly [D in DType]?: number } = { f64: 2 ** -50, f32: 2 ** -21, f16: 2 ** -12, bf16: 2 ** -9 }

/**
 * Where x is `extremum`, or differs from it in its last bits: XLA computes what is cheap anew for each use, and not always to the same
 * bit, so that an extremum may equal no element it was taken from. Bool; both of one shape.
 */
export function isNearly(x: Tensor<string>, extremum: Tensor<string>): Tensor<string> {
  const same: Tensor<string> = x.equal(extremum)
  if (!isFloat(x.dtype)) return same
  // The comparison is strict, so that no finite number counts as near to infinity.
  return same.or(x.sub(extremum).abs().less(extremum.abs().mul(last[x.dtype] ?? 0)))
}
