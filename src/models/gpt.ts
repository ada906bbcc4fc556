/** A decoder-only Transformer as GPT-2 has it: pre-norm, learned positions, tied embedding (Radford et al. 2019). */
import type { DType } from '../core/dtype.ts'
import { input } from '../graph/input.ts'
import { dropout, fold, type Key } from '../graph/random.ts'
import type { Outcome } from '../graph/outcome.ts'
import { slice } from '../graph/rearrange.ts'
import { loose } from '../graph/tensor.ts'
import type { AnyTensor, Tensor, Without } from '../graph/types.ts'
import { attend, selfAttention, type AttentionWeights, type ProjectionWeights, type ScoreOptions } from '../nn/attention.ts'
import { cacheInputs, reading, type CacheSize, type Fed, type KeyValues } from '../nn/cache.ts'
import { gelu } from '../nn/activations.ts'
import { layerNorm } from '../nn/functional.ts'
import { linear } from '../nn/linear.ts'
import { quantize, rowsOf, weightIn, type Quantize, type Weight } from '../nn/quantize.ts'
import type { GptConfig } from './gpt-config.ts'
import { biasesOf, gptDims, gptParameters, type GptDims, type GptParams, type GptWeights } from './gpt-params.ts'
import { headLoss } from './head-loss.ts'
import { allLayouts, decoderLayouts, orderOf, type DecoderLayouts } from './in-context.ts'
import type { Extended } from './language.ts'
import { inFull, type Model, type Precision } from './model.ts'
import { layersOf, toldOf } from './pipelined.ts'
import { blocksOf, ignore, type Extras, type GptBatch, type GptBatchOf, type Ids, type Inputs } from './next-token.ts'
export type { GptBatch, GptBatchOf } from './next-token.ts'

type Stream = Tensor<'batch' | 'seq' | 'embed'>
type Stacked = { readonly block: GptWeights['blocks']; readonly index: Tensor<'layers'> }

/**
 * The layouts that a GPT names: `residual` is that of the stream between the layers, and of what is done to it there: norms, dropout, sums. With `seq` on the axis that heads and `hidden` lie on, it is
 * Megatron's sequence parallelism (Korthikanti et al. 2022). `attention` is that of sequences while they are attended to, where the configuration has a `context`.
 */
export const gptLayouts: DecoderLayouts = allLayouts

export type Gpt<B extends GptBatch = GptBatch> = Omit<Model<GptParams, B, keyof GptDims, DecoderLayouts>, 'loss' | 'logits'> & {
  readonly dims: GptDims
  readonly layouts: DecoderLayouts
  readonly tokensPerBatch: number
  /** batch seq vocab. */
  readonly logits: (params: GptWeights, batch: Omit<B, 'targets'>) => Tensor<'batch' | 'seq' | 'vocab'>
  /** What logits are made of, behind the last norm: batch seq embed. */
  readonly states: (params: GptWeights, batch: Omit<B, 'targets'>) => Tensor<'batch' | 'seq' | 'embed'>
  readonly cache: (size: CacheSize, dtype: DType) => KeyValues
  readonly extend: (params: GptWeights, cache: KeyValues, fed: Fed, size: CacheSize) => Extended
  readonly head: (params: GptWeights, states: AnyTensor) => Tensor<string>
  readonly loss: (params: GptWeights, batch: B, key?: Key) => Outcome
  /** What is contracted, in few bits: along the dim that is. Norms, biases and positions stay. */
  readonly quantized: (params: GptParams, how: Quantize) => GptWeights
}

/**
 * A GPT for batches of `batch` windows. Its weights rest in `precision.params` and meet activations in `precision.compute`; norms,
 * scores' softmax, sums and the loss of half-precision activations are f32.
 */
export function gpt<const C extends GptConfig>(config: C, batch: number, { params: rest, compute }: Precision = inFull): Gpt<GptBatchOf<C>> {
  const { attention = 'causal', packed = false, attentionDropout = 0 }: GptConfig = config
  const layouts = decoderLayouts(config.context)
  const masked = config.masked === true || packed || attention !== 'causal'
  const d = gptDims(config, batch)
  const params = gptParameters(d, config, rest)
  const layers = layersOf(config, d.layers)

  const residual = (x: Stream): Stream => x.relayout('residual', layouts.residual)
  const norm = (x: Stream, { gain, bias }: GptWeights['norm']): Stream => layerNorm(residual(x), d.embed, gain, bias).relayout('compute')
  const drop = (x: Stream, k: Key | undefined, use: number): Stream => (k === undefined ? x : dropout(fold(k, use), x, config.dropout))
  const entering = (p: GptWeights, { tokens, positions }: Inputs, key: Key | undefined): Stream => {
    const found = residual(weightIn(rowsOf(p.tokens, d.vocab, tokens), d.embed, rest))
    return drop((positions === undefined ? found.add(slice(p.positions, d.seq, { end: d.seq.size })) : found.add(residual(p.positions.take(d.seq, positions)))).cast(compute), key, 0)
  }
  const stackedOf = (p: GptWeights): Stacked => ({ block: p.blocks, index: layers.index })
  const layer = (x: Stream, { block, index }: Without<Stacked, 'layers'>, key: Key | undefined, attended: (x: Stream, w: AttentionWeights, scoring: ScoreOptions) => Stream): Stream => {
    const own = key === undefined ? undefined : fold(key, index)
    const weights = {
      query: block.query, key: block.key, value: block.value, out: block.out,
      ...biasesOf(block, compute),
    }
    const found = attended(norm(x, block.norm1), weights as AttentionWeights, { dropout: own === undefined || attentionDropout === 0 ? undefined : { key: fold(own, 3), rate: attentionDropout } })
    const y = x.add(drop(residual(found), own, 1))
    const up = linear(norm(y, block.norm2), block.up, d.embed).add(block.upBias.cast(compute))
    return y.add(drop(residual(linear(gelu(up), block.down, d.hidden)).add(block.downBias.cast(compute)), own, 2))
  }
  const order = orderOf(config.context, d.seq)
  /** Of inputs in the order that the model computes in. */
  const inWindow = ({ segments, prefix }: Inputs, key: Key | undefined) => {
    const seen = { ...blocksOf(config), ...(config.context === undefined ? {} : { context: config.context }), causal: attention !== 'bidirectional', ...(prefix === undefined ? {} : { prefix }), ...(segments === undefined ? {} : { segments }) }
    return (x: Stream, now: Without<Stacked, 'layers'>): Stream => layer(x, now, key, (x, w, scoring) => selfAttention(x, w, d, { ...seen, ...scoring }))
  }
  const hidden = (p: GptWeights, unordered: Inputs): Stream => {
    const given = order.inputs(unordered)
    return norm(layers.through(entering(p, given, undefined), stackedOf(p), inWindow(given, undefined)), p.norm)
  }
  const logitsOf = (p: GptWeights, x: Stream): Tensor<'batch' | 'seq' | 'vocab'> => x.dot(weightIn(p.tokens, d.embed, compute), d.embed)
  const loss = (p: GptWeights, { targets, ...unordered }: GptBatch & Inputs, key?: Key): Outcome => {
    const given = order.inputs(unordered)
    const drawn = config.dropout > 0 || attentionDropout > 0 ? key : undefined
    return layers.loss(() => entering(p, given, drawn), stackedOf(p), inWindow(given, drawn), { targets: order.targets(targets) }, (x, { targets }) =>
      headLoss({ states: norm(x, p.norm), weights: () => weightIn(p.tokens, d.embed, compute), logits: x => logitsOf(p, x) }, d, targets, { masked, training: key !== undefined, pipeline: config.pipeline !== undefined }))
  }
  const ids = (name: string, dtype: 'i32' | 'bool' = 'i32'): Ids => input(name, [d.batch, d.seq], dtype)
  const made: Gpt<GptBatch & Partial<Extras>> = {
    dims: d as Required<GptDims>,
    layouts,
    params,
    batch: {
      tokens: ids('tokens'), targets: ids('targets'),
      ...(packed ? { segments: ids('segments'), positions: ids('positions') } : {}), ...(attention === 'prefix' ? { prefix: ids('prefix', 'bool') } : {}),
    },
    ...(masked ? { ignored: ignore } : {}),
    linear: { 'blocks.query': ['embed'], 'blocks.key': ['embed'], 'blocks.value': ['embed'], 'blocks.out': ['heads', 'headDim'], 'blocks.up': ['embed'], 'blocks.down': ['hidden'] },
    itemsPerBatch: batch,
    ...toldOf(config),
    tokensPerBatch: batch * config.seq,
    logits: (p, given) => order.back(logitsOf(p, hidden(p, given))),
    states: (p, given) => order.back(hidden(p, given)),
    cache: (size, dtype) => cacheInputs(size, [d.heads, d.headDim], dtype),
    extend: (p, cache, fed, size) => {
      const read = reading(size, fed, d.kvSeq.name)
      const { x, carried } = layers.walk({ x: entering(p, fed as unknown as Inputs, undefined), carried: cache }, stackedOf(p), ({ x, carried: before }, now) => {
        let after = before
        const next = layer(x, now, undefined, (x, w) => attend(x, x, w as unknown as ProjectionWeights, d, { visible: read.visible(undefined) }, (ks, vs) => { const found = read.through(now.index, before, ks, vs); after = found.cache; return found }))
        return { x: next, carried: after }
      })
      return { states: norm(x, p.norm), cache: carried } as unknown as Extended
    },
    head: (p, states) => loose(states).dot(weightIn<string, string>(p.tokens as Weight<string>, d.embed, compute), d.embed.name),
    loss,
    quantized: ({ tokens, blocks, ...others }, how) => ({
      ...others, tokens: quantize(tokens, d.embed, how),
      blocks: {
        ...blocks, query: quantize(blocks.query, d.embed, how), key: quantize(blocks.key, d.embed, how), value: quantize(blocks.value, d.embed, how), out: quantize(blocks.out, d.headDim, how),
        up: quantize(blocks.up, d.embed, how), down: quantize(blocks.down, d.hidden, how),
      },
    }),
  }
  // Which of the extras there are is what the configuration's type says.
  return made as unknown as Gpt<GptBatchOf<C>>
}
