/**
 * Steps that are not to be taken: whose loss or gradient is no number, or leaps. It is decided on the devices, on all alike, so that no step waits for
 * the host; what is left out is chosen, not multiplied away, since 0 · NaN is NaN.
 */
import { onCallersLine } from '../core/site.ts'
import { full, slot, type Scalar } from '../engine/index.ts'
import { chosen } from '../optim/index.ts'

export interface Guard {
  /** So many standard deviations above the mean is a spike, of the loss as of the gradient's norm; undefined: only what is no number is left out. */
  readonly deviations?: number | undefined
  /** Steps that mean and deviation are taken over; the weight of each falls by 1/steps with every later one. */
  readonly over: number
  /** No spike before so many steps were taken. */
  readonly after: number
}

/** Mean and variance of what was seen in steps that were taken. */
export type Course = { readonly mean: Scalar; readonly variance: Scalar }
export type History = { readonly taken: Scalar; readonly loss: Course; readonly gradNorm: Course }
const watched = ['loss', 'gradNorm'] as const

const courses = (of: (name: 'loss' | 'gradNorm', what: keyof Course) => Scalar): Pick<History, 'loss' | 'gradNorm'> => {
  const course = (name: 'loss' | 'gradNorm'): Course => ({ mean: of(name, 'mean'), variance: of(name, 'variance') })
  return { loss: course('loss'), gradNorm: course('gradNorm') }
}

/** As a program's inputs. */
export const historyInput = (): History => onCallersLine(() => ({ taken: slot('history.taken', [], 'i32'), ...courses((name, what) => slot(`history.${name}.${what}`, [])) }))
export const emptyHistory = (): History => ({ taken: full(0, [], 'i32'), ...courses(() => full(0, [])) })

/** Whether the step is to be taken, bool; and the history with it, if it is. */
export const judged = (seen: Readonly<Record<'loss' | 'gradNorm', Scalar>>, history: History, { deviations, over, after }: Guard): { readonly take: Scalar; readonly history: History } => onCallersLine(() => {
  const wide = { loss: seen.loss.cast('f32'), gradNorm: seen.gradNorm.cast('f32') }
  const finite = wide.loss.isFinite().and(wide.gradNorm.isFinite())
  const calm = watched.map(name => {
    const { mean, variance } = history[name]
    return wide[name].lessEqual(mean.add(variance.sqrt().mul(deviations ?? 0)))
  }).reduce((a, b) => a.and(b))
  const take = deviations === undefined ? finite : finite.and(calm.or(history.taken.less(after)))
  // The first steps are averaged evenly.
  const share = full(1, []).div(history.taken.add(1).cast('f32')).maximum(1 / over)
  const next = (name: 'loss' | 'gradNorm'): Course => {
    const { mean, variance } = history[name]
    const off = wide[name].sub(mean)
    return { mean: mean.add(off.mul(share)), variance: variance.add(off.square().mul(share)).mul(share.neg().add(1)) }
  }
  const moved: History = { taken: history.taken.add(1), loss: next('loss'), gradNorm: next('gradNorm') }
  return { take, history: chosen(take, moved, history) }
})
