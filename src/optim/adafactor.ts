/** Adafactor (Shazeer and Stern 2018): AdamW's idea in the memory of two vectors a matrix. */
import { described } from './chain.ts'
import { clipByRms } from './clip.ts'
import { factoredChecks, scaleByFactoredRms, scaleByParameterRms, type FactoredOptions, type FactoredSlots } from './factored.ts'
import { scaleByAverage, type AveragedSlots } from './moments.ts'
import type { Transformation } from './optimizer.ts'
import { checkOptions, kept, notNegative, positive, truth } from './options.ts'
import { common, ending, plainCommon, type Common } from './rate.ts'
import type { Rate } from './schedule.ts'
import { product, relativeStep } from './schedules.ts'

export type Adafactor = Omit<Common, 'rate'> & FactoredOptions & {
  /** ρ: the relative step min(0.01, 1 / √t) unless said; a twentieth of it where it is not scaled by the parameter. */
  readonly rate?: Rate
  /** d of u / max(1, rms(u) / d); 1 unless said. */
  readonly clip?: number
  /** Whether the rate is relative to the parameter: times max(ε₂, rms(p)); true unless said. */
  readonly scaleByParameter?: boolean
  /** ε₂; 1e-3 unless said. */
  readonly floor?: number
  /** β₁ of an average of what is subtracted; 0 unless said: none, and no slot. */
  readonly beta1?: number
}

/**
 * u = g / √v, v factored over two dims; u /= max(1, rms(u) / d); p −= ρ · (max(ε₂, rms(p)) · u + λp).
 *
 * The variant is the paper's, as in Mesh-TF: the two largest dims, both at least 128; ε₁ 1e-30 in g²; β₂ₜ = 1 − t^−0.8; ρ = min(0.01, 1 / √t); no decay, β₁ 0. Dims named in `stacked` (`layers`)
 * are never factored, and means are of each layer, so that stacked parameters train as single ones would. With `dims: 'last'` it is torch's, which factors the last two dims of any size (and whose decay is lr · λp
 * with a constant lr). optax's with `multiply_by_parameter_scale` and a rate is this one with that rate; its decay is not multiplied by the rate, ours is.
 * @throws UsageError for options that cannot be
 */
export function adafactor(options: Adafactor = {}): Transformation<FactoredSlots & AveragedSlots> {
  checkOptions('adafactor', options, { ...common, ...factoredChecks, clip: positive, scaleByParameter: truth, floor: notNegative, beta1: kept })
  const { rate: given, weightDecay, rateShare, clip = 1, scaleByParameter = true, floor = 1e-3, beta1 = 0, ...factors } = options
  const { stacked = ['layers'] } = factors
  const rate = given ?? (scaleByParameter ? relativeStep() : product(relativeStep(), 0.05))
  const how: Common = { rate, ...weightDecay === undefined ? {} : { weightDecay }, ...rateShare === undefined ? {} : { rateShare } }
  const direction = scaleByFactoredRms(factors)
  return described(
    { ...direction.description, clip, scaleByParameter, ...(scaleByParameter ? { floor } : {}), beta1, ...plainCommon(how), name: 'adafactor', variant: factors.dims === 'last' ? 'last two dims (torch)' : 'two largest dims (Mesh-TF)' },
    direction, clipByRms(clip, { stacked }), ...(scaleByParameter ? [scaleByParameterRms({ floor, stacked })] as const : [] as const), ...ending(how), scaleByAverage(beta1),
  )
}
