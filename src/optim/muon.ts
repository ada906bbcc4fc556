/** Muon for hidden matrices, with AdamW for all else. */
import { adamw, type AdamW } from './adamw.ts'
import { grouped } from './by-parameter.ts'
import { described } from './chain.ts'
import type { AdamSlots, MomentumSlots } from './moments.ts'
import type { Transformation } from './optimizer.ts'
import { checkOptions, given } from './options.ts'
import { orthogonalChecks, scaleByOrthogonal, type OrthogonalOptions } from './orthogonal.ts'
import { chosen, which, type Which } from './parameters.ts'
import { common, ending, plainCommon, type Common } from './rate.ts'

export type MuonMatrices = Common & OrthogonalOptions

/** Muon's step alone, for parameters that are matrices: what `muon` has for those it chooses. @throws UsageError for options that cannot be */
export function muonForMatrices(options: MuonMatrices): Transformation<MomentumSlots> {
  checkOptions('muonForMatrices', options, { ...common, ...orthogonalChecks }, ['rate'])
  const { rate: _rate, weightDecay: _decay, rateShare: _share, ...own } = options
  const direction = scaleByOrthogonal(own)
  return described({ ...direction.description, ...plainCommon(options), name: 'muonForMatrices' }, direction, ...ending(options))
}

export type Muon = MuonMatrices & {
  /** The hidden weights. Embeddings, heads, gains and biases are not among them: they go to AdamW. */
  readonly matrices: Which
  /** AdamW's options for all others. */
  readonly adamw: AdamW
}

/**
 * m = βm + (1 − β)g; n = (1 − β)g + βm; X = n orthogonalized by 5 iterations; p −= rate · (√max(1, outputs / inputs) · X + λp), for the chosen matrices; AdamW for the rest.
 *
 * The variant is Keller Jordan's (2024), but iterated in f32 (his file: bf16), each stacked matrix by itself, and with inputs and outputs of a matrix of several dims multiplied where his takes
 * the ratio of the last two dims of a kernel. β 0.95, λ 0; his rate is 0.02. torch: rate 1e-3, λ 0.1; optax corrects the momentum's bias, which is another optimizer, as are nanochat's
 * (Polar Express, NorMuon) and Levanter's (m = βm + g).
 * @throws UsageError for options that cannot be; DimError where a chosen parameter is no matrix
 */
export function muon(options: Muon): Transformation<{ readonly muon: MomentumSlots; readonly adamw: AdamSlots }> {
  checkOptions('muon', options, { ...common, ...orthogonalChecks, matrices: which, adamw: given }, ['rate', 'matrices', 'adamw'])
  const { matrices, adamw: rest, ...own } = options
  return grouped('muon', parameters => {
    const hidden = chosen('muon: matrices', matrices, parameters)
    return new Map([['muon', hidden], ['adamw', new Set(parameters.filter(p => !hidden.has(p.path)).map(p => p.path))]])
  }, { muon: muonForMatrices(own), adamw: adamw(rest) })
}
