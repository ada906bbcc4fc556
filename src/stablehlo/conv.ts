/**
 * Convolutions brought into one form: [batch, places…, channels] by [window…, in, out], each several dims as one. A transpose is
 * written only where an operand's order forces one.
 */
import { names, sizeOf, type Dim } from '../core/dim.ts'
import { isHalf } from '../core/dtype.ts'
import { operand, shapeOf } from '../graph/node.ts'
import { dimIn } from '../graph/infer/checks.ts'
import type { Window } from '../graph/ops.ts'
import { convDims, type ConvDims } from '../graph/windows.ts'
import type { LocalNode } from '../partition/local.ts'
import { emitKernelConv, isForTheKernel } from './conv-kernel.ts'
import { emitWideConv, withMoreChannels } from './conv-products.ts'
import { convolve, wholeConvolution, type Slide } from './convolve.ts'
import { convPrecision } from './precision.ts'
import { emitSlice } from './rearranging.ts'
import { asStored, type Scope } from './scope.ts'
import { sizesOf, type Ssa, type Writer } from './writer.ts'

/** The operand with its dims in this order, as so many merged ones. */
const arrange = (w: Writer, v: Ssa, shape: readonly Dim[], merged: readonly (readonly Dim[])[]): Ssa =>
  w.reshape(w.transpose(v, merged.flat().map(d => names(shape).indexOf(d.name))), merged.map(sizeOf))

/** Which elements of x any window meets, and how far beyond them the windows reach; undefined where they meet none. */
function reach(v: Window, size: number, width: number): { readonly from: number; readonly size: number; readonly low: number; readonly high: number } | undefined {
  const last = (v.out.size - 1) * v.stride + (width - 1) * v.wDilation - v.low
  const from = Math.max(0, Math.ceil(-v.low / v.xDilation))
  const to = Math.min(size - 1, Math.floor(last / v.xDilation))
  return to < from ? undefined : { from, size: to - from + 1, low: v.low + from * v.xDilation, high: last - to * v.xDilation }
}

/**
 * What the first operand's own dims become: those before the first window one batch; the others that stand between or behind
 * windows places of windows of one element. Where that takes a transpose anyway, or too many places, all of them are the batch.
 */
function places(x: readonly Dim[], { windows }: LocalNode<'conv'>['attrs'], { batch, groups, over }: ConvDims): { readonly batch: readonly Dim[]; readonly spatial: readonly (Window | readonly Dim[])[] } {
  const windowOf = (d: Dim): Window | undefined => windows.find(v => v.x === d.name)
  const shared = [...groups, ...over]
  const own = x.slice(0, x.length - shared.length)
  const start = own.findIndex(d => windowOf(d) !== undefined)
  const spatial: (Window | Dim[])[] = []
  for (const d of own.slice(start)) {
    const [window, last] = [windowOf(d), spatial.at(-1)]
    if (window !== undefined) spatial.push(window)
    else if (Array.isArray(last)) last.push(d)
    else spatial.push([d])
  }
  const lies = names(x).join() === names([...own, ...shared]).join()
  return start >= 0 && lies && spatial.length <= 2 ? { batch: own.slice(0, start), spatial } : { batch, spatial: x.flatMap(d => windowOf(d) ?? []) }
}
const isWindow = (s: Window | readonly Dim[]): s is Window => 'x' in s

export function emitConv(n: LocalNode<'conv'>, [left, right]: readonly Ssa[], w: Writer, scope: Scope): Ssa {
  if (left === undefined || right === undefined) throw new Error('conv has two operands')
  const products = scope.choices.convolutions === 'in parts' ? emitWideConv(n, [left, right], w, scope) : undefined
  if (products !== undefined) return products
  const [x, k] = [shapeOf(operand(n, 0)), shapeOf(operand(n, 1))]
  const dims = convDims(n.attrs, x, k)
  const { groups, over, features } = dims
  const { batch, spatial } = places(x, n.attrs, dims)
  const slides: (Slide & { readonly from: number; readonly size: number })[] = []
  for (const s of spatial) {
    const width = isWindow(s) ? dimIn(k, s.w, 'conv').size : 1
    const reached = isWindow(s) ? reach(s, dimIn(x, s.x, 'conv').size, width) : { from: 0, size: sizeOf(s), low: 0, high: 0 }
    if (reached === undefined) return w.constant(0, left.dtype, sizesOf(shapeOf(n)))
    const { stride, xDilation, wDilation, out } = isWindow(s) ? s : { stride: 1, xDilation: 1, wDilation: 1, out: { size: sizeOf(s) } }
    slides.push({ ...reached, width, places: out.size, stride, xDilation, wDilation })
  }
  // Of f32 XLA's own are as fast.
  const stored = [left, right].map((value, i) => asStored(operand(n, i), value, scope.ssaOf).value)
  const own = scope.kernels && scope.origins === undefined && groups.length === 0 && stored.every(({ dtype }) => isHalf(dtype) && dtype === stored[0]?.dtype) && isForTheKernel(slides, sizeOf(batch), sizeOf(over), sizeOf(features))
  const [images = left, filters = right] = own ? stored : []
  // Cut beforehand: not every plugin takes negative padding.
  const lhs = slides.reduce((v, { from, size }, i) => (size === v.sizes[i + 1] ? v : emitSlice(w, v, i + 1, from, size, 1)),
    arrange(w, images, x, [batch, ...spatial.map(s => (isWindow(s) ? [dimIn(x, s.x, 'conv')] : s)), [...groups, ...over]]))
  const rhs = arrange(w, filters, k, [...spatial.map(s => (isWindow(s) ? [dimIn(k, s.w, 'conv')] : [])), over, [...groups, ...features]])
  const out = [...batch, ...spatial.flatMap(s => (isWindow(s) ? [s.out] : s)), ...groups, ...features]
  const made = own ? emitKernelConv(w, lhs, rhs, slides) : scope.choices.convolutions === 'in parts' ? convolve(w, ...(groups.length === 0 ? withMoreChannels(w, lhs, rhs) : [lhs, rhs] as const), slides, sizeOf(groups)) : wholeConvolution(w, lhs, rhs, slides, sizeOf(groups), convPrecision(lhs, rhs, scope))
  return w.transpose(w.reshape(made, sizesOf(out)), names(shapeOf(n)).map(name => names(out).indexOf(name)))
}
