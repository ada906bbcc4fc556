/** What follows a direction: decay, the rate, and what differs from parameter to parameter. */
import { onCallersLine } from '../core/site.ts'
import { byParameterOr, type Description } from './description.ts'
import { stateless } from './chain.ts'
import type { Transformation } from './optimizer.ts'
import { aFunction, checkValue, either, notNegative, usage, type Check } from './options.ts'
import { at, mapPaths, type Parameter } from './parameters.ts'
import { aRate, plainRate, scheduleOf, type Rate, type Schedule } from './schedule.ts'

type None = Readonly<Record<never, never>>

/** A number for all parameters, or one for each. */
export type PerParameter = number | ((parameter: Parameter) => number)
export const perParameter: Check = either(notNegative, aFunction)

const numberFor = (what: string, of: (parameter: Parameter) => number, parameter: Parameter): number => {
  const found = of(parameter)
  if (!notNegative.fits(found)) throw usage(`${what}: what is given for "${parameter.path}" is ${String(found)}`, 'return a number of at least 0')
  return found
}

/**
 * λp added to the update, before the rate and the one subtraction: p −= rate · (u + λp) (decoupled decay: Loshchilov and Hutter 2019). A small rate · λ is not lost so, as
 * it is in p · (1 − rate · λ). A number is for the parameters that were declared with `decays`, a function says for each.
 * @throws UsageError for what is neither
 */
export function addDecayedWeights(weightDecay: PerParameter): Transformation<None> {
  checkValue('addDecayedWeights: the decay', weightDecay, perParameter)
  return stateless({ name: 'addDecayedWeights', weightDecay: byParameterOr(weightDecay) }, (updates, { params, parameters }) => {
    const by = new Map(weightDecay === 0 ? [] : parameters.map(p => [p.path, typeof weightDecay === 'function' ? numberFor('addDecayedWeights', weightDecay, p) : p.decays ? weightDecay : 0]))
    return onCallersLine(() => mapPaths(updates, (u, path) => { const decay = by.get(path) ?? 0; return decay > 0 ? u.add(at(params, path).mul(decay)) : u }))
  })
}

/** Each update times the rate of the step: the last of a chain, before what averages parameters. @throws UsageError for what is no rate */
export function scaleByRate(rate: Rate): Transformation<None> {
  checkValue('scaleByRate: the rate', rate, aRate)
  const schedule: Schedule = scheduleOf(rate)
  return stateless({ name: 'scaleByRate', rate: plainRate(rate) }, (updates, { step, dtype }) => {
    const now = schedule(step).cast(dtype)
    return onCallersLine(() => mapPaths(updates, u => u.mul(now)))
  }, schedule)
}

/** Each parameter's update times a number of its own, decay and all where it follows that: its learning rate, as a share. @throws UsageError for what is no function */
export function scaleByParameter(share: (parameter: Parameter) => number): Transformation<None> {
  checkValue('scaleByParameter', share, aFunction)
  return stateless({ name: 'scaleByParameter', share: 'by parameter' }, (updates, { parameters }) => {
    const by = new Map(parameters.map(p => [p.path, numberFor('scaleByParameter', share, p)]))
    return mapPaths(updates, (u, path) => { const s = by.get(path) ?? 1; return s === 1 ? u : u.mul(s) })
  })
}

/** What all named optimizers take. */
export interface Common {
  readonly rate: Rate
  /** λ of p −= rate · (u + λp): a number for the parameters declared with `decays`, or a function of each. */
  readonly weightDecay?: PerParameter
  /** The share of the rate that a parameter learns with; all of it unless said. */
  readonly rateShare?: (parameter: Parameter) => number
}
export const common: { readonly [K in keyof Common]-?: Check } = { rate: aRate, weightDecay: perParameter, rateShare: aFunction }
export const ending = ({ rate, weightDecay = 0, rateShare = () => 1 }: Common): readonly [Transformation<None>, Transformation<None>, Transformation<None>] =>
  [addDecayedWeights(weightDecay), scaleByParameter(rateShare), scaleByRate(rate)]
export const plainCommon = ({ rate, weightDecay = 0, rateShare }: Common): Omit<Description, 'name'> =>
  ({ rate: plainRate(rate), weightDecay: byParameterOr(weightDecay), ...rateShare === undefined ? {} : { rateShare: 'by parameter' } })
