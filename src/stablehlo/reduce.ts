/** Reductions within a device and between devices. */
import { isFloat, type DType } from '../core/dtype.ts'
import { replicaGroups, type Mesh } from '../core/mesh.ts'
import { names } from '../core/dim.ts'
import { operand, shapeOf } from '../graph/node.ts'
import { reduceStart } from '../graph/reference/table.ts'
import type { ReduceKind } from '../graph/ops.ts'
import type { LocalNode } from '../partition/local.ts'
import { i64s, typeOfNode, type Ssa, type Writer } from './writer.ts'

const reducers: { readonly [K in ReduceKind]: string } = { sum: 'add', max: 'maximum', min: 'minimum' }

/** The body of a reduction: two scalars in, one out. */
export const addRegion = (w: Writer, kind: ReduceKind, dtype: DType) => (): void => {
  const scalar = { sizes: [], dtype }
  w.return([w.op(reducers[kind], w.block([scalar, scalar]), scalar)])
}

export function emitReduce(n: LocalNode<'reduce'>, args: readonly Ssa[], w: Writer): Ssa {
  const type = typeOfNode(n)
  const shape = names(shapeOf(operand(n, 0)))
  const start = w.constant(reduceStart(n.attrs.kind, isFloat(type.dtype)), type.dtype)
  return w.op('reduce', [...args, start], type, `dimensions = ${i64s(n.attrs.over.map(d => shape.indexOf(d)).sort((a, b) => a - b))}`, addRegion(w, n.attrs.kind, type.dtype))
}

const groupsText = (mesh: Mesh, axes: readonly string[]): string => {
  const groups = replicaGroups(mesh, axes)
  return `replica_groups = dense<${JSON.stringify(groups)}> : tensor<${groups.length}x${groups[0]?.length ?? 0}xi64>`
}

export const emitAllReduce = (n: LocalNode<'allReduce'>, args: readonly Ssa[], w: Writer, mesh: Mesh): Ssa =>
  w.op('all_reduce', args, typeOfNode(n), groupsText(mesh, n.attrs.axes), addRegion(w, n.attrs.kind, typeOfNode(n).dtype))

export const emitAllGather = (n: LocalNode<'allGather'>, args: readonly Ssa[], w: Writer, mesh: Mesh): Ssa =>
  w.op('all_gather', args, typeOfNode(n), `all_gather_dim = ${names(shapeOf(n)).indexOf(n.attrs.dim)} : i64, ${groupsText(mesh, n.attrs.axes)}`)

export const emitReduceScatter = (n: LocalNode<'reduceScatter'>, args: readonly Ssa[], w: Writer, mesh: Mesh): Ssa =>
  w.op('reduce_scatter', args, typeOfNode(n), `${groupsText(mesh, n.attrs.axes)}, scatter_dimension = ${names(shapeOf(n)).indexOf(n.attrs.dim)} : i64`,
    addRegion(w, 'sum', typeOfNode(n).dtype))
