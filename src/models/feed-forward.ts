/** The part of a layer that sees each token by itself: gated units (Shazeer 2020). Another, of experts, has the same two functions. */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { param, type ParamOptions } from '../graph/param.ts'
import type { Tensor } from '../graph/types.ts'
import { linear } from '../nn/linear.ts'
import { quantize, type Quantize, type Weight } from '../nn/quantize.ts'
import { activations, type Activation } from './activation.ts'

type FeedDims = { readonly [N in 'layers' | 'embed' | 'hidden']: Dim<N> }
type In<L extends string> = Tensor<L | 'hidden' | 'embed'>
/** down(activation(gate x) · up x), in the order of dims of Hugging Face's files. */
export type Gated<L extends string> = {
  readonly gate: In<L>
  readonly up: In<L>
  readonly down: In<L>
  readonly gateBias?: Tensor<L | 'hidden'>
  readonly upBias?: Tensor<L | 'hidden'>
  readonly downBias?: Tensor<L | 'embed'>
}
export type GatedWeights<L extends string> = Omit<Gated<L>, 'gate' | 'up' | 'down'> & { readonly [K in 'gate' | 'up' | 'down']: Weight<L | 'hidden' | 'embed'> }

export interface Drawn { readonly weight: ParamOptions; readonly branch: ParamOptions; readonly bias: ParamOptions }
export const gatedParameters = ({ layers, embed, hidden }: FeedDims, { weight, branch, bias }: Drawn, biases: boolean): Gated<'layers'> => ({
  gate: param('gate', [layers, hidden, embed], weight), up: param('up', [layers, hidden, embed], weight), down: param('down', [layers, embed, hidden], branch),
  ...(biases ? { gateBias: param('gateBias', [layers, hidden], bias), upBias: param('upBias', [layers, hidden], bias), downBias: param('downBias', [layers, embed], bias) } : {}),
})

/** What it adds to the stream. Its bias is apart: in a sum of several devices' parts it is added once. */
export function gated(x: Tensor<'batch' | 'seq' | 'embed'>, w: GatedWeights<never>, { embed, hidden }: FeedDims, activation: Activation, compute: DType): Tensor<'batch' | 'seq' | 'embed'> {
  const inner = (weight: Weight<'hidden' | 'embed'>, bias: Tensor<'hidden'> | undefined): Tensor<'batch' | 'seq' | 'hidden'> => {
    const y = linear(x, weight, embed)
    return bias === undefined ? y : y.add(bias.cast(compute))
  }
  return linear(activations[activation](inner(w.gate, w.gateBias)).mul(inner(w.up, w.upBias)), w.down, hidden)
}
export const gatedQuantized = ({ gate, up, down, ...others }: Gated<'layers'>, { embed, hidden }: FeedDims, how: Quantize): GatedWeights<'layers'> =>
  ({ ...others, gate: quantize(gate, embed, how), up: quantize(up, embed, how), down: quantize(down, hidden, how) })
