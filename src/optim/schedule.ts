/** Learning rates as functions of the step, computed in the program. */
import { tensor, where } from '../graph/tensor.ts'
import type { Scalar } from '../graph/types.ts'

/** Step (from 0) → learning rate: f32, or f64 where the step is. */
export type Schedule = (step: Scalar) => Scalar

/** A half counts no further than to 256, or 2048. */
export const inFloats = (step: Scalar): Scalar => (step.dtype === 'f64' ? step : step.cast('f32'))

export interface WarmupCosine {
  readonly peak: number
  /** Steps of linear warm-up, from peak / warmup to the peak. */
  readonly warmup: number
  /** Steps in all; afterwards the rate stays at its lowest. */
  readonly steps: number
  /** The lowest rate, as a share of the peak. */
  readonly floor: number
}

/** Linear warm-up, then half a cosine (Loshchilov and Hutter 2017). */
export const warmupCosine = ({ peak, warmup, steps, floor }: WarmupCosine): Schedule => step => {
  const t = inFloats(step)
  const rising = t.add(1).mul(peak / Math.max(1, warmup))
  const left = t.neg().add(steps).div(Math.max(1, steps - warmup)).clamp(0, 1)
  // (1 + cos(π − x)) / 2 as sin²(x / 2): towards the end 1 + cos would be what rounding leaves of it.
  const falling = left.mul(Math.PI / 2).sin().square().mul((1 - floor) * peak).add(floor * peak)
  return tensor(where(t.less(warmup), rising, falling).node)
}

/** The same rate at every step. */
export const constantRate = (rate: number): Schedule => step => inFloats(step).mul(0).add(rate)
