/** Elementwise ops as functions of one element of each operand: whole arrays and the bodies of reductions are both made of them. */
import type { DType } from '../../core/dtype.ts'
import { binary, bitCounts, directions, shifts, unary, type AnyArithmetic } from './arithmetic.ts'
import { word } from './attributes.ts'
import { elements, isUnsigned, type Scalar } from './element.ts'
import { check, only, opError, type Op } from './program.ts'

/** Missing operands are undefined and unread. Results still have to be rounded or wrapped around to their type. */
export type ScalarFunction = (x: Scalar, y: Scalar, z: Scalar) => Scalar
type MakeScalar = (op: Op) => ScalarFunction

const operandType = (op: Op, index = 0): DType => only(op, op.operands, index).type.dtype
const resultType = (op: Op): DType => only(op, op.results).type.dtype

/** That a store of a family holds only scalars of that family is what makes this cast right. */
function arithmetic(op: Op, table: AnyArithmetic): ScalarFunction {
  const found = table[elements[operandType(op)].family]
  if (found === undefined) throw opError(op, 'program-types', `it does not take ${operandType(op)}`)
  return found as ScalarFunction
}

const compare: MakeScalar = op => {
  const direction = word(op, 'comparison_direction')
  const found = directions[direction]
  check(op, found !== undefined, `comparison_direction is ${direction}`)
  return word(op, 'compare_type', 'NOTYPE') === 'TOTALORDER' ? found.total : found.own
}

/** Of an i64, 53 bits, the last of them 1 if anything was cut off: a double, which rounds to narrower floats as the integer does. */
const cut = (x: bigint): bigint => (BigInt.asIntN(53, x) === x || (x & 0xfffn) === 0n ? x : x & ~0xfffn | 0x800n)

/** Floats become integers as in XLA: the nearest one the type has towards zero, and 0 of NaN. */
export function converter(from: DType, to: DType): (x: Scalar) => Scalar {
  const { family, bits } = elements[to]
  if (family === 'float') return from === 'i64' && bits < 64 ? x => Number(cut(x as bigint)) : Number
  if (family === 'bool') return x => (x === 0 || x === 0n ? 0 : 1)
  if (elements[from].family !== 'float') {
    return family === 'big' ? BigInt : x => (typeof x === 'bigint' ? Number(BigInt.asIntN(32, x)) : x)
  }
  const [least, most] = isUnsigned(to) ? [0, 2 ** bits - 1] : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]
  const whole = (x: Scalar): number => (Number.isNaN(x) ? 0 : Math.trunc(Math.min(Math.max(x as number, least), most)))
  // The most that an i64 can be is 2^63 - 1, which as a float is 2^63.
  return family === 'big' ? x => (Number(x) >= 2 ** 63 ? 2n ** 63n - 1n : BigInt(whole(x))) : whole
}

const clamp: MakeScalar = op => {
  const [max, min] = [arithmetic(op, binary.maximum), arithmetic(op, binary.minimum)]
  return (least, x, most) => min(max(x, least, 0), most, 0)
}

const functionsOf = (table: Readonly<Record<string, AnyArithmetic>>): [string, MakeScalar][] =>
  Object.entries(table).map(([name, entry]) => [name, op => arithmetic(op, entry)])

export const scalarFunctions: ReadonlyMap<string, MakeScalar> = new Map<string, MakeScalar>([
  ...functionsOf(unary), ...functionsOf(binary),
  ...Object.keys(shifts(32)).map((name): [string, MakeScalar] =>
    [name, op => arithmetic(op, shifts(elements[operandType(op)].bits)[name] ?? {})]),
  ...Object.keys(bitCounts(32)).map((name): [string, MakeScalar] =>
    [name, op => arithmetic(op, bitCounts(elements[operandType(op)].bits)[name] ?? {})]),
  ['compare', compare],
  ['convert', op => converter(operandType(op), resultType(op))],
  ['is_finite', () => x => (Number.isFinite(x) ? 1 : 0)],
  ['select', () => (condition, x, y) => (condition ? x : y)],
  ['clamp', clamp],
])

/** The function of an elementwise op. */
export function scalarFunction(op: Op): ScalarFunction {
  const make = scalarFunctions.get(op.name)
  if (make === undefined) throw opError(op, 'unknown-op', 'it is not elementwise, so it cannot be in a reduction, a scatter or a sort')
  return make(op)
}
