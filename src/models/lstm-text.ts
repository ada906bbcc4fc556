/** A language model of stacked LSTMs (Zaremba et al. 2014), with residuals between them and one table for embedding and head. */
import { z } from 'zod'
import { dims, type Dim } from '../core/dim.ts'
import { input } from '../graph/input.ts'
import type { Outcome } from '../graph/outcome.ts'
import { initialisers, param } from '../graph/param.ts'
import { dropout, fold, type Key } from '../graph/random.ts'
import { scan } from '../graph/scan.ts'
import { iota } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'
import { crossEntropy, weightedMean } from '../nn/functional.ts'
import { lstm } from '../nn/lstm.ts'
import { configurable, type Configurable } from './configurable.ts'
import { inFull, type Model, type Precision } from './model.ts'

export interface LstmConfig {
  readonly vocab: number
  /** Tokens in a window. */
  readonly seq: number
  readonly layers: number
  /** Of the embedding, and of each layer's state. */
  readonly embed: number
  /** Share of what goes from layer to layer zeroed in training. */
  readonly dropout: number
}
type LstmInput = Omit<LstmConfig, 'dropout'> & { readonly dropout?: number | undefined }
const count = z.int().min(1).max(2 ** 31 - 1)
export const lstmSchema: z.ZodType<LstmConfig, LstmInput> = z.strictObject({ vocab: count, seq: count, layers: count, embed: count, dropout: z.number().min(0).max(0.9).default(0) })

type Dims = { readonly [N in 'batch' | 'seq' | 'vocab' | 'embed' | 'hidden' | 'past' | 'gates' | 'layers']: Dim<N> }
type Ids = Tensor<'batch' | 'seq'>
type Stream = Tensor<'batch' | 'seq' | 'embed'>
/** Layers are stacked along `layers`. */
export type LstmParams = {
  readonly tokens: Tensor<'vocab' | 'embed'>
  readonly layers: { readonly input: Tensor<'layers' | 'embed' | 'gates' | 'hidden'>; readonly past: Tensor<'layers' | 'past' | 'gates' | 'hidden'>; readonly bias: Tensor<'layers' | 'gates' | 'hidden'> }
  readonly bias: Tensor<'vocab'>
}
/** Targets of −100 do not count. */
export type LstmBatch = { readonly tokens: Ids; readonly targets: Ids }
export type LstmText = Model<LstmParams, LstmBatch, keyof Dims> & {
  readonly dims: Dims
  /** batch seq vocab. */
  readonly logits: (params: LstmParams, batch: Pick<LstmBatch, 'tokens'>, key?: Key) => Tensor<'batch' | 'seq' | 'vocab'>
}

/** A language model for batches of `batch` windows, split over the batch, the vocabulary, or `hidden`: then each device has a part of every gate. */
export function lstmText(config: LstmConfig, batch: number, { params: dtype, compute }: Precision = inFull): LstmText {
  const { embed } = config
  const d: Dims = dims({ batch, seq: config.seq, vocab: config.vocab, embed, hidden: embed, past: embed, gates: 4, layers: config.layers })
  const weight = { dtype, init: initialisers.uniform(-1 / Math.sqrt(embed), 1 / Math.sqrt(embed)), decays: true }
  const params: LstmParams = {
    tokens: param('tokens', [d.vocab, d.embed], { ...weight, init: initialisers.normal(0.05) }),
    layers: {
      input: param('input', [d.layers, d.embed, d.gates, d.hidden], weight), past: param('past', [d.layers, d.past, d.gates, d.hidden], weight),
      bias: param('bias', [d.layers, d.gates, d.hidden], { dtype, init: 0 }),
    },
    bias: param('outBias', [d.vocab], { dtype, init: 0 }),
  }
  const logits = (p: LstmParams, { tokens }: Pick<LstmBatch, 'tokens'>, key?: Key): Tensor<'batch' | 'seq' | 'vocab'> => {
    const drop = (x: Stream, use: Tensor<never> | number): Stream => (key === undefined || config.dropout === 0 ? x : dropout(fold(key, use), x, config.dropout))
    const first = drop(p.tokens.take(d.vocab, tokens).cast(compute), config.layers)
    const [last] = scan(d.layers, first, { w: p.layers, index: iota(d.layers) }, (x, { w, index }) => {
      const own = { input: w.input.cast(compute), past: w.past.cast(compute), bias: w.bias.cast(compute) }
      const { output } = lstm(x, d.seq, own, { inputs: d.embed, hidden: d.hidden, past: d.past, gates: d.gates })
      return [x.add(drop(output.rename(d.hidden, d.embed), index)), {}] as const
    })
    return last.dot(p.tokens.cast(compute), d.embed).add(p.bias.cast(compute))
  }
  return {
    dims: d, params, itemsPerBatch: batch, ignored: -100, tokensPerBatch: batch * config.seq, logits,
    batch: { tokens: input('tokens', [d.batch, d.seq], 'i32'), targets: input('targets', [d.batch, d.seq], 'i32') },
    loss: (p, { tokens, targets }, key): Outcome => {
      const { value: loss, weight } = weightedMean(crossEntropy(logits(p, { tokens }, key), d.vocab, targets, { ignore: -100 }), targets.notEqual(-100))
      return { loss, weight }
    },
  }
}

/** The model as a recipe names it. */
export const lstmModel: Configurable<LstmConfig, LstmInput, LstmText> =
  configurable({ name: 'lstm', schema: lstmSchema, build: (config, { batch, precision }): LstmText => lstmText(config, batch, precision) })
