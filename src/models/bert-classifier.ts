/** A BERT that tells classes of texts, or of pairs of them (Devlin et al. 2019). */
import type { Dim } from '../core/dim.ts'
import { input } from '../graph/input.ts'
import type { Key } from '../graph/random.ts'
import type { Tensor } from '../graph/types.ts'
import { linear } from '../nn/linear.ts'
import { bertCommon, bertDims, bertEncoded, bertInputs, bertParams, firstOf, pooled, poolerOf, weightOf, zerosOf, type Bert, type BertConfig, type BertDims, type BertInputs, type BertParams, type Pooler } from './bert.ts'
import { classOutcome, ignored } from './class-outcome.ts'
import { dropped } from './encoder-blocks.ts'
import { inFull, type Precision } from './model.ts'

type Ids = Tensor<'batch' | 'seq'>
export interface BertClassifierConfig extends BertConfig {
  readonly classes: number
  readonly paired: boolean
  /** Share zeroed of what the classes are told by. */
  readonly classifierDropout: number
  /** Whether as much is zeroed before the pooler, too, as RoBERTa does. */
  readonly poolerDropout: boolean
}
export type BertClassifierParams = BertParams & { readonly pooler: Pooler; readonly out: Tensor<'classes' | 'pooled'>; readonly outBias: Tensor<'classes'> }
/** `labels` of −100 do not count. */
export type BertClassifierBatch = BertInputs & { readonly mask: Ids; readonly labels: Tensor<'batch'> }
export type BertClassifier = Bert<BertClassifierParams, BertClassifierBatch, BertDims & { readonly classes: Dim<'classes'> }> & {
  /** batch classes. */
  readonly logits: (params: BertClassifierParams, batch: BertInputs, key?: Key) => Tensor<'batch' | 'classes'>
}
/** A classifier of texts, or of pairs of them. */
export function bertClassifier(config: BertClassifierConfig, batch: number, { params: dtype, compute }: Precision = inFull): BertClassifier {
  const d = { ...bertDims(config, batch), classes: { name: 'classes', size: config.classes } } as const
  const logits = (p: BertClassifierParams, given: BertInputs, key?: Key): Tensor<'batch' | 'classes'> => {
    const drop = <D extends string>(x: Tensor<D>, use: number): Tensor<D> => dropped(x, key, use, config.classifierDropout)
    const first = firstOf(bertEncoded(config, d, compute, p, given, key), d)
    return linear(drop(pooled(config.poolerDropout ? drop(first, 2) : first, p.pooler, d), 3), p.out, d.pooled).add(p.outBias.cast(compute))
  }
  return {
    ...bertCommon(d, { 'pooler.weight': ['embed'], out: ['pooled'] }), ignored, logits,
    params: { ...bertParams(d, dtype), pooler: poolerOf(d, dtype), out: weightOf('out', [d.classes, d.pooled], dtype), outBias: zerosOf('outBias', d.classes, dtype) },
    batch: { ...bertInputs(d, { mask: true, types: config.paired }), mask: input('mask', [d.batch, d.seq], 'bool'), labels: input('labels', [d.batch], 'i32') },
    loss: (p, { labels, ...given }, key) => classOutcome(logits(p, given, key), d.classes, labels, key),
  }
}
