/** Reshapes, slices, padding, rolls and concatenation. */
import { names } from '../core/dim.ts'
import { dtypeOf, operand, shapeOf } from '../graph/node.ts'
import type { LocalNode } from '../partition/local.ts'
import { i64s, sizesOf, typeOfNode, type Ssa, type Writer } from './writer.ts'

/** Elements [from, from + (size − 1)·step] of dim `at`. */
export function emitSlice(w: Writer, x: Ssa, at: number, from: number, size: number, step: number): Ssa {
  if (size === x.sizes[at] && step === 1) return x
  const list = (here: (n: number) => number, other: (n: number) => number): string => i64s(x.sizes.map((n, i) => (i === at ? here(n) : other(n))))
  const attributes = `limit_indices = ${list(() => from + (size - 1) * step + 1, n => n)}, start_indices = ${list(() => from, () => 0)}, strides = ${list(() => step, () => 1)}`
  return w.op('slice', [x], { sizes: x.sizes.map((n, i) => (i === at ? size : n)), dtype: x.dtype }, attributes)
}

export function emitMerge(n: LocalNode<'mergeDims'>, x: Ssa, w: Writer): Ssa {
  const shape = names(shapeOf(operand(n, 0)))
  const order = names(shapeOf(n)).flatMap(name => (name === n.attrs.into.name ? n.attrs.from : [name]))
  return w.reshape(w.transpose(x, order.map(name => shape.indexOf(name))), sizesOf(shapeOf(n)))
}

export function emitResample(n: LocalNode<'resample'>, x: Ssa, w: Writer): Ssa {
  const { dim, to, start, step, dilation, fill } = n.attrs
  const at = names(shapeOf(operand(n, 0))).indexOf(dim)
  const size = x.sizes[at] ?? 1
  const last = start + (to.size - 1) * step
  if (start >= 0 && dilation === 1 && last < size) return emitSlice(w, x, at, start, to.size, step)
  const one = (value: number): string => i64s(x.sizes.map((_, i) => (i === at ? value : 0)))
  const length = last - start + 1
  const high = length + start - ((size - 1) * dilation + 1)
  const attributes = `edge_padding_high = ${one(high)}, edge_padding_low = ${one(-start)}, interior_padding = ${one(dilation - 1)}`
  const padded = w.op('pad', [x, w.constant(fill, x.dtype)], { sizes: x.sizes.map((k, i) => (i === at ? length : k)), dtype: x.dtype }, attributes)
  return step === 1 ? padded : emitSlice(w, padded, at, 0, to.size, step)
}

export const emitConcat = (w: Writer, parts: readonly Ssa[], at: number): Ssa => {
  const [first] = parts
  if (first === undefined) throw new Error('nothing to concatenate')
  if (parts.length === 1) return first
  const total = parts.reduce((sum, p) => sum + (p.sizes[at] ?? 0), 0)
  return w.op('concatenate', parts, { sizes: first.sizes.map((k, i) => (i === at ? total : k)), dtype: first.dtype }, `dimension = ${at} : i64`)
}

export function emitRoll(n: LocalNode<'roll'>, x: Ssa, w: Writer): Ssa {
  const at = names(shapeOf(n)).indexOf(n.attrs.dim)
  const size = x.sizes[at] ?? 1
  const cut = (((-n.attrs.by) % size) + size) % size
  return cut === 0 ? x : emitConcat(w, [emitSlice(w, x, at, cut, size - cut, 1), emitSlice(w, x, at, 0, cut, 1)], at)
}

export const emitReverse = (n: LocalNode<'reverse'>, x: Ssa, w: Writer): Ssa =>
  w.op('reverse', [x], { sizes: typeOfNode(n).sizes, dtype: dtypeOf(n) }, `dimensions = ${i64s([names(shapeOf(n)).indexOf(n.attrs.dim)])}`)
