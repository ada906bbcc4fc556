/** How an op of a random program takes its operands. */
import { expectDims, type Scalar } from '../../src/engine/index.ts'
import type { Making, Op, Step, T } from './program.ts'

export const scalar = (x: { readonly node: unknown }): Scalar => expectDims(x as T, []) as Scalar
/** One operand; a scalar is left as it is where the op needs a dim. */
export const one = (f: (x: T, s: Step, m: Making) => T | readonly T[]): Op => (m, s) => f(m.float(s.x), s, m)
export const along = (f: (x: T, dim: string, s: Step, m: Making, size: number) => T | readonly T[]): Op => (m, s) => {
  const x = m.float(s.x)
  if (x.shape.length === 0) return x.neg()
  const d = m.of(x, s.dim)
  return f(x, d.name, s, m, d.size)
}
