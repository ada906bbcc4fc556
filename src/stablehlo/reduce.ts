/** Reductions within a device. */
import { names } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { operand, shapeOf } from '../graph/node.ts'
import { reduceStart } from '../graph/reference/evaluator.ts'
import type { LocalNode } from '../partition/local.ts'
import { combiner, isExtremum, plainCombiner } from './extrema.ts'
import { ownCall } from './own-call.ts'
import { emitSlice } from './rearranging.ts'
import { asStored, type Scope } from './scope.ts'
import { i64s, typeOfNode, type Ssa, type Writer } from './writer.ts'

/** Rows shorter than this are not worth cutting up. */
const shortest = 128

/**
 * Where whole rows are reduced, first the extremum of some parts of each, elementwise: XLA:CPU vectorises that, and a reduction in
 * words of our own not at all. The parts may overlap. Halves are widened part by part: whole, they would be widened into memory before.
 */
function folded(w: Writer, x: Ssa, kind: 'max' | 'min', rows: number, row: number, dtype: DType): Ssa {
  const parts = row >= 256 ? 16 : 8
  const size = Math.ceil(row / parts)
  const flat = w.reshape(x, [rows, row])
  return Array.from({ length: parts }, (_, i) => emitSlice(w, flat, 1, Math.min(i * size, row - size), size, 1))
    .map(part => (part.dtype === dtype ? part : w.op('convert', [part], { sizes: part.sizes, dtype })))
    .reduce((a, b) => w.op(kind === 'max' ? 'maximum' : 'minimum', [a, b], a))
}

/** Sums by our own kernel, which adds in one order whatever else there is. */
function kernelSum(w: Writer, x: Ssa, over: readonly number[], type: Pick<Ssa, 'sizes' | 'dtype'>): Ssa {
  const kept = x.sizes.map((_, i) => i).filter(i => !over.includes(i))
  const count = (dims: readonly number[]): number => dims.reduce((n, i) => n * (x.sizes[i] ?? 1), 1)
  const rows = w.reshape(w.transpose(x, [...kept, ...over]), [count(kept), count(over)])
  return w.reshape(ownCall(w, 'sum', [rows], { sizes: [count(kept)], dtype: 'f32' }), type.sizes)
}

export function emitReduce(n: LocalNode<'reduce'>, [x]: readonly Ssa[], w: Writer, { choices, origins, ssaOf }: Scope): Ssa {
  if (x === undefined) throw new Error('reduce has an operand')
  const type = typeOfNode(n)
  const { kind } = n.attrs
  const shape = names(shapeOf(operand(n, 0)))
  const over = n.attrs.over.map(d => shape.indexOf(d)).sort((a, b) => a - b)
  if (origins !== undefined && kind === 'sum' && type.dtype === 'f32') return kernelSum(w, x, over, type)
  const start = w.constant(reduceStart(kind, type.dtype), type.dtype)
  const reduced = (v: Ssa, dims: readonly number[]): Ssa => w.op('reduce', [v, start], type, `dimensions = ${i64s(dims)}`, (choices.extrema === 'compared' ? combiner : plainCombiner)(w, kind, type.dtype))
  // Dims that are reduced and lie behind all others.
  const last = shape.length - shape.findLastIndex((_, i) => !over.includes(i)) - 1
  const kept = x.sizes.slice(0, shape.length - last)
  const row = x.sizes.slice(shape.length - last).reduce((a, b) => a * b, 1)
  if (choices.extrema === 'reduced' || !isExtremum(kind, type.dtype) || row < shortest) return reduced(x, over)
  const parts = folded(w, asStored(operand(n, 0), x, ssaOf).value, kind, kept.reduce((a, b) => a * b, 1), row, type.dtype)
  return reduced(w.reshape(parts, [...kept, parts.sizes[1] ?? 1]), [...over.filter(i => i < kept.length), kept.length])
}
