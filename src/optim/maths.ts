/** The arithmetic that schedules are written in, over numbers of the host and over scalars of a program: one formula serves both. */
import { full, tensor, where } from '../graph/tensor.ts'
import type { Scalar } from '../graph/types.ts'

/** What a formula may do with numbers of a kind. */
export interface Maths<T> {
  readonly number: (x: number) => T
  readonly add: (a: T, b: T | number) => T
  readonly mul: (a: T, b: T | number) => T
  readonly div: (a: T, b: T | number) => T
  readonly min: (a: T, b: T | number) => T
  readonly max: (a: T, b: T | number) => T
  readonly sqrt: (a: T) => T
  readonly sin: (a: T) => T
  /** `yes` where a is less than b, else `no`. Both are computed. */
  readonly less: (a: T, b: number, yes: T, no: T) => T
}

/** A number as a function of the step, which counts from 0. */
export type Formula = <T>(step: T, maths: Maths<T>) => T

export const onHost: Maths<number> = {
  number: x => x, add: (a, b) => a + b, mul: (a, b) => a * b, div: (a, b) => a / b, min: (a, b) => Math.min(a, b), max: (a, b) => Math.max(a, b),
  sqrt: Math.sqrt, sin: Math.sin, less: (a, b, yes, no) => (a < b ? yes : no),
}

export const inProgram = (dtype: 'f32' | 'f64'): Maths<Scalar> => ({
  number: x => full(x, [], dtype), add: (a, b) => a.add(b), mul: (a, b) => a.mul(b), div: (a, b) => a.div(b), min: (a, b) => a.minimum(b), max: (a, b) => a.maximum(b),
  sqrt: a => a.sqrt(), sin: a => a.sin(), less: (a, b, yes, no) => tensor(where(a.less(b), yes, no).node),
})
