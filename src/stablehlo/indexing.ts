/** Gathers, scatters and windows at computed places. */
import { names, sizeOf } from '../core/dim.ts'
import { dtypeOf, operand, shapeOf } from '../graph/node.ts'
import type { ReduceKind, ScatterKind } from '../graph/ops.ts'
import type { LocalNode } from '../partition/local.ts'
import { combined, combiner } from './extrema.ts'
import { i64s, sizesOf, typeOfNode, type Ssa, type Writer } from './writer.ts'

const range = (from: number, to: number): number[] => Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i)

export function emitTake(n: LocalNode<'take'>, args: readonly Ssa[], w: Writer): Ssa {
  const [table, indices] = [shapeOf(operand(n, 0)), shapeOf(operand(n, 1))]
  const rank = indices.length
  const at = names(table).indexOf(n.attrs.dim)
  // Dims that both have go elementwise.
  const shared = table.flatMap((d, i) => (i !== at && names(indices).includes(d.name) ? [i] : []))
  const batching = shared.length === 0 ? '' : `, operand_batching_dims = [${shared}], start_indices_batching_dims = [${shared.map(i => names(indices).indexOf(table[i]?.name ?? ''))}]`
  const numbers = `offset_dims = [${range(rank, rank + table.length - 1 - shared.length)}], collapsed_slice_dims = [${at}]${batching}, start_index_map = [${at}], index_vector_dim = ${rank}`
  const sliceSizes = table.map((d, i) => (i === at || shared.includes(i) ? 1 : d.size))
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
  return w.op('scatter', [zeros, flatIndices, flatRows], result, attributes, combiner(w, 'sum', result.dtype))
}

const placing: { readonly [K in ScatterKind]: ReduceKind | undefined } = { set: undefined, add: 'sum', max: 'max', min: 'min' }

export function emitScatter(n: LocalNode<'scatter'>, [target, indices, updates]: readonly Ssa[], w: Writer): Ssa {
  if (target === undefined || indices === undefined || updates === undefined) throw new Error('scatter has three operands')
  const [of, at, from] = [shapeOf(n), shapeOf(operand(n, 1)), shapeOf(operand(n, 2))]
  const { dim, kind } = n.attrs
  const batch = of.filter(d => d.name !== dim && names(at).includes(d.name))
  const isBatch = (name: string): boolean => names(batch).includes(name)
  const scattered = at.filter(d => !isBatch(d.name))
  const rest = of.filter(d => d.name !== dim && !isBatch(d.name))
  const count = sizeOf(scattered)
  const ordered = (x: Ssa, shape: typeof at, order: typeof at): Ssa => w.transpose(x, order.map(d => names(shape).indexOf(d.name)))
  const flatIndices = w.reshape(ordered(indices, at, [...batch, ...scattered]), [...sizesOf(batch), count])
  const flatUpdates = w.reshape(ordered(updates, from, [...batch, ...scattered, ...rest]), [...sizesOf(batch), count, ...sizesOf(rest)])
  const place = names(of).indexOf(dim)
  const batching = batch.length === 0 ? '' : `, input_batching_dims = [${batch.map(d => names(of).indexOf(d.name))}], scatter_indices_batching_dims = [${range(0, batch.length)}]`
  const numbers = `update_window_dims = [${range(batch.length + 1, flatUpdates.sizes.length)}], inserted_window_dims = [${place}]${batching}, scatter_dims_to_operand_dims = [${place}], index_vector_dim = ${batch.length + 1}`
  const attributes = `indices_are_sorted = false, scatter_dimension_numbers = #stablehlo.scatter<${numbers}>, unique_indices = false`
  const scalar = { sizes: [], dtype: target.dtype }
  return w.op('scatter', [target, flatIndices, flatUpdates], typeOfNode(n), attributes, () => {
    const [old, update] = w.block([scalar, scalar])
    if (old === undefined || update === undefined) return
    const how = placing[kind]
    w.return([how === undefined ? update : combined(w, how, old, update)])
  })
}

const startsOf = (w: Writer, n: LocalNode, dim: string, start: Ssa): Ssa[] => {
  const zero = w.constant(0, 'i32')
  return shapeOf(operand(n, 0)).map(d => (d.name === dim ? start : zero))
}
export function emitDynamicSlice(n: LocalNode<'dynamicSlice'>, [x, start]: readonly Ssa[], w: Writer): Ssa {
  if (x === undefined || start === undefined) throw new Error('dynamicSlice has two operands')
  const type = typeOfNode(n)
  return w.op('dynamic_slice', [x, ...startsOf(w, n, n.attrs.dim, start)], type, `slice_sizes = ${i64s(type.sizes)}`)
}
export function emitDynamicUpdate(n: LocalNode<'dynamicUpdate'>, [x, update, start]: readonly Ssa[], w: Writer): Ssa {
  if (x === undefined || update === undefined || start === undefined) throw new Error('dynamicUpdate has three operands')
  const from = names(shapeOf(operand(n, 1)))
  const inOrder = w.transpose(update, names(shapeOf(n)).map(d => from.indexOf(d)))
  return w.op('dynamic_update_slice', [x, inOrder, ...startsOf(w, n, n.attrs.dim, start)], { sizes: x.sizes, dtype: dtypeOf(n) })
}
