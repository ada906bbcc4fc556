/** A BERT that finds tokens which were masked (Devlin et al. 2019). */
import { input } from '../graph/input.ts'
import type { Key } from '../graph/random.ts'
import type { Tensor } from '../graph/types.ts'
import { layerNorm } from '../nn/functional.ts'
import { linear } from '../nn/linear.ts'
import { bertCommon, bertDims, bertEncoded, bertInputs, bertParams, scalingOf, weightOf, zerosOf, type Bert, type BertConfig, type BertInputs, type BertParams } from './bert.ts'
import { classOutcome, ignored } from './class-outcome.ts'
import { activations, type Activation } from './activation.ts'
import type { Scaling } from './encoder-blocks.ts'
import { inFull, type Precision } from './model.ts'

type Ids = Tensor<'batch' | 'seq'>
export interface BertMaskedConfig extends BertConfig {
  /** Batches say which tokens are padding. */
  readonly padded: boolean
  /** Batches say which text a token is of. */
  readonly paired: boolean
  /** Windows of several documents: `segments` and `positions`, as a packed GPT has them. */
  readonly packed: boolean
  /** Whether the logits' weights are the tokens' embeddings. */
  readonly tied: boolean
  /** Of the head; that of the layers unless said. */
  readonly headActivation?: Activation | undefined
}
export type BertMaskedParams = BertParams & {
  readonly head: {
    readonly transform: Tensor<'pooled' | 'embed'>
    readonly transformBias: Tensor<'pooled'>
    readonly norm: Scaling<'pooled'>
    readonly bias: Tensor<'vocab'>
    /** Where logits are not tied. */
    readonly out?: Tensor<'vocab' | 'embed'>
  }
}
/** `targets` are the tokens at places to be found, and −100, which does not count, elsewhere. */
export type BertMaskedBatch = BertInputs & { readonly targets: Ids }
export type BertMasked<B extends BertMaskedBatch = BertMaskedBatch> = Bert<BertMaskedParams, B> & {
  /** batch seq vocab. */
  readonly logits: (params: BertMaskedParams, batch: BertInputs, key?: Key) => Tensor<'batch' | 'seq' | 'vocab'>
}

/** A masked language model for batches of `batch` windows. */
export function bertMasked(config: BertMaskedConfig, batch: number, { params: dtype, compute }: Precision = inFull): BertMasked {
  const d = bertDims(config, batch)
  const logits = (p: BertMaskedParams, given: BertInputs, key?: Key): Tensor<'batch' | 'seq' | 'vocab'> => {
    const { head } = p
    const turned = activations[config.headActivation ?? config.activation](linear(bertEncoded(config, d, compute, p, given, key), head.transform, d.embed).add(head.transformBias.cast(compute)))
    const normed = layerNorm(turned, d.pooled, head.norm.gain, head.norm.bias, config.epsilon).rename(d.pooled, d.embed)
    return normed.dot((head.out ?? p.embeddings.tokens).cast(compute), d.embed).add(head.bias.cast(compute))
  }
  return {
    ...bertCommon(d, { 'head.transform': ['embed'] }), ignored, logits,
    params: {
      ...bertParams(d, dtype),
      head: {
        transform: weightOf('transform', [d.pooled, d.embed], dtype), transformBias: zerosOf('transformBias', d.pooled, dtype), norm: scalingOf('head.norm', d.pooled, dtype), bias: zerosOf('head.bias', d.vocab, dtype),
        ...(config.tied ? {} : { out: weightOf('head.out', [d.vocab, d.embed], dtype) }),
      },
    },
    batch: { ...bertInputs(d, { mask: config.padded, types: config.paired, packed: config.packed }), targets: input('targets', [d.batch, d.seq], 'i32') },
    loss: (p, { targets, ...given }, key) => classOutcome(logits(p, given, key), d.vocab, targets, key),
  }
}
