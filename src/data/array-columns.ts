/** What lies in columns as what a model takes: the same numbers, in the model's shape and dtype. */
import { dtypes, hostArray, isFloat, isHalf, type DType, type TypedArray } from '../core/dtype.ts'
import { DataError, UsageError } from '../core/errors.ts'
import { numbersOf } from '../core/half-precision.ts'
import { didYouMean } from '../core/nearest.ts'
import type { Column, Rows } from './sources/rows/types.ts'

const listed = (shape: readonly number[]): string => (shape.length === 0 ? 'one number' : `[${shape.join(', ')}]`)
const sizeOf = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1)
const withoutOnes = (shape: readonly number[]): string => shape.filter(d => d !== 1).join()

/** Whether the numbers of the one are those of the other, one after another: dims of 1 are none, and a flat list, such as fields of CSV, may stand for what it is the numbers of. */
const fits = (has: readonly number[], takes: readonly number[]): boolean => withoutOnes(has) === withoutOnes(takes) || (has.length === 1 && has[0] === sizeOf(takes))

/** @throws UsageError where rows lack a column that the model takes, or have it in another shape */
export function requireColumns({ columns, name = 'the rows' }: Pick<Rows, 'columns' | 'name'>, fields: { readonly [path: string]: Column }): void {
  for (const [path, { shape, dtype }] of Object.entries(fields)) {
    const column = Object.hasOwn(columns, path) ? columns[path] : undefined
    if (column === undefined) throw new UsageError({ code: 'no-column', what: `the model takes "${path}", and the data has no column of that name`, details: { 'the model takes': Object.keys(fields).join(', '), in: name }, fix: didYouMean(path, Object.keys(columns)) })
    if (fits(column.shape, shape)) continue
    throw new UsageError({
      code: 'column-shape', what: `a row of "${path}" is ${listed(column.shape)}, and the model takes ${listed(shape)}`, details: { 'the model takes': `${listed(shape)} of ${dtype}`, in: name },
      fix: 'give the model the sizes of the data, or the data that it is for',
    })
  }
}

/** Numbers of a column as a model's dtype has them: floats are rounded, whole numbers must be ones that it holds. @throws DataError naming the row of a number that it does not */
export function converted(values: TypedArray, from: DType, to: DType, at: (index: number) => string): TypedArray {
  if (from === to) return values
  const numbers = numbersOf(values, from)
  if (to === 'bool') return Uint8Array.from(numbers as Float64Array, x => (Number(x) === 0 ? 0 : 1))
  if (isFloat(to)) return to === 'f64' ? Float64Array.from(numbers as Float64Array, Number) : Float32Array.from(numbers as Float64Array, Number)
  const out = hostArray(to, numbers.length)
  for (let i = 0; i < numbers.length; i++) {
    const given = numbers[i] as number | bigint
    if (out instanceof BigInt64Array) {
      if (typeof given === 'bigint' || Number.isInteger(given)) { out[i] = BigInt(given); continue }
    } else {
      out[i] = Number(given)
      // A typed array wraps what it cannot hold. −0 is 0.
      if (out[i] === Number(given)) continue
    }
    throw new DataError({ code: 'value', what: `${at(i)} has ${given}, which ${to} does not hold`, fix: `the model takes whole numbers of ${8 * dtypes[to].bytes} bits there: mend the data, or the model` })
  }
  return out
}

/** An array with one number from a place on. */
export function filled(array: TypedArray, from: number, value: number): TypedArray {
  if (array instanceof BigInt64Array) return array.fill(BigInt(value), from)
  return array.fill(value, from)
}

/** Whether arrays of a dtype can hold a number, as that by which labels say that they do not count. */
export const holds = (dtype: DType, value: number): boolean => {
  if (dtype === 'bool' || isHalf(dtype)) return false
  return isFloat(dtype) || dtype === 'i64' || Number((hostArray(dtype, 1).fill(value as never))[0]) === value
}
