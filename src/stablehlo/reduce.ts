/** Reductions within a device. */
import type { DType } from '../core/dtype.ts'
import { names } from '../core/dim.ts'
import { operand, shapeOf } from '../graph/node.ts'
import { reduceStart } from '../graph/reference/evaluator.ts'
import type { ReduceKind } from '../graph/ops.ts'
import type { LocalNode } from '../partition/local.ts'
import { i64s, typeOfNode, type Ssa, type Writer } from './writer.ts'

const reducers: { readonly [K in ReduceKind]: string } = { sum: 'add', prod: 'multiply', max: 'maximum', min: 'minimum' }

/** The body of a reduction: two scalars in, one out. */
export const addRegion = (w: Writer, kind: ReduceKind, dtype: DType) => (): void => {
  const scalar = { sizes: [], dtype }
  w.return([w.op(reducers[kind], w.block([scalar, scalar]), scalar)])
}

export function emitReduce(n: LocalNode<'reduce'>, args: readonly Ssa[], w: Writer): Ssa {
  const type = typeOfNode(n)
  const shape = names(shapeOf(operand(n, 0)))
  const start = w.constant(reduceStart(n.attrs.kind, type.dtype), type.dtype)
  return w.op('reduce', [...args, start], type, `dimensions = ${i64s(n.attrs.over.map(d => shape.indexOf(d)).sort((a, b) => a - b))}`, addRegion(w, n.attrs.kind, type.dtype))
}
