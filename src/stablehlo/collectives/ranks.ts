/**
 * Collectives between processes, one device each: custom calls that a native library answers (native/handlers.c). XLA may run
 * calls that do not depend on each other in any order, and every process must run them in the same one: a token chains them,
 * through loops too. The library gathers and scatters along the first dim; other dims are moved there and back by XLA.
 */
import { names } from '../../core/dim.ts'
import type { Mesh } from '../../core/mesh.ts'
import { shapeOf } from '../../graph/node.ts'
import type { ReduceKind } from '../../graph/ops.ts'
import { describeLocal, type LocalNode } from '../../partition/local.ts'
import { betweenDevices } from '../extrema.ts'
import { i64s, typeOfNode, type Ssa, type Writer } from '../writer.ts'
import type { CollectiveWriter } from './writer.ts'

type Type = Pick<Ssa, 'sizes' | 'dtype'>
type Collectives = 'allReduce' | 'allGather' | 'reduceScatter' | 'allToAll' | 'permute'

const kinds: { readonly [K in ReduceKind]: number } = { sum: 0, max: 1, min: 2, prod: 3 }
const inPlace = 'output_operand_aliases = [#stablehlo.output_operand_alias<output_tuple_indices = [0], operand_index = 0, operand_tuple_indices = []>]'

/** One collective: consumes the token and leaves the next. */
function call(name: string, n: LocalNode<Collectives>, x: Ssa, result: Type, w: Writer, mesh: Mesh, kind?: ReduceKind): Ssa {
  const axes = n.attrs.axes.map(a => mesh.axes.findIndex(axis => axis.name === a))
  const config = [
    `at = ${JSON.stringify(w.place)}`, `axes = ${i64s(axes)}`, ...kind === undefined ? [] : [`kind = ${kinds[kind]} : i32`],
    `mesh = ${i64s(mesh.axes.map(a => a.size))}`, ...n.op === 'permute' ? [`pairs = ${i64s(n.attrs.pairs.flat())}`] : [],
    `what = ${JSON.stringify(describeLocal(n).toLowerCase())}`,
  ].join(', ')
  const attributes = [
    'api_version = 4 : i32', `backend_config = {${config}}`, `call_target_name = "meshwork.${name}"`, 'has_side_effect = true',
    ...name === 'all_reduce' ? [inPlace] : [],
  ].join(', ')
  const [value, token] = w.ops('custom_call', [x, w.takeToken()], [result, w.tokenType], attributes, [])
  if (value === undefined || token === undefined) throw new Error(`${name} has two results`)
  w.leaveToken(token)
  return value
}

/** The same value with dim `from` at place `to`. */
function move(w: Writer, x: Ssa, from: number, to: number): Ssa {
  const order = x.sizes.map((_, i) => i).filter(i => i !== from)
  order.splice(to, 0, from)
  return w.transpose(x, order)
}

export const ranks: CollectiveWriter = {
  ordered: true,
  device: w => w.op('custom_call', [], { sizes: [], dtype: 'u32' }, 'api_version = 4 : i32, call_target_name = "meshwork.device"'),
  allReduce: (n, x, w, mesh) => betweenDevices(w, n.attrs.kind, x, v => call('all_reduce', n, v, v, w, mesh, n.attrs.kind)),
  allGather: (n, x, w, mesh) => {
    const at = names(shapeOf(n)).indexOf(n.attrs.dim)
    const parts = call('all_gather', n, x, { sizes: [n.attrs.parts, ...x.sizes], dtype: x.dtype }, w, mesh)
    return w.reshape(move(w, parts, 0, at), typeOfNode(n).sizes)
  },
  reduceScatter: (n, x, w, mesh) => {
    const { sizes, dtype } = typeOfNode(n)
    const at = names(shapeOf(n)).indexOf(n.attrs.dim)
    const cut = w.reshape(x, [...sizes.slice(0, at), n.attrs.parts, ...sizes.slice(at)])
    return call('reduce_scatter', n, move(w, cut, at, 0), { sizes, dtype }, w, mesh, 'sum')
  },
  allToAll: (n, x, w, mesh) => {
    const { sizes, dtype } = typeOfNode(n)
    const { from, to, parts } = n.attrs
    const shape = names(shapeOf(n))
    const [at, cutAt] = [shape.indexOf(from), shape.indexOf(to)]
    // The parts of `to` come first, for the library; what comes back are the senders' parts of `from`.
    const cut = w.reshape(x, x.sizes.flatMap((size, i) => (i === cutAt ? [parts, size / parts] : [size])))
    const first = move(w, cut, cutAt, 0)
    const exchanged = call('all_to_all', n, first, { sizes: first.sizes, dtype }, w, mesh)
    return w.reshape(move(w, exchanged, 0, at), sizes)
  },
  permute: (n, x, w, mesh) => call('permute', n, x, typeOfNode(n), w, mesh),
}
