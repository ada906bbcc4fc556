/** What a case of the table is, and the helpers that cases are written with. */
import type { Dim } from '../../src/core/dim.ts'
import type { AnyTensor, Tensor } from '../../src/graph/types.ts'

export type T = Tensor<string>
export type Dims = { readonly [name: string]: Dim }
/** Names of an operand's dims and what its values are, as test/support/operand.ts reads it: `a b`, `a b+`, `a#8`, `a b~-3:3`, `a#0:200:u8`, `a?`. */
type Operand = string

export interface Case {
  readonly name: string
  readonly dims: { readonly [name: string]: number }
  readonly in: readonly Operand[]
  readonly f: (x: readonly T[], d: Dims) => AnyTensor
  /** Integers, random bits and comparisons have none. */
  readonly noGradient?: true
  /** The largest relative error; 1e-5 unless said. The reference does not round to halves. */
  readonly tolerance?: number
}

export const dimOf = (d: Dims, name: string): Dim => {
  const found = d[name]
  if (found === undefined) throw new Error(`the case has no dim ${name}`)
  return found
}
export const at = (x: readonly T[], i: number): T => {
  const found = x[i]
  if (found === undefined) throw new Error(`the case has no operand ${i}`)
  return found
}
export const size4 = { a: 4, b: 8 }
export const unary = (name: string, f: (x: T) => T, range = ''): Case => ({ name, dims: size4, in: [`a b${range}`], f: x => f(at(x, 0)) })
export const binary = (name: string, f: (x: T, y: T) => T, range = ''): Case => ({ name, dims: size4, in: [`a b${range}`, `b${range}`], f: x => f(at(x, 0), at(x, 1)) })
