/**
 * Convolutions in forms that XLA:CPU computes faster. Its own are slow where a window is as wide as what it slides over, as that of a kernel's gradient is, and its operands have to be turned
 * over for it: as one product of what lies under the taps, summed over all places, it takes 0.6 of the time.
 */
import { names, sizeOf } from '../core/dim.ts'
import { operand, shapeOf } from '../graph/node.ts'
import { tapsOf, wideConv, type Wide } from '../graph/wide-windows.ts'
import { convDims } from '../graph/windows.ts'
import type { LocalNode } from '../partition/local.ts'
import { emitProduct, isWorthAKernel, type Factor } from './product.ts'
import { emitConcat, emitSlice } from './rearranging.ts'
import { asStored, type Scope } from './scope.ts'
import { i64s, sizesOf, type Ssa, type Writer } from './writer.ts'

/** A convolution whose result has few places, each a sum over many, as a kernel's gradient. Undefined where it is none. */
export function emitWideConv(n: LocalNode<'conv'>, given: readonly [Ssa, Ssa], w: Writer, { kernels, origins, ssaOf }: Scope): Ssa | undefined {
  const [x, k] = [shapeOf(operand(n, 0)), shapeOf(operand(n, 1))]
  const { batch, groups, features } = convDims(n.attrs, x, k)
  const wide = groups.length > 0 || given[0].dtype !== 'f32' ? undefined : wideConv(n.attrs, x, k)
  if (wide === undefined) return undefined
  const { windows, places } = wide
  const taps = tapsOf(windows)
  const [rows, across] = [taps.length * sizeOf(batch), sizeOf(features)]
  const own = kernels && origins === undefined && isWorthAKernel(['f32'], 1, rows, across, places)
  // Our kernel takes halves as they are, so that half as much is laid under the taps.
  const [left, right] = own ? [asStored(operand(n, 0), given[0], ssaOf).value, asStored(operand(n, 1), given[1], ssaOf).value] : given

  const at = (name: string): number => names(x).indexOf(name)
  const along = (of: (v: Wide) => number): readonly number[] => x.map(d => { const found = windows.find(v => v.window.x === d.name); return found === undefined ? 0 : of(found) })
  const [low, high] = [along(v => v.low), along(v => v.high)]
  const isInside = [...low, ...high].every(edge => edge === 0)
  const padded = isInside ? left : w.op('pad', [left, w.constant(0, left.dtype)], { sizes: left.sizes.map((size, i) => size + (low[i] ?? 0) + (high[i] ?? 0)), dtype: left.dtype },
    `edge_padding_high = ${i64s(high)}, edge_padding_low = ${i64s(low)}, interior_padding = ${i64s(x.map(() => 0))}`)

  // Both list what is summed over in x's order.
  const summed = x.filter(d => !names(batch).includes(d.name))
  const inWeights = summed.map(d => windows.find(v => v.window.x === d.name)?.window.w ?? d.name)
  const weights = w.reshape(w.transpose(right, [...inWeights, ...names(features)].map(name => names(k).indexOf(name))), [places, sizeOf(features)])
  const byRows = [...names(summed), ...names(batch)].map(at)
  // What lies under each tap side by side: one product for all places.
  const columns = emitConcat(w, taps.map(tap => {
    const under = windows.reduce((v, { window, width, low: edge }, i) => emitSlice(w, v, at(window.x), (tap[i] ?? 0) * window.stride - window.low + edge, width, window.wDilation), padded)
    return w.reshape(w.transpose(under, byRows), [places, sizeOf(batch)])
  }), 1)
  const product = own
    ? emitInParts(w, columns, weights)
    : w.op('dot_general', [columns, weights], { sizes: [rows, across], dtype: 'f32' }, 'dot_dimension_numbers = #stablehlo.dot<lhs_contracting_dimensions = [0], rhs_contracting_dimensions = [0]>')
  const made = [...windows.map(v => v.window.out), ...batch, ...features]
  return w.transpose(w.reshape(product, sizesOf(made)), names(shapeOf(n)).map(name => names(made).indexOf(name)))
}

/** Places summed at a time, at least, where a kernel's gradient is made in parts: it is small, and threads would have nothing to do, or each would pack all of the weights for its rows. */
const fewestPlaces = 2048
/** The product over the first dim of both by our kernel, in parts along it that are added up: as many whatever the threads are. */
function emitInParts(w: Writer, left: Ssa, right: Ssa): Ssa {
  const [places = 1, rows = 1, across = 1] = [left.sizes[0], left.sizes[1], right.sizes[1]]
  const parts = [16, 8, 4, 2].find(n => places % n === 0 && places / n >= fewestPlaces) ?? 1
  const factor = (value: Ssa, turned: boolean): Factor => ({ value: w.reshape(value, [parts, places / parts, value.sizes[1] ?? 1]), turned, stack: undefined })
  const all = emitProduct(w, factor(left, true), factor(right, false), [parts, rows, across], 'f32')
  const each = Array.from({ length: parts }, (_, i) => w.reshape(emitSlice(w, all, 0, i, 1, 1), [rows, across]))
  return each.reduce((a, b) => w.op('add', [a, b], a))
}

/** Channels that XLA:CPU gathers one by one, and as many as it gathers together: with zeros for what is missing it is twice as fast, on one channel it is not. */
const [oneByOne, together] = [[2, 3], 4] as const

/** The operands of a convolution whose channels are few, with channels of zeros: `lhs` has them last, `rhs` before its features. */
export function withMoreChannels(w: Writer, lhs: Ssa, rhs: Ssa): readonly [Ssa, Ssa] {
  const channels = lhs.sizes.at(-1) ?? 1
  if (lhs.dtype !== 'f32' || !oneByOne.some(few => few === channels)) return [lhs, rhs]
  const grown = (v: Ssa, dim: number): Ssa => {
    const one = (value: number): string => i64s(v.sizes.map((_, i) => (i === dim ? value : 0)))
    return w.op('pad', [v, w.constant(0, v.dtype)], { sizes: v.sizes.map((size, i) => (i === dim ? together : size)), dtype: v.dtype },
      `edge_padding_high = ${one(together - channels)}, edge_padding_low = ${one(0)}, interior_padding = ${one(0)}`)
  }
  return [grown(lhs, lhs.sizes.length - 1), grown(rhs, rhs.sizes.length - 2)]
}
