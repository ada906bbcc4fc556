/** Directions from averages of gradients and of their squares, number by number. In all, t = step + 1 and g is what comes in. */
import { onCallersLine } from '../core/site.ts'
import { full, loose, where } from '../graph/tensor.ts'
import type { Scalar, Tensor } from '../graph/types.ts'
import { transformation, type Transformation } from './optimizer.ts'
import { checkOptions, checkValue, kept, notNegative, oneOf, truth, type Check } from './options.ts'
import { at, mapPaths, type ByPath } from './parameters.ts'
import { like } from './slots.ts'

/** β m + (1 − β) x, where a β that f32 cannot tell from its neighbours still gives the average its own length. */
export const average = (beta: number, m: Tensor<string>, x: Tensor<string>): Tensor<string> => m.add(loose(x.sub(loose(m))).mul(1 - beta))
/** 1 − βᵗ, which loses no digits where β is next to 1; log1p because 1 − β is exact there. */
const correction = (beta: number, step: Scalar): Scalar => step.add(1).mul(Math.log1p(beta - 1)).expm1().neg()

export interface AdamOptions {
  /** Of the average of gradients; 0.9 unless said. */
  readonly beta1?: number
  /** Of the average of their squares; 0.999 unless said. (Megatron, Levanter and nanochat use 0.95.) */
  readonly beta2?: number
  /** Added to √v̂, after the correction; 1e-8 unless said. (Keras' 1e-7 is added before it, which is 32 times as much at the first step.) */
  readonly epsilon?: number
}
export const adamChecks: { readonly [K in keyof AdamOptions]-?: Check } = { beta1: kept, beta2: kept, epsilon: notNegative }
export type AdamSlots = { readonly first: ByPath; readonly second: ByPath }

/** m̂ / (√v̂ + ε), m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ) (Kingma and Ba 2015). @throws UsageError for options that cannot be */
export function scaleByAdam(options: AdamOptions = {}): Transformation<AdamSlots> {
  checkOptions('scaleByAdam', options, adamChecks)
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 } = options
  return transformation<AdamSlots>({
    description: { name: 'scaleByAdam', beta1, beta2, epsilon },
    declare: parameters => ({ first: like(parameters), second: like(parameters) }),
    apply: (updates, slots, { step, dtype }) => onCallersLine(() => {
      const first = mapPaths(updates, (g, path) => average(beta1, at(slots.first, path), g))
      const second = mapPaths(updates, (g, path) => average(beta2, at(slots.second, path), g.square()))
      const [c1, c2] = [correction(beta1, step).cast(dtype), correction(beta2, step).cast(dtype)]
      return { updates: mapPaths(first, (m, path) => m.div(c1).div(at(second, path).div(c2).sqrt().add(epsilon))), slots: { first, second } }
    }),
  })
}

export interface MomentumOptions {
  /** μ: how much of the last update is in the next; 0 keeps nothing, and no slot. */
  readonly momentum: number
  /** g + μb in place of b (Nesterov 1983, as Sutskever et al. 2013 have it); false unless said. */
  readonly nesterov?: boolean
}
export type MomentumSlots = { readonly momentum: ByPath }

/** b = μb + g (Polyak 1964). The rate is outside, as in torch and optax; Keras and Mesh-TF have it inside, which differs as soon as it changes. @throws UsageError for options that cannot be */
export function scaleByMomentum(options: MomentumOptions): Transformation<MomentumSlots> {
  checkOptions('scaleByMomentum', options, { momentum: kept, nesterov: truth }, ['momentum'])
  const { momentum, nesterov = false } = options
  return transformation<MomentumSlots>({
    description: { name: 'scaleByMomentum', momentum, nesterov },
    declare: parameters => ({ momentum: momentum === 0 ? {} : like(parameters) }),
    apply: (updates, slots) => {
      if (momentum === 0) return { updates, slots }
      const moving = mapPaths(updates, (g, path) => g.add(at(slots.momentum, path).mul(momentum)))
      return { updates: nesterov ? mapPaths(updates, (g, path) => g.add(at(moving, path).mul(momentum))) : moving, slots: { momentum: moving } }
    },
  })
}

export type AveragedSlots = { readonly first: ByPath }

/** m = βm + (1 − β)u, from 0 and without a correction. Of β 0: u itself, and no slot. @throws UsageError where β is none */
export function scaleByAverage(beta: number): Transformation<AveragedSlots> {
  checkValue('scaleByAverage: beta', beta, kept)
  return transformation<AveragedSlots>({
    description: { name: 'scaleByAverage', beta },
    declare: parameters => ({ first: beta === 0 ? {} : like(parameters) }),
    apply: (updates, slots) => {
      if (beta === 0) return { updates, slots }
      const first = mapPaths(updates, (u, path) => average(beta, at(slots.first, path), u))
      return { updates: first, slots: { first } }
    },
  })
}

export interface LionOptions {
  /** Of what the sign is taken of; 0.9 unless said. */
  readonly beta1?: number
  /** Of what is kept; 0.99 unless said. */
  readonly beta2?: number
}
export const lionChecks: { readonly [K in keyof LionOptions]-?: Check } = { beta1: kept, beta2: kept }

/** sign(β₁ m + (1 − β₁) g), and then m = β₂ m + (1 − β₂) g (Chen et al. 2023). @throws UsageError for options that cannot be */
export function scaleByLion(options: LionOptions = {}): Transformation<MomentumSlots> {
  checkOptions('scaleByLion', options, lionChecks)
  const { beta1 = 0.9, beta2 = 0.99 } = options
  return transformation<MomentumSlots>({
    description: { name: 'scaleByLion', beta1, beta2 },
    declare: parameters => ({ momentum: like(parameters) }),
    apply: (updates, slots) => ({
      updates: mapPaths(updates, (g, path) => average(beta1, at(slots.momentum, path), g).sign()),
      slots: { momentum: mapPaths(updates, (g, path) => average(beta2, at(slots.momentum, path), g)) },
    }),
  })
}

export interface RmsOptions {
  /** ρ of the average of squares; 0.9 unless said, as optax's. (torch's α is 0.99.) */
  readonly decay?: number
  /** 1e-8 unless said. */
  readonly epsilon?: number
  /** Where ε is added: `inside` the root unless said, as optax does; `outside` it as torch does. */
  readonly root?: 'inside' | 'outside'
}
export const rmsChecks: { readonly [K in keyof RmsOptions]-?: Check } = { decay: kept, epsilon: notNegative, root: oneOf('inside', 'outside') }
export type SquareSlots = { readonly second: ByPath }

/** g / √(v + ε), v = ρv + (1 − ρ)g² from 0, without a correction (Tieleman and Hinton 2012). @throws UsageError for options that cannot be */
export function scaleByRms(options: RmsOptions = {}): Transformation<SquareSlots> {
  checkOptions('scaleByRms', options, rmsChecks)
  const { decay = 0.9, epsilon = 1e-8, root = 'inside' } = options
  return transformation<SquareSlots>({
    description: { name: 'scaleByRms', decay, epsilon, root },
    declare: parameters => ({ second: like(parameters) }),
    apply: (updates, slots) => {
      const second = mapPaths(updates, (g, path) => average(decay, at(slots.second, path), g.square()))
      return { updates: mapPaths(updates, (g, path) => overRoot(g, at(second, path), epsilon, root)), slots: { second } }
    },
  })
}

/** g over the root of v; 0 where v is, as nothing has ever come there. */
function overRoot(g: Tensor<string>, v: Tensor<string>, epsilon: number, root: 'inside' | 'outside'): Tensor<string> {
  const safe = epsilon > 0 ? v : loose(where(v.greater(0), v, loose(full(1, v.shape, v.dtype))))
  return g.div(root === 'inside' ? safe.add(epsilon).sqrt() : safe.sqrt().add(epsilon))
}

export interface SumOfSquaresOptions {
  /** What the sum is at first; 0.1 unless said, as in optax and Keras. (torch's is 0.) */
  readonly initial?: number
  /** Inside the root; 1e-7 unless said, as optax's. (torch's is 1e-10, outside.) */
  readonly epsilon?: number
}
export const sumChecks: { readonly [K in keyof SumOfSquaresOptions]-?: Check } = { initial: notNegative, epsilon: notNegative }
export type SumSlots = { readonly sum: ByPath }

/** g / √(s + ε), s += g² (Duchi et al. 2011). @throws UsageError for options that cannot be */
export function scaleBySumOfSquares(options: SumOfSquaresOptions = {}): Transformation<SumSlots> {
  checkOptions('scaleBySumOfSquares', options, sumChecks)
  const { initial = 0.1, epsilon = 1e-7 } = options
  return transformation<SumSlots>({
    description: { name: 'scaleBySumOfSquares', initial, epsilon },
    declare: parameters => ({ sum: like(parameters, initial) }),
    apply: (updates, slots) => {
      const sum = mapPaths(updates, (g, path) => at(slots.sum, path).add(g.square()))
      return { updates: mapPaths(updates, (g, path) => overRoot(g, at(sum, path), epsilon, 'inside')), slots: { sum } }
    },
  })
}
