/** How evenly experts are used: what a layer tells of it, and what is made of that. Sums, so that layers, microbatches and devices can be joined before anything is divided. */
import type { Dim } from '../../core/dim.ts'
import { DimError } from '../../core/errors.ts'
import { userSite } from '../../core/site.ts'
import { oneHot } from '../../graph/indexing.ts'
import { overWeight } from '../../graph/outcome.ts'
import { loose, tensor, where } from '../../graph/tensor.ts'
import type { AnyTensor, Scalar, Tensor } from '../../graph/types.ts'
import { logsumexp } from '../functional.ts'
import type { Scores } from './routing.ts'

type T = Tensor<string>
/** Of one layer, of all tokens that count, in f32 (of f64 f64); along dims `D`, where it is told of each of their elements apart. */
export type Usage<D extends string = never> = {
  readonly tokens: Tensor<D>
  /** Tokens that chose each expert, with or without a place there; it has no gradient. */
  readonly load: Tensor<D | 'routes'>
  /** The sum of the tokens' scores, made to sum to 1. */
  readonly shares: Tensor<D | 'routes'>
  /** Of each group of tokens its balance loss, times its tokens, summed. */
  readonly grouped: Tensor<D>
  /** Σ (log Σ exp logits)². */
  readonly z: Tensor<D>
  /** Choices that found no place. */
  readonly dropped: Tensor<D>
}

/** `load`: … routes, `counts`: … token, `dropped`: … routes or a number. Summed over all dims but `apart`. */
export function usageOf<D extends string>({ logits, shares }: Scores, load: T, counts: T, token: Dim, routes: Dim, dropped: T, apart: readonly D[]): Usage<D> {
  const those = (x: T): T => loose(where(counts, x, 0))
  const kept: readonly string[] = apart
  const without = (x: AnyTensor, ...own: readonly string[]): T => { const over = x.shape.map(d => d.name).filter(name => !kept.includes(name) && !own.includes(name)); return over.length === 0 ? loose(x) : loose(x).sum(...over) }
  const total = (x: AnyTensor): Tensor<D> => tensor(without(x).node)
  const wide = logits.dtype
  const [share, many] = [loose(those(shares).sum(token.name)), loose(counts.cast(wide).sum(token.name)).stopGradient()]
  const loads = load.cast(wide).stopGradient()
  const over = (x: T): Tensor<D | 'routes'> => tensor(without(x, routes.name).node)
  // Of a group of n tokens: n · E · Σ load / n · share / n.
  const own = loose(loads.mul(share).sum(routes.name)).mul(routes.size).div(many.maximum(1))
  return { tokens: total(many), load: over(loads), shares: over(share), grouped: total(own), z: total(those(loose(logsumexp(logits, routes.name as string)).square())), dropped: total(dropped.cast(wide)).stopGradient() }
}

/** How many of each group's tokens chose an expert: … routes. */
export const loadOf = (experts: T, chosen: Dim, token: Dim, routes: Dim): T => loose(loose(oneHot(experts, routes as Dim<never>, 'i32')).sum(chosen.name, token.name))

/**
 * Experts · Σ (share of the tokens that chose an expert) · (mean of its scores) (Shazeer et al. 2017; Fedus et al. 2021): as many as a token chooses where all are used alike, more
 * where not. Of all tokens together: microbatches and groups have other losses than the whole. `grouped` over `tokens` is the mean of the groups' own, which is the same however a batch is cut between them.
 */
export function balanceLoss({ tokens, load, shares }: Pick<Usage, 'tokens' | 'load' | 'shares'>): Scalar {
  const n = tokens.maximum(1)
  return tensor(loose(loose(load).mul(loose(shares)).sum()).mul(load.shape[0]?.size ?? 1).div(loose(n.square())).node)
}
/** The mean of (log Σ exp logits)² (Zoph et al. 2022): what keeps the router's logits small. */
export const zLoss = ({ tokens, z }: Pick<Usage, 'tokens' | 'z'>): Scalar => overWeight(z, tokens)

/**
 * The biases that follow: `rate` more for experts with fewer tokens than the mean, `rate` less for those with more (Wang et al. 2024; DeepSeek-V3). `load` is of a whole step: that of a
 * microbatch alone has other signs. @throws DimError where rate is no number of at least 0
 */
export function balancedBias<D extends string>(bias: Tensor<D>, load: Tensor<NoInfer<D>>, rate: number): Tensor<D> {
  if (!(rate >= 0 && rate < Infinity)) throw new DimError({ code: 'option', what: `balancedBias: rate is ${rate}`, fix: 'give a small number of at least 0, such as 0.001', at: userSite() })
  const wide = loose(load).cast('f32')
  return tensor(loose(bias).add(loose(wide.mean('routes').sub(wide)).sign().mul(rate).cast(bias.dtype)).stopGradient().node)
}
