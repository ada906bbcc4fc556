/** Which numbers an element type has. */
import { dtypes, isFloat, type DType } from './dtype.ts'

const whole: { readonly [D in DType]?: readonly [low: number, high: number] } = {
  // Beyond 2⁵³ a JavaScript number stands for several integers, so the bounds are the nearest numbers that fit.
  i64: [-(2 ** 63), 2 ** 63], i32: [-(2 ** 31), 2 ** 31 - 1], u32: [0, 2 ** 32 - 1], i8: [-128, 127], u8: [0, 255], bool: [0, 1],
}
/** The lowest and the highest value. */
export const rangeOf = (dtype: DType): readonly [low: number, high: number] => whole[dtype] ?? [-Infinity, Infinity]

export const isDType = (name: unknown): name is DType => typeof name === 'string' && Object.hasOwn(dtypes, name)

/** Whether a number can be a constant of the type: floats round, whole numbers do not. */
export function holds(dtype: DType, value: unknown): value is number {
  if (typeof value !== 'number') return false
  const [low, high] = rangeOf(dtype)
  return isFloat(dtype) || (Number.isInteger(value) && value >= low && value <= high)
}
