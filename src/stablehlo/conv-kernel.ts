/** Convolutions of halves by a kernel of our own for CPUs: what lies under the windows is gathered while it is packed for a product with all kernels at once. */
import type { Slide } from './convolve.ts'
import { ownCall } from './own-call.ts'
import { isWorthAKernel } from './product.ts'
import type { Ssa, Writer } from './writer.ts'

const count = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1)
const dims = ['rows', 'columns'] as const
/** Places fewer than which leave threads without work: a sum over many, as a kernel's gradient is, is made by one. */
const fewest = 256

/** Whether the kernel is to do it: one or two windows over images without gaps, all channels at once. */
export function isForTheKernel(slides: readonly Slide[], batch: number, channels: number, features: number): boolean {
  const places = batch * count(slides.map(s => s.places))
  return slides.length > 0 && slides.length <= dims.length && slides.every(s => s.xDilation === 1) && places >= fewest && isWorthAKernel(['f32'], 1, places, features, count(slides.map(s => s.width)) * channels)
}

/** [batch, …, channels] by [width…, channels, features] to [batch, places…, features] of f32. */
export function emitKernelConv(w: Writer, lhs: Ssa, rhs: Ssa, slides: readonly Slide[]): Ssa {
  const [batch = 1, channels = 1, features = 1] = [lhs.sizes[0], lhs.sizes.at(-1), rhs.sizes.at(-1)]
  const one: Slide = { width: 1, places: 1, stride: 1, low: 0, high: 0, xDilation: 1, wDilation: 1 }
  const both = slides.length === 1 ? [one, ...slides] : slides
  const image = [batch, ...slides.length === 1 ? [1] : [], ...lhs.sizes.slice(1, -1), channels]
  const said = both.flatMap((s, i) => Object.entries({ '': s.width, low_: s.low, stride_: s.stride, dilation_: s.wDilation }).map(([what, value]) => `${what}${dims[i]} = ${value} : i64`))
  const made = ownCall(w, 'conv', [w.reshape(lhs, image), w.reshape(rhs, [count(rhs.sizes.slice(0, -1)), features])], { sizes: [batch, ...both.map(s => s.places), features], dtype: 'f32' }, { config: said.join(', ') })
  return w.reshape(made, [batch, ...slides.map(s => s.places), features])
}
