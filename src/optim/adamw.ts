/** AdamW and LAMB, which is AdamW with the trust ratio. */
import { described } from './chain.ts'
import type { Stacked } from './clip.ts'
import { adamChecks, scaleByAdam, type AdamOptions, type AdamSlots } from './moments.ts'
import type { Transformation } from './optimizer.ts'
import { checkOptions, names } from './options.ts'
import { addDecayedWeights, common, ending, plainCommon, scaleByParameter, scaleByRate, type Common } from './rate.ts'
import { scaleByTrustRatio } from './trust-ratio.ts'

export type AdamW = Common & AdamOptions

/**
 * p −= rate · (m̂ / (√v̂ + ε) + λp) (Loshchilov and Hutter 2019, algorithm 2; moments as Kingma and Ba 2015).
 *
 * β (0.9, 0.999), ε 1e-8, λ 0.01 for what was declared to decay. torch: the same, but everything decays, and before the step; optax: λ 1e-4, everything;
 * Keras: ε 1e-7 before the correction, λ 0.004; Mesh-TF: no correction, ε 1e-6, no decay. Without decay it is Adam.
 * @throws UsageError for options that cannot be
 */
export function adamw(options: AdamW): Transformation<AdamSlots> {
  checkOptions('adamw', options, { ...common, ...adamChecks }, ['rate'])
  const { rate, weightDecay = 0.01, rateShare, ...adam } = options
  const how = { rate, weightDecay, ...rateShare === undefined ? {} : { rateShare } }
  const direction = scaleByAdam(adam)
  return described({ ...direction.description, ...plainCommon(how), name: 'adamw' }, direction, ...ending(how))
}

export type Lamb = Common & AdamOptions & Stacked

/**
 * p −= rate · (‖p‖ / ‖r‖, or 1 where either is 0) · r, r = m̂ / (√v̂ + ε) + λp, of whole parameters, each stacked one by itself (You et al. 2020, without bounds φ).
 *
 * β (0.9, 0.999), ε 1e-6, λ 0, as optax's. Keras: ε 1e-7, decay outside r; NVIDIA's also clips the global norm to 1: put `clipByGlobalNorm` before it.
 * @throws UsageError for options that cannot be
 */
export function lamb(options: Lamb): Transformation<AdamSlots> {
  checkOptions('lamb', options, { ...common, ...adamChecks, stacked: names }, ['rate'])
  const { rate, weightDecay = 0, rateShare = () => 1, stacked = ['layers'], ...adam } = options
  const direction = scaleByAdam({ epsilon: 1e-6, ...adam })
  return described({ ...direction.description, ...plainCommon(options), stacked, name: 'lamb' },
    direction, addDecayedWeights(weightDecay), scaleByTrustRatio({ stacked }), scaleByParameter(rateShare), scaleByRate(rate))
}
