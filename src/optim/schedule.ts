/**
 * Schedules: pure functions of the step, so that there is nothing to save and nothing to restore.
 *
 * The convention, of all of them: steps count from 0, k = 0 is the first. Warm-up of W steps has the share (k + 1) / W of the peak, so that the first step
 * learns and step W − 1 has the peak. What falls over steps W to N − 1 has gone (k + 1 − W) / (N − W) of its way, so that step N − 1, the last, is exactly at the floor; the
 * rate stays there. So `ours(k)` is what optax, transformers and Megatron give at k + 1; torchtitan counts as we do. N is the length of the schedule,
 * which need not be the number of steps of a run.
 */
import { isTensor, tensor } from '../graph/tensor.ts'
import type { Scalar } from '../graph/types.ts'
import type { Description } from './description.ts'
import { inProgram, onHost, type Formula } from './maths.ts'
import { checkValue, notNegative, usage, type Check } from './options.ts'

/** Step (from 0) → learning rate. In a program f32, or f64 where the step is; on the host, for tables and plots, the same formula in doubles. */
export interface Schedule {
  (step: number): number
  (step: Scalar): Scalar
  readonly description: Description
  readonly formula: Formula
}
/** A learning rate: one number for all steps, or a schedule. */
export type Rate = number | Schedule

/** A half counts no further than to 256, or 2048. */
export const inFloats = (step: Scalar): Scalar => (step.dtype === 'f64' ? step : step.cast('f32'))

/** A schedule of one's own: one formula for programs and for the host, such as `(step, m) => m.div(m.number(1), m.add(step, 1))`. */
export function schedule(description: Description, formula: Formula): Schedule {
  function at(step: number): number
  function at(step: Scalar): Scalar
  function at(step: number | Scalar): number | Scalar {
    if (typeof step === 'number') return formula(step, onHost)
    if (!isTensor(step)) throw usage(`${description.name}: the step is ${String(step)}`, 'give a number, or a scalar tensor')
    const k = inFloats(step)
    return tensor<never>(formula(k, inProgram(k.dtype === 'f64' ? 'f64' : 'f32')).node)
  }
  return Object.assign(at, { description, formula })
}

export const isSchedule = (x: unknown): x is Schedule => typeof x === 'function' && 'formula' in x
export const aRate: Check = { fits: x => isSchedule(x) || notNegative.fits(x), fix: 'give a number of at least 0, or a schedule' }

/** The same rate at every step. @throws UsageError for what is no rate */
export function constant(rate: number): Schedule {
  checkValue('constant: the rate', rate, notNegative)
  return schedule({ name: 'constant', rate }, (_, m) => m.number(rate))
}

export const scheduleOf = (rate: Rate): Schedule => (typeof rate === 'number' ? constant(rate) : rate)
/** As a description has it: a number where it is one at every step. */
export const plainRate = (rate: Rate): number | Description => (typeof rate === 'number' ? rate : rate.description.name === 'constant' ? rate(0) : rate.description)
