/** The dims and parameters of a GPT. */
import { dims, type Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { initialisers, param } from '../graph/param.ts'
import type { Tensor } from '../graph/types.ts'
import type { Weight } from '../nn/quantize.ts'
import type { GptConfig } from './gpt-config.ts'
import { layersIn, stackedInit, stageDims } from './pipelined.ts'

export type GptDims = { readonly [N in 'batch' | 'seq' | 'kvSeq' | 'vocab' | 'embed' | 'heads' | 'headDim' | 'hidden' | 'layers']: Dim<N> } & { readonly stage?: Dim<'stage'> }
/** The dims of a GPT, for layouts and for reading its tensors; `stage` where it has a pipeline, of which `layers` are the places. */
export const gptDims = (c: GptConfig, batch: number): GptDims => ({
  ...dims({ batch, seq: c.seq, kvSeq: c.seq, vocab: c.vocab, embed: c.embed, heads: c.heads, headDim: c.headDim, hidden: c.hidden, layers: layersIn(c) }), ...stageDims(c),
})

type Scaling = { readonly gain: Tensor<'embed'>; readonly bias: Tensor<'embed'> }
type LayerScaling = { readonly gain: Tensor<'layers' | 'embed'>; readonly bias: Tensor<'layers' | 'embed'> }
type Projection = Tensor<'layers' | 'embed' | 'heads' | 'headDim'>
/** Every parameter, layers stacked along `layers`. */
export type GptParams = {
  readonly tokens: Tensor<'vocab' | 'embed'>
  readonly positions: Tensor<'seq' | 'embed'>
  readonly blocks: {
    readonly norm1: LayerScaling
    readonly query: Projection
    readonly key: Projection
    readonly value: Projection
    readonly out: Projection
    readonly norm2: LayerScaling
    readonly up: Tensor<'layers' | 'embed' | 'hidden'>
    readonly upBias: Tensor<'layers' | 'hidden'>
    readonly down: Tensor<'layers' | 'embed' | 'hidden'>
    readonly downBias: Tensor<'layers' | 'embed'>
    readonly queryBias?: Tensor<'layers' | 'heads' | 'headDim'>
    readonly keyBias?: Tensor<'layers' | 'heads' | 'headDim'>
    readonly valueBias?: Tensor<'layers' | 'heads' | 'headDim'>
    readonly outBias?: Tensor<'layers' | 'embed'>
  }
  readonly norm: Scaling
}
export function gptParameters({ vocab, seq, embed, heads, headDim, hidden, layers }: GptDims, config: GptConfig, dtype: DType): GptParams {
  const { biases, places } = config
  const [whole, one, bias] = [{ dtype, init: initialisers.normal(0.02), decays: true }, { dtype, init: 1 }, { dtype, init: 0 }]
  const [weight, gain] = [stackedInit(config)(whole), stackedInit(config)(one)]
  // Residual branches start smaller, so that the stream's variance does not grow with depth.
  const branch = stackedInit(config)({ ...whole, init: initialisers.normal(0.02 / Math.sqrt(2 * config.layers)) })
  return {
    tokens: param('tokens', [vocab, embed], whole),
    positions: param('positions', [{ ...seq, size: places ?? seq.size }, embed], whole),
    blocks: {
      norm1: { gain: param('norm1.gain', [layers, embed], gain), bias: param('norm1.bias', [layers, embed], bias) },
      query: param('query', [layers, embed, heads, headDim], weight),
      key: param('key', [layers, embed, heads, headDim], weight),
      value: param('value', [layers, embed, heads, headDim], weight),
      out: param('out', [layers, heads, headDim, embed], branch),
      norm2: { gain: param('norm2.gain', [layers, embed], gain), bias: param('norm2.bias', [layers, embed], bias) },
      up: param('up', [layers, embed, hidden], weight),
      upBias: param('upBias', [layers, hidden], bias),
      down: param('down', [layers, hidden, embed], branch),
      downBias: param('downBias', [layers, embed], bias),
      ...(biases === 'all' ? {
        queryBias: param('queryBias', [layers, heads, headDim], bias), keyBias: param('keyBias', [layers, heads, headDim], bias), valueBias: param('valueBias', [layers, heads, headDim], bias), outBias: param('outBias', [layers, embed], bias),
      } : {}),
    },
    norm: { gain: param('norm.gain', [embed], one), bias: param('norm.bias', [embed], bias) },
  }
}
type Contracted = 'query' | 'key' | 'value' | 'out' | 'up' | 'down'
/** The parameters, what is contracted whole or quantized: enough to infer with. */
export type GptWeights = Omit<GptParams, 'tokens' | 'blocks'> & {
  readonly tokens: Weight<'vocab' | 'embed'>
  readonly blocks: Omit<GptParams['blocks'], Contracted> & { readonly [K in Contracted]: GptParams['blocks'][K] extends Tensor<infer D> ? Weight<D> : never }
}

export type Biases = { readonly queryBias?: Tensor<'heads' | 'headDim'>; readonly keyBias?: Tensor<'heads' | 'headDim'>; readonly valueBias?: Tensor<'heads' | 'headDim'>; readonly outBias?: Tensor<'embed'> }
export const biasesOf = ({ queryBias, keyBias, valueBias, outBias }: Biases, compute: DType): Biases => (queryBias === undefined || keyBias === undefined || valueBias === undefined || outBias === undefined ? {}
  : { queryBias: queryBias.cast(compute), keyBias: keyBias.cast(compute), valueBias: valueBias.cast(compute), outBias: outBias.cast(compute) })
