/** A BERT that embeds sentences (Reimers and Gurevych 2019): texts that say the same get vectors that lie near each other. */
import type { Dim } from '../core/dim.ts'
import { input } from '../graph/input.ts'
import { fold, type Key } from '../graph/random.ts'
import { iota, where } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'
import { bertCommon, bertDims, bertEncoded, bertInputs, bertParams, firstOf, pooled, poolerOf, type Bert, type BertConfig, type BertDims, type BertInputs, type BertParams, type Pooler } from './bert.ts'
import { classOutcome } from './class-outcome.ts'
import { inFull, type Precision } from './model.ts'

type Ids = Tensor<'batch' | 'seq'>
export interface BertEmbedderConfig extends BertConfig {
  /** What a text's vector is: the mean or the largest of its tokens', the first token's, or that through the pooler. */
  readonly pooling: 'mean' | 'max' | 'cls' | 'pooler'
  /** Whether vectors have length 1. */
  readonly normalised: boolean
  /** Whether there is a pooler, used or not: BERT's files have one. */
  readonly pooler: boolean
  /** What cosines are multiplied by in training. */
  readonly scale: number
}
export type BertEmbedderParams = BertParams & { readonly pooler?: Pooler }
/** Each text's vector, made 1 long. */
export const unitLength = (x: Tensor<'batch' | 'embed'>): Tensor<'batch' | 'embed'> => x.mul(x.square().sum('embed').maximum(1e-24).rsqrt())

/** Texts, and for each of them another that says the same. */
export type BertEmbedderBatch = BertInputs & { readonly mask: Ids; readonly others: Ids; readonly othersMask: Ids }
export type BertEmbedder = Bert<BertEmbedderParams, BertEmbedderBatch, BertDims & { readonly candidates: Dim<'candidates'> }> & {
  /** A vector for each text: batch embed. */
  readonly vectors: (params: BertEmbedderParams, texts: BertInputs & { readonly mask: Ids }, key?: Key) => Tensor<'batch' | 'embed'>
}

/**
 * Sentence embeddings (Reimers and Gurevych 2019). In training each text's vector is to be nearest to that of its other, among all others of the
 * batch (Henderson et al. 2017, multiple negatives ranking): of a microbatch where the batch is cut into them.
 */
export function bertEmbedder(config: BertEmbedderConfig, batch: number, { params: dtype, compute }: Precision = inFull): BertEmbedder {
  const d = { ...bertDims(config, batch), candidates: { name: 'candidates', size: batch } } as const
  const vectors: BertEmbedder['vectors'] = (p, given, key) => {
    const x = bertEncoded(config, d, compute, p, given, key).cast('f32')
    const { mask } = given
    const pool: { readonly [K in BertEmbedderConfig['pooling']]: () => Tensor<'batch' | 'embed'> } = {
      mean: () => where(mask, x, 0).sum(d.seq).div(mask.cast('f32').sum(d.seq).maximum(1e-9)),
      max: () => where(mask, x, -1e9).max(d.seq),
      cls: () => firstOf(x, d),
      pooler: () => (p.pooler === undefined ? firstOf(x, d) : pooled(firstOf(x, d), p.pooler, d).rename(d.pooled, d.embed)),
    }
    const vector = pool[config.pooling]()
    return config.normalised ? unitLength(vector) : vector
  }
  return {
    ...bertCommon(d, config.pooling === 'pooler' ? { 'pooler.weight': ['embed'] } : {}), vectors,
    params: { ...bertParams(d, dtype), ...(config.pooler ? { pooler: poolerOf(d, dtype) } : {}) },
    batch: { ...bertInputs(d, { mask: true }), mask: input('mask', [d.batch, d.seq], 'bool'), others: input('others', [d.batch, d.seq], 'i32'), othersMask: input('othersMask', [d.batch, d.seq], 'bool') },
    loss: (p, { others, othersMask, ...given }, key) => {
      // Of a microbatch where the batch is cut into them.
      const [texts] = given.tokens.shape.filter(e => e.name === 'batch') as [Dim<'batch'>]
      const candidates: Dim<'candidates'> = { name: 'candidates', size: texts.size }
      const side = (of: BertInputs & { readonly mask: Ids }, use: number): Tensor<'batch' | 'embed'> => unitLength(vectors(p, of, key === undefined ? undefined : fold(key, use)))
      const scores = side(given, 0).dot(side({ tokens: others, mask: othersMask }, 1).rename(texts, candidates), d.embed).mul(config.scale)
      return classOutcome(scores, candidates, iota(texts), key)
    },
  }
}
