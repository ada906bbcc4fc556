/** Integer arithmetic of every width, as XLA has it: on whole numbers without bounds, then wrapped around. */
import { dtypes, type DType } from '../../core/dtype.ts'
import { rangeOf } from '../../core/range.ts'
import type { BinaryFn, UnaryFn } from '../ops.ts'

type One = (x: bigint, bits: number) => bigint
type Two = (x: bigint, y: bigint, bits: number) => bigint

const ones = (x: bigint): number => x.toString(2).replaceAll('0', '').length
/** Shifts by the width or more, or by less than nothing, leave nothing. */
const far = (y: bigint, bits: number): boolean => y < 0n || y >= BigInt(bits)

function power(x: bigint, y: bigint, bits: number): bigint {
  // 1/xⁿ is an integer only where x is 1 or −1; otherwise it is rounded towards zero, to 0.
  if (y < 0n) return x === 1n ? 1n : x === -1n ? (y % 2n === 0n ? 1n : -1n) : 0n
  let result = 1n
  for (let square = x, left = y; left > 0n; left >>= 1n, square = BigInt.asUintN(bits, square * square)) {
    if (left & 1n) result = BigInt.asUintN(bits, result * square)
  }
  return result
}

export const unaryInts: { readonly [F in UnaryFn]?: One } = {
  neg: x => -x, abs: x => (x < 0n ? -x : x), sign: x => (x > 0n ? 1n : x < 0n ? -1n : 0n), not: x => ~x,
  popcount: (x, bits) => BigInt(ones(BigInt.asUintN(bits, x))),
  leadingZeros: (x, bits) => { const u = BigInt.asUintN(bits, x); return BigInt(u === 0n ? bits : bits - u.toString(2).length) },
}
export const binaryInts: { readonly [F in BinaryFn]?: Two } = {
  add: (x, y) => x + y, sub: (x, y) => x - y, mul: (x, y) => x * y, max: (x, y) => (x > y ? x : y), min: (x, y) => (x < y ? x : y),
  div: (x, y) => (y === 0n ? -1n : x / y), rem: (x, y) => (y === 0n ? x : x % y), pow: power,
  and: (x, y) => x & y, or: (x, y) => x | y, xor: (x, y) => x ^ y,
  shiftLeft: (x, y, bits) => (far(y, bits) ? 0n : x << y),
  shiftRight: (x, y, bits) => (far(y, bits) ? 0n : BigInt.asUintN(bits, x) >> y),
  shiftRightArithmetic: (x, y, bits) => x >> (far(y, bits) ? BigInt(bits - 1) : y),
}

/** The number that this one becomes in a dtype. */
export function wrapped(x: bigint, dtype: DType): number {
  const { bytes, kind } = dtypes[dtype]
  return Number(kind === 'uint' ? BigInt.asUintN(8 * bytes, x) : BigInt.asIntN(8 * bytes, x))
}

/** A float as an integer of the dtype: cut towards zero, then the nearest that there is; 0 for NaN. */
export function truncated(x: number, dtype: DType): number {
  const [low, high] = rangeOf(dtype)
  return Number.isNaN(x) ? 0 : Math.trunc(Math.min(Math.max(x, low), high))
}
