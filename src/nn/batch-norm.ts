/** Batch normalisation (Ioffe and Szegedy 2015): by a batch's statistics in training, by running ones else. */
import type { DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { dimIn, floats } from '../graph/infer/checks.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { expectDims, loose, tensor } from '../graph/tensor.ts'
import type { Tensor, Unsettled } from '../graph/types.ts'

/** Running means and variances, of each element of a dim: f32, of f64 f64. */
export type BatchStatistics<R extends string> = { readonly mean: Tensor<R>; readonly variance: Tensor<R> }
export interface BatchNorm {
  /** Whether the batch's own statistics count. */
  readonly training: boolean
  /** How far the running statistics go towards the batch's; 0.1 unless said, PyTorch's. */
  readonly momentum?: number
  /** 1e-5 unless said. */
  readonly epsilon?: number
}

/**
 * (x − mean) / √(variance + ε) for each element of a dim, times a gain, plus a bias, with means over all other dims; in f32 where x is a half. In training the statistics are
 * those of x, on a mesh of all devices' parts together, and the running ones that follow are given as `statistics`: their variance is the unbiased one, as PyTorch's. Running statistics have no gradient.
 * @throws DimError when a dim is missing, or an option is none
 */
export function batchNorm<D extends string, R extends D | Unsettled<D>>(
  x: Tensor<D>, over: DimLike<R>, { gain, bias, mean, variance }: BatchStatistics<NoInfer<R>> & { readonly gain: Tensor<NoInfer<R>>; readonly bias: Tensor<NoInfer<R>> }, { training, momentum = 0.1, epsilon = 1e-5 }: BatchNorm,
): { readonly value: Tensor<D>; readonly statistics?: BatchStatistics<R> } {
  const along = dimIn(x.shape, over, 'batchNorm', userSite)
  floats('batchNorm', x.dtype, x.shape, userSite)
  for (const t of [gain, bias, mean, variance]) expectDims(t, [along])
  const wrong = (what: string, fix: string): DimError => new DimError({ code: 'option', what: `batchNorm: ${what}`, fix, at: userSite() })
  if (!(momentum >= 0 && momentum <= 1)) throw wrong(`momentum is ${momentum}`, 'give a share from 0 to 1')
  if (!(epsilon >= 0 && epsilon < Infinity)) throw wrong(`epsilon is ${epsilon}`, 'give a small number of at least 0')
  const wide = loose(x).cast(sumsIn(x.dtype))
  const others = x.shape.filter(d => d.name !== along.name)
  const means = (y: Tensor<string>): Tensor<string> => (others.length === 0 ? y : tensor(y.mean(...others.map(d => d.name)).node))
  const center = training ? means(wide) : loose(mean).stopGradient().cast(wide.dtype)
  const centered = wide.sub(center)
  const spread = training ? means(centered.square()) : loose(variance).stopGradient().cast(wide.dtype)
  const value = centered.mul(spread.add(epsilon).rsqrt()).mul(loose(gain).cast(wide.dtype)).add(loose(bias).cast(wide.dtype)).cast(x.dtype)
  if (!training) return { value: tensor(value.node) }
  const items = others.reduce((n, d) => n * d.size, 1)
  const moved = (running: Tensor<R>, now: Tensor<string>): Tensor<R> => tensor(loose(running).mul(1 - momentum).add(now.stopGradient().cast(running.dtype).mul(momentum)).node)
  // Of one item the unbiased variance is no number: then the biased one, 0, counts.
  return { value: tensor(value.node), statistics: { mean: moved(mean, center), variance: moved(variance, spread.mul(items > 1 ? items / (items - 1) : 1)) } }
}
