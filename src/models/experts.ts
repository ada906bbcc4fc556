/** The part of a decoder's layer that sends tokens to experts (Shazeer et al. 2017; Jiang et al. 2024, DeepSeek-AI 2024). */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { param, type ParamOptions } from '../graph/param.ts'
import { loose, tensor } from '../graph/tensor.ts'
import type { AnyTensor, Scalar, Tensor } from '../graph/types.ts'
import { balancedBias, balanceLoss, moe, zLoss, type Usage } from '../nn/moe/index.ts'
import { quantize, weightIn, type Quantize, type Weight } from '../nn/quantize.ts'
import { linear } from '../nn/linear.ts'
import { activations, type Activation } from './activation.ts'
import type { ExpertsConfig } from './experts-config.ts'
import type { Drawn } from './feed-forward.ts'

export type ExpertDims = { readonly [N in 'embed' | 'experts' | 'routes' | 'expertHidden' | 'sharedHidden']: Dim<N> }
type Own<L extends string> = Tensor<L | 'experts' | 'expertHidden' | 'embed'>
type Shared<L extends string> = Tensor<L | 'sharedHidden' | 'embed'>
type Matrices<T> = { readonly [K in 'gate' | 'up' | 'down']: T }
/** In the order of dims of Hugging Face's files. */
export type Routed<L extends string> = {
  readonly router: Tensor<L | 'routes' | 'embed'>
  /** Frozen: steps move it by what experts were used. */
  readonly routerBias?: Tensor<L | 'routes'>
  readonly experts: Matrices<Own<L>>
  readonly shared?: Matrices<Shared<L>>
  readonly sharedGate?: Tensor<L | 'embed'>
}
export type RoutedWeights<L extends string> = Omit<Routed<L>, 'experts' | 'shared'> & { readonly experts: Matrices<Weight<L | 'experts' | 'expertHidden' | 'embed'>>; readonly shared?: Matrices<Weight<L | 'sharedHidden' | 'embed'>> }

export const expertDims = (c: ExpertsConfig | undefined): { readonly [N in 'experts' | 'routes' | 'expertHidden' | 'sharedHidden']?: number } =>
  (c === undefined ? {} : { experts: c.count, routes: c.count, expertHidden: c.hidden, ...(c.shared === 0 ? {} : { sharedHidden: c.shared }) })

export function routedParameters(c: ExpertsConfig, layers: Dim<'layers'>, { embed, experts, routes, expertHidden, sharedHidden }: ExpertDims, { weight, branch }: Drawn): Routed<'layers'> {
  const bias: ParamOptions = { init: 0, dtype: 'f32', frozen: true }
  return {
    router: param('router', [layers, routes, embed], weight), ...(c.biasRate === undefined ? {} : { routerBias: param('routerBias', [layers, routes], bias) }),
    experts: { gate: param('experts.gate', [layers, experts, expertHidden, embed], weight), up: param('experts.up', [layers, experts, expertHidden, embed], weight), down: param('experts.down', [layers, experts, embed, expertHidden], branch) },
    ...(c.shared === 0 ? {} : { shared: { gate: param('shared.gate', [layers, sharedHidden, embed], weight), up: param('shared.up', [layers, sharedHidden, embed], weight), down: param('shared.down', [layers, embed, sharedHidden], branch) } }),
    ...(c.sharedGate ? { sharedGate: param('sharedGate', [layers, embed], weight) } : {}),
  }
}
export const routedQuantized = ({ experts, shared, ...others }: Routed<'layers'>, d: ExpertDims, how: Quantize): RoutedWeights<'layers'> => ({
  ...others, experts: { gate: quantize(experts.gate, d.embed, how), up: quantize(experts.up, d.embed, how), down: quantize(experts.down, d.expertHidden, how) },
  ...(shared === undefined ? {} : { shared: { gate: quantize(shared.gate, d.embed, how), up: quantize(shared.up, d.embed, how), down: quantize(shared.down, d.sharedHidden, how) } }),
})

export interface Routing { readonly config: ExpertsConfig; readonly d: ExpertDims; readonly activation: Activation; readonly compute: DType; /** Whether nothing may be dropped, whatever the configuration says. */ readonly writing: boolean; /** Dims along which usage is told apart. */ readonly apart: readonly string[] }
/** What experts add to the stream, and how they were used. */
export function routed(x: Tensor<string>, w: RoutedWeights<never>, { config: c, d, activation, compute, writing, apart }: Routing): { readonly value: Tensor<string>; readonly usage: Usage<string> } {
  const act = activations[activation] as (x: Tensor<string>) => Tensor<string>
  const tokens = x.shape.find(e => e.name === 'seq') as Dim
  const { experts, router, routerBias, shared, sharedGate } = w
  const { value, usage } = moe(x, { router, ...(routerBias === undefined ? {} : { bias: routerBias }), experts }, { ...d, tokens }, {
    router: { chosen: c.chosen, scores: c.scores, renormalised: c.renormalised, scale: c.scale, ...(c.within === undefined ? {} : { within: c.within }) },
    capacity: writing || c.capacity === undefined ? 'dropless' : { factor: c.capacity }, groups: writing ? 1 : c.groups, activation: act, apart,
  })
  if (shared === undefined) return { value, usage }
  const product = (y: Tensor<string>, weight: Weight<'sharedHidden' | 'embed'>, over: string): Tensor<string> => loose(linear(y, weight as unknown as Weight<string>, over))
  const all = product(act(product(x, shared.gate, d.embed.name)).mul(product(x, shared.up, d.embed.name)), shared.down, d.sharedHidden.name)
  const open = sharedGate === undefined ? all : all.mul(loose(x.dot(loose(weightIn<'embed', 'embed'>(sharedGate, d.embed, compute)), d.embed.name)).sigmoid())
  return { value: value.add(open), usage }
}

/** The usage of all layers, as a loop stacks it. */
export type UsageOfLayers = { readonly [K in keyof Usage]: Tensor<string> }
/** What is added to the loss, and what an evaluation tells. */
export function balance(c: Pick<ExpertsConfig, 'count' | 'chosen' | 'balance' | 'balanceOver' | 'zLoss'>, all: UsageOfLayers): { readonly loss: Scalar; readonly metrics: { readonly [name: string]: { readonly value: Scalar; readonly weight: Scalar } } } {
  const scalar = (x: AnyTensor): Scalar => tensor(x.node)
  const sum = (x: Tensor<string>, ...over: readonly string[]): Tensor<string> => loose(x.sum(...over))
  const { name: over, size: layers }: Dim = all.tokens.shape[0] ?? { name: 'layers', size: 1 }
  const tokens = scalar(sum(all.tokens))
  const kinds: { readonly [K in ExpertsConfig['balanceOver']]: () => Scalar } = {
    batch: () => scalar(sum(sum(all.load.mul(all.shares), 'routes').div(all.tokens.maximum(1).square())).mul(c.count / layers)),
    layers: () => balanceLoss({ tokens, load: tensor(sum(all.load, over).node), shares: tensor(sum(all.shares, over).node) }),
    groups: () => scalar(sum(all.grouped).div(sum(all.tokens).maximum(1))),
  }
  const [balanced, z] = [kinds[c.balanceOver](), zLoss({ tokens, z: scalar(sum(all.z)) })]
  const mean = scalar(sum(all.load, 'routes').div(c.count).maximum(1))
  return {
    loss: balanced.mul(c.balance).add(z.mul(c.zLoss)),
    metrics: {
      balance: { value: balanced, weight: tokens }, dropped: { value: scalar(sum(all.dropped).div(sum(all.tokens).mul(c.chosen).maximum(1))), weight: tokens },
      // How many times its even share the busiest expert has.
      busiest: { value: scalar(loose(loose(all.load.max('routes')).div(loose(mean)).mean())), weight: tokens },
    },
  }
}
/** The biases that follow a step, of the biases and of what experts were used in it: layers routes. */
export const biasAfter = (c: ExpertsConfig, bias: AnyTensor, load: AnyTensor): AnyTensor => balancedBias(loose(bias), loose(load), c.biasRate ?? 0)
