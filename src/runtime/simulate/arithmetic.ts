/** What the elementwise ops of one result type do to an element, by the arithmetic that the type takes. */
import { erf, erfc, erfInv } from '../../core/special.ts'
import type { Family, Scalar } from './element.ts'

type Real<A extends number> = A extends 1 ? (x: number) => number : (x: number, y: number) => number
type Big<A extends number> = A extends 1 ? (x: bigint) => bigint : (x: bigint, y: bigint) => bigint
/** The results need not fit the element type: storing them rounds them or wraps them around. */
type Arithmetic<A extends 1 | 2> = { readonly [F in Family]?: F extends 'big' ? Big<A> : Real<A> }
export type AnyArithmetic = { readonly [F in Family]?: (...elements: never[]) => Scalar }

/** Adding 2^52 leaves no bits for a fraction. The sign of a zero must survive. */
function roundEven(x: number): number {
  if (!(Math.abs(x) < 2 ** 52)) return x
  const rounded = Math.abs(x) + 2 ** 52 - 2 ** 52
  return x < 0 || Object.is(x, -0) ? -rounded : rounded
}

const bit = (x: boolean): number => (x ? 1 : 0)

export const unary: Readonly<Record<string, Arithmetic<1>>> = {
  'chlo.erf': { float: erf }, 'chlo.erfc': { float: erfc }, 'chlo.erf_inv': { float: erfInv },
  abs: { float: Math.abs, int: Math.abs, big: x => (x < 0n ? -x : x) },
  cbrt: { float: Math.cbrt }, ceil: { float: Math.ceil }, cosine: { float: Math.cos }, exponential: { float: Math.exp },
  exponential_minus_one: { float: Math.expm1 }, floor: { float: Math.floor }, log: { float: Math.log }, log_plus_one: { float: Math.log1p },
  logistic: { float: x => 1 / (1 + Math.exp(-x)) },
  negate: { float: x => -x, int: x => -x, big: x => -x },
  not: { int: x => ~x, big: x => ~x, bool: x => 1 - x },
  round_nearest_even: { float: roundEven },
  rsqrt: { float: x => 1 / Math.sqrt(x) },
  sign: { float: Math.sign, int: Math.sign, big: x => (x > 0n ? 1n : x < 0n ? -1n : 0n) },
  sine: { float: Math.sin }, sqrt: { float: Math.sqrt }, tan: { float: Math.tan }, tanh: { float: Math.tanh },
}

/** In JavaScript alone 1 ** NaN is NaN; IEEE 754 and XLA say 1. */
const powerFloat = (x: number, y: number): number => (x === 1 || (x === -1 && Math.abs(y) === Infinity) ? 1 : x ** y)

/** Integer powers by repeated squaring. To a negative power only 1 and -1 give a nonzero integer. */
function powerInt(base: number, exponent: number): number {
  if (exponent < 0) return base === 1 ? 1 : base === -1 ? (exponent % 2 === 0 ? 1 : -1) : 0
  let result = 1
  for (let square = base, left = exponent; left > 0; left = Math.floor(left / 2), square = Math.imul(square, square)) {
    if (left % 2 === 1) result = Math.imul(result, square)
  }
  return result
}
function powerBig(base: bigint, exponent: bigint): bigint {
  if (exponent < 0n) return base === 1n ? 1n : base === -1n ? (exponent % 2n === 0n ? 1n : -1n) : 0n
  let result = 1n
  for (let square = base, left = exponent; left > 0n; left >>= 1n, square = BigInt.asIntN(64, square * square)) {
    if (left & 1n) result = BigInt.asIntN(64, result * square)
  }
  return result
}

/** Math.max and Math.min of exactly two operands, whatever else a caller passes. Both return NaN if either is NaN, and order 0 above -0, as IEEE 754 does. */
const max = (x: number, y: number): number => Math.max(x, y)
const min = (x: number, y: number): number => Math.min(x, y)
const or = (x: number, y: number): number => x | y
const and = (x: number, y: number): number => x & y
const xor = (x: number, y: number): number => x ^ y

export type BinaryName =
  | 'add' | 'subtract' | 'multiply' | 'divide' | 'remainder' | 'maximum' | 'minimum' | 'atan2' | 'power' | 'and' | 'or' | 'xor'

/** Integers divide as in XLA: by zero gives all ones, and leaves the dividend as remainder. */
export const binary: { readonly [K in BinaryName]: Arithmetic<2> } = {
  add: { float: (x, y) => x + y, int: (x, y) => x + y, big: (x, y) => x + y, bool: or },
  subtract: { float: (x, y) => x - y, int: (x, y) => x - y, big: (x, y) => x - y },
  multiply: { float: (x, y) => x * y, int: Math.imul, big: (x, y) => x * y, bool: and },
  divide: { float: (x, y) => x / y, int: (x, y) => (y === 0 ? -1 : Math.trunc(x / y)), big: (x, y) => (y === 0n ? -1n : x / y) },
  remainder: { float: (x, y) => x % y, int: (x, y) => (y === 0 ? x : x % y), big: (x, y) => (y === 0n ? x : x % y) },
  maximum: { float: max, int: max, big: (x, y) => (x - y > 0n ? x : y), bool: or },
  minimum: { float: min, int: min, big: (x, y) => (x - y < 0n ? x : y), bool: and },
  atan2: { float: (x, y) => Math.atan2(x, y) },
  power: { float: powerFloat, int: powerInt, big: powerBig },
  and: { int: and, big: (x, y) => x & y, bool: and },
  or: { int: or, big: (x, y) => x | y, bool: or },
  xor: { int: xor, big: (x, y) => x ^ y, bool: xor },
}

/** Shifts depend on the width: by it or more, counted without sign, they give 0, or copies of the sign bit. */
export const shifts = (bits: number): Readonly<Record<string, Arithmetic<2>>> => {
  const mask = bits === 32 ? -1 : 2 ** bits - 1
  const far = (y: number): boolean => y >>> 0 >= bits
  const farBig = (y: bigint): boolean => y < 0n || y >= 64n
  return {
    shift_left: { int: (x, y) => (far(y) ? 0 : x << y), big: (x, y) => (farBig(y) ? 0n : x << y) },
    shift_right_logical: { int: (x, y) => (far(y) ? 0 : (x & mask) >>> y), big: (x, y) => (farBig(y) ? 0n : BigInt.asUintN(64, x) >> y) },
    shift_right_arithmetic: {
      int: (x, y) => (x << 32 - bits) >> 32 - bits >> (far(y) ? bits - 1 : y), big: (x, y) => x >> (farBig(y) ? 63n : y),
    },
  }
}

/** Bits of integers of a width. */
export const bitCounts = (bits: number): Readonly<Record<string, Arithmetic<1>>> => {
  const wide = (x: bigint): string => BigInt.asUintN(64, x).toString(2)
  const own = (x: number): number => (bits === 32 ? x >>> 0 : x & (2 ** bits - 1))
  const ones = (digits: string): number => digits.replaceAll('0', '').length
  return {
    popcnt: { int: x => ones(own(x).toString(2)), big: x => BigInt(ones(wide(x))) },
    count_leading_zeros: { int: x => Math.clz32(own(x)) - (32 - bits), big: x => (BigInt.asUintN(64, x) === 0n ? 64n : BigInt(64 - wide(x).length)) },
  }
}

type Order = (x: Scalar, y: Scalar) => number
/** NaN is above all and -0 below 0. That NaNs have signs too is lost in JavaScript's numbers. */
const totalOrder = (x: number, y: number): number =>
  (Number.isNaN(x) ? (Number.isNaN(y) ? 0 : 1) : Number.isNaN(y) ? -1 : x - y || (x === y ? (1 / x) - (1 / y) || 0 : 0))
/** Only floats are compared so. */
const total = (holds: (order: number) => boolean): Order => (x, y) => bit(holds(totalOrder(x as number, y as number)))

/** Each comparison in two orders: the numbers' own, in which NaN equals nothing, and the total order. */
export const directions: Readonly<Record<string, { readonly own: Order; readonly total: Order }>> = {
  EQ: { own: (x, y) => bit(x === y), total: total(o => o === 0) },
  NE: { own: (x, y) => bit(x !== y), total: total(o => o !== 0) },
  LT: { own: (x, y) => bit(x < y), total: total(o => o < 0) },
  LE: { own: (x, y) => bit(x <= y), total: total(o => o <= 0) },
  GT: { own: (x, y) => bit(x > y), total: total(o => o > 0) },
  GE: { own: (x, y) => bit(x >= y), total: total(o => o >= 0) },
}
