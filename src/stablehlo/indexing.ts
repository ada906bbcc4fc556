/** Gathers and scatters along one dim. */
import { names, sizeOf } from '../core/dim.ts'
import { operand, shapeOf } from '../graph/node.ts'
import type { LocalNode } from '../partition/local.ts'
import { addRegion } from './reduce.ts'
import { i64s, sizesOf, typeOfNode, type Ssa, type Writer } from './writer.ts'

const range = (from: number, to: number): number[] => Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i)

export function emitTake(n: LocalNode<'take'>, args: readonly Ssa[], w: Writer): Ssa {
  const table = shapeOf(operand(n, 0))
  const rank = shapeOf(operand(n, 1)).length
  const at = names(table).indexOf(n.attrs.dim)
  const numbers = `offset_dims = [${range(rank, rank + table.length - 1)}], collapsed_slice_dims = [${at}], start_index_map = [${at}], index_vector_dim = ${rank}`
  const sliceSizes = table.map((d, i) => (i === at ? 1 : d.size))
  return w.op('gather', args, typeOfNode(n), `dimension_numbers = #stablehlo.gather<${numbers}>, indices_are_sorted = false, slice_sizes = ${i64s(sliceSizes)}`)
}

export function emitScatterAdd(n: LocalNode<'scatterAdd'>, [indices, updates]: readonly Ssa[], w: Writer): Ssa {
  if (indices === undefined || updates === undefined) throw new Error('scatterAdd has two operands')
  const [at, from] = [shapeOf(operand(n, 0)), shapeOf(operand(n, 1))]
  const rank = at.length
  const order = [...at, ...from.filter(d => !names(at).includes(d.name))]
  const rows = w.transpose(updates, order.map(d => names(from).indexOf(d.name)))
  const result = typeOfNode(n)
  const zeros = w.constant(0, result.dtype, sizesOf(shapeOf(n)))
  // One index dim, one update window: the form that XLA:CPU expands best.
  const count = sizeOf(at)
  const flatIndices = w.reshape(indices, [count])
  const flatRows = w.reshape(rows, [count, ...rows.sizes.slice(rank)])
  const numbers = `update_window_dims = [${range(1, flatRows.sizes.length)}], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1`
  const attributes = `indices_are_sorted = false, scatter_dimension_numbers = #stablehlo.scatter<${numbers}>, unique_indices = false`
  return w.op('scatter', [zeros, flatIndices, flatRows], result, attributes, addRegion(w, 'sum', result.dtype))
}
