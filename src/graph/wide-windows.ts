/** Convolutions whose windows are wider than they have places, as a kernel's gradient is: as one product of what lies under all taps XLA:CPU computes them in 0.6 of the time, and that lies in memory for it. */
import { sizeOf, type Dim } from '../core/dim.ts'
import { dimIn } from './infer/checks.ts'
import type { Attrs, Window } from './ops.ts'
import { convDims } from './windows.ts'

/** Where there are more taps, fewer places, or fewer rows (channels under all taps), XLA's own convolution is as fast: what lies under the taps is written down, which takes as long as many of the products. */
const [mostTaps, fewPlaces, fewRows] = [32, 1024, 16] as const

/** A window that is wider than it has places: elements of x at each place begin here. */
export interface Wide { readonly window: Window; readonly width: number; readonly low: number; readonly high: number }

/** `taps` rows of places, each summed over `places` elements. */
export interface WideConv { readonly windows: readonly Wide[]; readonly taps: number; readonly places: number }

/** Of a convolution of x with the kernel k that is worth it; undefined of others. */
export function wideConv(attrs: Attrs['conv'], x: readonly Dim[], k: readonly Dim[]): WideConv | undefined {
  const { batch, over } = convDims(attrs, x, k)
  const windows = attrs.windows.map((window): Wide => {
    const [size, width] = [dimIn(x, window.x, 'conv').size, dimIn(k, window.w, 'conv').size]
    const last = (window.out.size - 1) * window.stride + (width - 1) * window.wDilation - window.low
    return { window, width, low: Math.max(0, window.low), high: Math.max(0, last - size + 1) }
  })
  const taps = windows.reduce((all, { window }) => all * window.out.size, 1)
  const places = windows.reduce((all, { width }) => all * width, sizeOf(over))
  const isWide = windows.every(({ window, width }) => window.xDilation === 1 && window.out.size <= width)
  return isWide && taps <= mostTaps && places >= fewPlaces && taps * sizeOf(batch) >= fewRows ? { windows, taps, places } : undefined
}

/** Every place of every window, the last window's the quickest. */
export const tapsOf = (windows: readonly Wide[]): readonly (readonly number[])[] =>
  windows.reduce<readonly (readonly number[])[]>((all, { window }) => all.flatMap(tap => Array.from({ length: window.out.size }, (_, i) => [...tap, i])), [[]])
