/** Learning rates as functions of the step, computed in the program. */
import { isFloat } from '../core/dtype.ts'
import { tensor, where } from '../graph/tensor.ts'
import type { Scalar } from '../graph/types.ts'

/** Step (from 0) → learning rate: f32, or the step's dtype where that is a float. */
export type Schedule = (step: Scalar) => Scalar

export const inFloats = (step: Scalar): Scalar => (isFloat(step.dtype) ? step : step.cast('f32'))

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
  const progress = t.sub(warmup).div(Math.max(1, steps - warmup)).maximum(0).minimum(1)
  const falling = progress.mul(Math.PI).cos().add(1).mul(0.5 * (1 - floor) * peak).add(floor * peak)
  return tensor(where(t.less(warmup), rising, falling).node)
}

/** The same rate at every step. */
export const constantRate = (rate: number): Schedule => step => inFloats(step).mul(0).add(rate)
