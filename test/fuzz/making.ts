/** How an op of a random program takes its operands. */
import { broadcast, expectDims, iota, loose, type Dim, type Scalar } from '../../src/engine/index.ts'
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
/** A tensor of constants, no two alike. */
export const weights = (m: Making, shape: readonly Dim[], scale = 0.5): T => m.apart(m.ones(shape)).mul(scale)
/** x with a dim more. */
export const spread = (x: T, over: Dim, m: Making): T => loose(broadcast(x, [over])).mul(loose(iota(over)).cast(m.dtype).add(0.5))
export const others = (x: T, ...without: readonly string[]): string[] => x.shape.map(d => d.name).filter(name => !without.includes(name))
export const mean = (x: T, names: readonly string[]): T => (names.length === 0 ? x : x.mean(...names))
