/** SGD, Lion, RMSProp and Adagrad: a direction, decay, the rate. */
import { described } from './chain.ts'
import { lionChecks, rmsChecks, scaleByLion, scaleByMomentum, scaleByRms, scaleBySumOfSquares, sumChecks, type LionOptions, type MomentumSlots, type RmsOptions, type SquareSlots, type SumOfSquaresOptions, type SumSlots } from './moments.ts'
import type { Transformation } from './optimizer.ts'
import { checkOptions, kept, truth } from './options.ts'
import { common, ending, plainCommon, type Common } from './rate.ts'

export type Sgd = Common & {
  /** 0 unless said: none, and no slot. */
  readonly momentum?: number
  readonly nesterov?: boolean
}
/**
 * b = μb + g; p −= rate · (b + λp), with Nesterov rate · (g + μb + λp). Decay is beside the momentum, where torch's `weight_decay` goes through it.
 * @throws UsageError for options that cannot be
 */
export function sgd(options: Sgd): Transformation<MomentumSlots> {
  checkOptions('sgd', options, { ...common, momentum: kept, nesterov: truth }, ['rate'])
  const { momentum = 0, nesterov = false } = options
  return described({ name: 'sgd', momentum, nesterov, ...plainCommon(options) }, scaleByMomentum({ momentum, nesterov }), ...ending(options))
}

export type Lion = Common & LionOptions
/**
 * p −= rate · (sign(β₁m + (1 − β₁)g) + λp); m = β₂m + (1 − β₂)g (Chen et al. 2023). β (0.9, 0.99), λ 0, as in google/automl; optax's λ is 1e-3.
 * @throws UsageError for options that cannot be
 */
export function lion(options: Lion): Transformation<MomentumSlots> {
  checkOptions('lion', options, { ...common, ...lionChecks }, ['rate'])
  const { rate: _rate, weightDecay: _decay, rateShare: _share, ...own } = options
  const direction = scaleByLion(own)
  return described({ ...direction.description, ...plainCommon(options), name: 'lion' }, direction, ...ending(options))
}

export type RmsProp = Common & RmsOptions & {
  /** Of what is divided by the root, before the rate, as torch has it (optax: after); 0 unless said. */
  readonly momentum?: number
}
/**
 * v = ρv + (1 − ρ)g²; p −= rate · (g / √(v + ε) + λp). ρ 0.9, ε 1e-8 inside the root, as optax's; torch: ρ 0.99, `root: 'outside'`. Not centred.
 * @throws UsageError for options that cannot be
 */
export function rmsprop(options: RmsProp): Transformation<SquareSlots & MomentumSlots> {
  checkOptions('rmsprop', options, { ...common, ...rmsChecks, momentum: kept }, ['rate'])
  const { rate: _rate, weightDecay: _decay, rateShare: _share, momentum = 0, ...own } = options
  const direction = scaleByRms(own)
  return described({ ...direction.description, momentum, ...plainCommon(options), name: 'rmsprop' }, direction, scaleByMomentum({ momentum }), ...ending(options))
}

export type Adagrad = Common & SumOfSquaresOptions
/**
 * s += g²; p −= rate · (g / √(s + ε) + λp) (Duchi et al. 2011). s begins at 0.1, ε 1e-7, as optax's; torch: at 0, 1e-10 outside the root.
 * @throws UsageError for options that cannot be
 */
export function adagrad(options: Adagrad): Transformation<SumSlots> {
  checkOptions('adagrad', options, { ...common, ...sumChecks }, ['rate'])
  const { rate: _rate, weightDecay: _decay, rateShare: _share, ...own } = options
  const direction = scaleBySumOfSquares(own)
  return described({ ...direction.description, ...plainCommon(options), name: 'adagrad' }, direction, ...ending(options))
}
