/**
 * Convolutions of arranged operands. XLA:CPU has fast kernels for one and two windows and for channels that are contracted;
 * what is neither is made of what is: depthwise ones of multiplications (20 to 40 times as fast), those with more windows of
 * ones with fewer (3 to 5 times).
 */
import type { DType } from '../core/dtype.ts'
import { emitConcat, emitSlice } from './rearranging.ts'
import { i64s, type Ssa, type Writer } from './writer.ts'

/** A window along one dim of the left operand; all that it reaches beyond the operand is in `low` and `high`, both at least 0. */
export interface Slide {
  readonly width: number
  readonly places: number
  readonly stride: number
  readonly low: number
  readonly high: number
  readonly xDilation: number
  readonly wDilation: number
}

/** More pieces than this are no gain. */
const most = { taps: 64, each: 8, slices: 16 }

/** [batch, …, groups · in] by [width…, in, groups · out] to [batch, places…, groups · out]. */
export function convolve(w: Writer, lhs: Ssa, rhs: Ssa, slides: readonly Slide[], groups: number): Ssa {
  const [channels, features] = [rhs.sizes.at(-2) ?? 1, rhs.sizes.at(-1) ?? 1]
  if (channels === 1 && features / groups <= most.each && slides.reduce((n, s) => n * s.width, 1) <= most.taps) return depthwise(w, lhs, rhs, slides, groups)
  const [first] = slides
  if (first !== undefined && slides.length > 2) {
    if (first.width <= first.places && first.width <= most.slices) return byTaps(w, lhs, rhs, slides, groups)
    if (first.places < first.width && first.places <= most.slices && groups === 1) return byPlaces(w, lhs, rhs, slides)
  }
  return wholeConvolution(w, lhs, rhs, slides, groups)
}

/** The same by the one op that it is. `precision` is what the op says of it. */
export function wholeConvolution(w: Writer, lhs: Ssa, rhs: Ssa, slides: readonly Slide[], groups: number, precision = ''): Ssa {
  const features = rhs.sizes.at(-1) ?? 1
  const numbers = slides.map((_, i) => `${i}, `).join('')
  const each = (of: (s: Slide) => number): string => i64s(slides.map(of))
  const attributes = [
    'batch_group_count = 1 : i64',
    `dimension_numbers = #stablehlo.conv<[b, ${numbers}f]x[${numbers}i, o]->[b, ${numbers}f]>`,
    `feature_group_count = ${groups} : i64`,
    `lhs_dilation = ${each(s => s.xDilation)}`,
    `padding = dense<[${slides.map(s => `[${s.low}, ${s.high}]`).join(', ')}]> : tensor<${slides.length}x2xi64>`,
    `rhs_dilation = ${each(s => s.wDilation)}`,
    `window_strides = ${each(s => s.stride)}`,
  ]
  return w.op('convolution', [lhs, rhs], { sizes: [lhs.sizes[0] ?? 1, ...slides.map(s => s.places), features], dtype: lhs.dtype }, attributes.join(', ') + precision)
}

/** The left operand with what its windows reach into, dims 1 and on. */
function padded(w: Writer, x: Ssa, slides: readonly Slide[]): Ssa {
  if (slides.every(s => s.low === 0 && s.high === 0 && s.xDilation === 1)) return x
  const list = (of: (s: Slide) => number): string => i64s(x.sizes.map((_, i) => { const s = slides[i - 1]; return s === undefined ? 0 : of(s) }))
  const sizes = x.sizes.map((n, i) => { const s = slides[i - 1]; return s === undefined ? n : (n - 1) * s.xDilation + 1 + s.low + s.high })
  const attributes = `edge_padding_high = ${list(s => s.high)}, edge_padding_low = ${list(s => s.low)}, interior_padding = ${list(s => s.xDilation - 1)}`
  return w.op('pad', [x, w.constant(0, x.dtype)], { sizes, dtype: x.dtype }, attributes)
}

const convert = (w: Writer, x: Ssa, dtype: DType): Ssa => (x.dtype === dtype ? x : w.op('convert', [x], { sizes: x.sizes, dtype }))
const sum = (w: Writer, parts: readonly Ssa[]): Ssa => parts.reduce((a, b) => w.op('add', [a, b], a))
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

/** Σ over the taps of what stands under each, times its weight. */
function depthwise(w: Writer, lhs: Ssa, rhs: Ssa, slides: readonly Slide[], groups: number): Ssa {
  const { dtype } = lhs
  // Sums of half-precision numbers are f32, as a convolution's are.
  const wide = dtype === 'bf16' || dtype === 'f16' ? 'f32' : dtype
  const x = convert(w, padded(w, lhs, slides), wide)
  const weights = convert(w, w.reshape(rhs, [slides.reduce((n, s) => n * s.width, 1), groups, (rhs.sizes.at(-1) ?? 1) / groups]), wide)
  const each = weights.sizes[2] ?? 1
  const tail = each === 1 ? [groups] : [groups, each]
  const sizes = [lhs.sizes[0] ?? 1, ...slides.map(s => s.places), ...tail]
  const taps = slides.reduce<number[][]>((all, s) => all.flatMap(t => range(s.width).map(k => [...t, k])), [[]])
  const all = taps.map((tap, t) => {
    const under = slides.reduce((v, s, i) => emitSlice(w, v, i + 1, (tap[i] ?? 0) * s.wDilation, s.places, s.stride), x)
    const wideUnder = each === 1 ? under : w.op('broadcast_in_dim', [under], { sizes, dtype: wide }, `broadcast_dimensions = ${i64s(range(sizes.length - 1))}`)
    const weight = w.reshape(emitSlice(w, weights, 0, t, 1, 1), tail)
    const everywhere = w.op('broadcast_in_dim', [weight], { sizes, dtype: wide }, `broadcast_dimensions = ${i64s(tail.map((_, i) => sizes.length - tail.length + i))}`)
    return w.op('multiply', [wideUnder, everywhere], { sizes, dtype: wide })
  })
  const total = convert(w, sum(w, all), dtype)
  return w.reshape(total, [...sizes.slice(0, slides.length + 1), groups * each])
}

/** Σ over the first window's taps of convolutions by the others, its places being a part of the batch. */
function byTaps(w: Writer, lhs: Ssa, rhs: Ssa, [first, ...others]: readonly Slide[], groups: number): Ssa {
  if (first === undefined) throw new Error('there is no window')
  const x = padded(w, lhs, [first])
  const [batch = 1, , ...rest] = x.sizes
  const all = range(first.width).map(k => {
    const under = emitSlice(w, x, 1, k * first.wDilation, first.places, first.stride)
    return convolve(w, w.reshape(under, [batch * first.places, ...rest]), w.reshape(emitSlice(w, rhs, 0, k, 1, 1), rhs.sizes.slice(1)), others, groups)
  })
  const total = sum(w, all)
  return w.reshape(total, [batch, first.places, ...total.sizes.slice(1)])
}

/** One convolution over the other windows for each place of the first window; the elements under the first window count as channels. */
function byPlaces(w: Writer, lhs: Ssa, rhs: Ssa, [first, ...others]: readonly Slide[]): Ssa {
  if (first === undefined) throw new Error('there is no window')
  const rank = lhs.sizes.length
  // In both operands the first window's dim is placed right before the channels.
  const x = w.transpose(padded(w, lhs, [first]), [0, ...range(rank - 3).map(i => i + 2), 1, rank - 1])
  const k = w.transpose(rhs, [...range(rank - 3).map(i => i + 1), 0, rank - 2, rank - 1])
  const merged = (v: Ssa, at: number): Ssa => w.reshape(v, [...v.sizes.slice(0, at), (v.sizes[at] ?? 1) * (v.sizes[at + 1] ?? 1), ...v.sizes.slice(at + 2)])
  const weights = merged(k, rank - 3)
  const all = range(first.places).map(s => {
    const made = convolve(w, merged(emitSlice(w, x, rank - 2, s * first.stride, first.width, first.wDilation), rank - 2), weights, others, 1)
    return w.reshape(made, [made.sizes[0] ?? 1, 1, ...made.sizes.slice(1)])
  })
  return emitConcat(w, all, 1)
}
