/** Numbers into a function over tensors and numbers out, by the reference evaluator. */
import type { Dim } from '../../src/core/dim.ts'
import type { DType } from '../../src/core/dtype.ts'
import { input, leavesOf, type AnyTensor, type Tensor, type Tree } from '../../src/engine/index.ts'
import { typeOf, type Node } from '../../src/graph/node.ts'
import { evaluate } from '../../src/graph/reference/evaluate.ts'
import { valueOf } from '../../src/graph/reference/values.ts'

export type T = Tensor<string>

/** An operand and its data, row-major. */
export interface Operand { readonly tensor: T; readonly data: ArrayLike<number> }
export const given = (shape: readonly Dim[], data: ArrayLike<number>, dtype: DType = 'f32'): Operand =>
  ({ tensor: input('x', shape, dtype) as T, data })

const isInput = (n: Node): n is Node<'input'> => n.op === 'input'

/** The values of tensors, given those of the inputs. */
export function valuesOf(results: readonly AnyTensor[], operands: readonly Operand[]): number[][] {
  const inputs = operands.map(o => o.tensor.node).filter(isInput)
  const values = evaluate({ inputs, outputs: results.map(r => r.node) }, operands.map(o => valueOf(typeOf(o.tensor.node), o.data)))
  return values.map(v => Array.from(v.data, Number))
}
/** The value of one tensor. */
export const valueOfTensor = (result: AnyTensor, ...operands: readonly Operand[]): number[] => valuesOf([result], operands)[0] ?? []
/** The values of a tree's leaves, in order. */
export const leafValues = (tree: Tree, ...operands: readonly Operand[]): number[][] => valuesOf(leavesOf(tree).map(l => l.leaf), operands)
