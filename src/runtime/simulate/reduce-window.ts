/** `reduce_window`: a reduction of the elements in each place of a window, without gaps in either. */
import { integers } from './attributes.ts'
import { elements, settle, type Scalar, type Store } from './element.ts'
import { check, only, type Op } from './program.ts'
import { fold } from './region.ts'
import { perDevice, type Kernel, type Lowering } from './lowering.ts'
import { offsets, pick, range, sizeOf, stridesOf } from './strided.ts'

const reduceWindow = (op: Op): Kernel => {
  const [{ shape }, to] = [only(op, op.operands).type, only(op, op.results).type]
  const ones = shape.map(() => 1)
  const [window, steps] = [integers(op, 'window_dimensions'), integers(op, 'window_strides', ones)]
  const padding = integers(op, 'padding', shape.flatMap(() => [0, 0]))
  const gaps = [...integers(op, 'base_dilations', ones), ...integers(op, 'window_dilations', ones)]
  check(op, gaps.every(gap => gap === 1), 'the simulator has no windows with gaps')
  check(op, op.operands.length === 2 && window.length === shape.length && padding.length === 2 * shape.length
    && to.shape.every((n, d) => n === Math.floor(((shape[d] ?? 0) + (padding[2 * d] ?? 0) + (padding[2 * d + 1] ?? 0) - (window[d] ?? 0)) / (steps[d] ?? 1)) + 1),
  'the result has not one element for each place of the window')
  const own = stridesOf(shape)
  const dims = range(shape.length)
  // Where each window begins, along each dim; the elements before and after the array are left out, as the initial value is neutral.
  const places = dims.map(d => offsets(to.shape, dims.map(e => (e === d ? steps[d] ?? 1 : 0))).map(p => p - (padding[2 * d] ?? 0)))
  const f = fold(op)
  return ([x, first]) => {
    const out = elements[to.dtype].make(sizeOf(to.shape))
    for (let o = 0; o < out.length; o++) {
      const from = dims.map(d => Math.max(0, places[d]?.[o] ?? 0))
      const sizes = dims.map(d => Math.max(0, Math.min((places[d]?.[o] ?? 0) + (window[d] ?? 1), shape[d] ?? 1) - (from[d] ?? 0)))
      const base = from.reduce((sum, p, d) => sum + p * (own[d] ?? 0), 0)
      let sum = (first as Store)[0] as Scalar
      for (const at of offsets(sizes, pick(own, dims))) sum = f(sum, (x as Store)[base + at] as Scalar, 0)
      out[o] = sum
    }
    return [settle(out, to.dtype)]
  }
}

export const reduceWindowLowerings: readonly [string, Lowering][] = [['reduce_window', perDevice(reduceWindow)]]
