/**
 * Convolutions in the one form that XLA:CPU has fast kernels for: [batch, places…, channels] by [window…, in, out], each several
 * dims as one. A transpose is written only where an operand's order forces one.
 */
import { names, sizeOf, type Dim } from '../core/dim.ts'
import { operand, shapeOf } from '../graph/node.ts'
import { dimIn } from '../graph/infer/checks.ts'
import type { Window } from '../graph/ops.ts'
import { convDims } from '../graph/windows.ts'
import type { LocalNode } from '../partition/local.ts'
import { emitSlice } from './rearranging.ts'
import { i64s, sizesOf, type Ssa, type Writer } from './writer.ts'

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

export function emitConv(n: LocalNode<'conv'>, [left, right]: readonly Ssa[], w: Writer): Ssa {
  if (left === undefined || right === undefined) throw new Error('conv has two operands')
  const { windows } = n.attrs
  const [x, k] = [shapeOf(operand(n, 0)), shapeOf(operand(n, 1))]
  const { batch, groups, over, features } = convDims(n.attrs, x, k)
  const slides = windows.map(v => ({ ...v, width: dimIn(k, v.w, 'conv'), reached: reach(v, dimIn(x, v.x, 'conv').size, dimIn(k, v.w, 'conv').size) }))
  let lhs = arrange(w, left, x, [batch, ...windows.map(v => [dimIn(x, v.x, 'conv')]), [...groups, ...over]])
  const pads: (readonly [number, number])[] = []
  for (const [i, { reached }] of slides.entries()) {
    if (reached === undefined) return w.constant(0, left.dtype, sizesOf(shapeOf(n)))
    // Cut beforehand: not every plugin takes negative padding.
    if (reached.size !== lhs.sizes[i + 1]) lhs = emitSlice(w, lhs, i + 1, reached.from, reached.size, 1)
    pads.push([reached.low, reached.high])
  }
  const rhs = arrange(w, right, k, [...slides.map(s => [s.width]), over, [...groups, ...features]])
  const places = windows.map((_, i) => i).join(', ')
  const comma = places === '' ? '' : ', '
  const attributes = [
    'batch_group_count = 1 : i64',
    `dimension_numbers = #stablehlo.conv<[b${comma}${places}, f]x[${places}${comma}i, o]->[b${comma}${places}, f]>`,
    `feature_group_count = ${sizeOf(groups)} : i64`,
    `lhs_dilation = ${i64s(windows.map(v => v.xDilation))}`,
    `padding = dense<[${pads.map(p => `[${p.join(', ')}]`).join(', ')}]> : tensor<${pads.length}x2xi64>`,
    `rhs_dilation = ${i64s(windows.map(v => v.wDilation))}`,
    `window_strides = ${i64s(windows.map(v => v.stride))}`,
  ]
  const sizes = [sizeOf(batch), ...windows.map(v => v.out.size), sizeOf(groups) * sizeOf(features)]
  return w.reshape(w.op('convolution', [lhs, rhs], { sizes, dtype: left.dtype }, attributes.join(', ')), sizesOf(shapeOf(n)))
}
