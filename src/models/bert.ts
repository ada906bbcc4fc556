/** BERT's encoder (Devlin et al. 2019), and RoBERTa's (Liu et al. 2019), which differ in how positions count: what masked language models, classifiers and sentence embeddings stand on. */
import { dims, type Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { cumsum } from '../graph/cumulative.ts'
import { input } from '../graph/input.ts'
import { initialisers, param } from '../graph/param.ts'
import { index, slice } from '../graph/rearrange.ts'
import { fold, type Key } from '../graph/random.ts'
import type { Tensor } from '../graph/types.ts'
import { linear } from '../nn/linear.ts'
import type { Activation } from './activation.ts'
import { dropped, encoded, blocksLinear, encoderBlocks, encoderLayouts, norm, type BlockDims, type EncoderBlocks, type Scaling, type Stream } from './encoder-blocks.ts'
import type { Model } from './model.ts'

/** What there is to set of the encoder. */
export interface BertConfig {
  readonly vocab: number
  /** Tokens in a window. */
  readonly seq: number
  readonly layers: number
  readonly embed: number
  /** They divide `embed`. */
  readonly heads: number
  readonly hidden: number
  /** Rows of the table of positions. */
  readonly positions: number
  /** Which of so many texts, such as two sentences, a token is of. */
  readonly types: number
  readonly activation: Activation
  /** Of layer norms. */
  readonly epsilon: number
  /** Share of activations zeroed in training. */
  readonly dropout: number
  /** Share zeroed in training of what attention takes. */
  readonly attentionDropout: number
  /** RoBERTa's padding token: positions count the tokens that are none, from the one behind its id on. Positions are places, from 0 on, where there is none. */
  readonly padding?: number | undefined
}

type Ids = Tensor<'batch' | 'seq'>
export type BertDims = BlockDims & { readonly [N in 'vocab' | 'positions' | 'types' | 'pooled']: Dim<N> }
export const bertDims = (c: BertConfig, batch: number): BertDims => dims({
  batch, seq: c.seq, kvSeq: c.seq, vocab: c.vocab, positions: c.positions, types: c.types, embed: c.embed, pooled: c.embed, heads: c.heads, headDim: c.embed / c.heads, hidden: c.hidden, layers: c.layers,
})

export type BertParams = {
  readonly embeddings: { readonly tokens: Tensor<'vocab' | 'embed'>; readonly positions: Tensor<'positions' | 'embed'>; readonly types: Tensor<'types' | 'embed'>; readonly norm: Scaling }
  readonly blocks: EncoderBlocks
}
/** BERT's deviation of first weights. */
const std = 0.02
export const bertParams = (d: BertDims, dtype: DType): BertParams => ({
  embeddings: {
    tokens: weightOf('tokens', [d.vocab, d.embed], dtype), positions: weightOf('positions', [d.positions, d.embed], dtype), types: weightOf('types', [d.types, d.embed], dtype),
    norm: scalingOf('norm', d.embed, dtype),
  },
  blocks: encoderBlocks(d, dtype, std),
})
export const weightOf = <A extends string, B extends string>(name: string, [a, b]: readonly [Dim<A>, Dim<B>], dtype: DType): Tensor<A | B> =>
  param<readonly [Dim<A>, Dim<B>]>(name, [a, b] as never, { dtype, init: initialisers.normal(std), decays: true })
export const zerosOf = <A extends string>(name: string, a: Dim<A>, dtype: DType): Tensor<A> => param<readonly [Dim<A>]>(name, [a] as never, { dtype, init: 0 })
export const scalingOf = <A extends string>(name: string, a: Dim<A>, dtype: DType): Scaling<A> => ({ gain: param<readonly [Dim<A>]>(`${name}.gain`, [a] as never, { dtype, init: 1 }), bias: zerosOf(`${name}.bias`, a, dtype) })

/** What the encoder reads. */
export type BertInputs = {
  readonly tokens: Ids
  /** Bools: whether a token is one, and not padding. What is padding changes no bit of the others' results. */
  readonly mask?: Ids
  /** Which text a token is of, from 0; 0 unless given. */
  readonly types?: Ids
  /** Of windows of several documents the document of each token, any number, and its place there from 0. Documents do not see each other. */
  readonly segments?: Ids
  readonly positions?: Ids
}
/** Which of them a batch has. */
export interface BertReads { readonly mask?: boolean; readonly types?: boolean; readonly packed?: boolean }
export const bertInputs = (d: BertDims, { mask = false, types = false, packed = false }: BertReads): BertInputs => {
  const ids = (name: string, dtype: 'i32' | 'bool' = 'i32'): Ids => input(name, [d.batch, d.seq], dtype)
  return { tokens: ids('tokens'), ...(mask ? { mask: ids('mask', 'bool') } : {}), ...(types ? { types: ids('types') } : {}), ...(packed ? { segments: ids('segments'), positions: ids('positions') } : {}) }
}

/** Tokens' embeddings with those of their places in the table of positions. */
function placed(d: BertDims, p: BertParams, { tokens, positions }: BertInputs, padding: number | undefined): Stream {
  const { tokens: rows, positions: table } = p.embeddings
  const found = rows.take(d.vocab, tokens)
  if (positions !== undefined) {
    const places: Ids = positions.add(padding === undefined ? 0 : padding + 1)
    return found.add(table.take(d.positions, places))
  }
  if (padding === undefined) return found.add(slice(table, d.positions, { end: d.seq.size, as: 'seq' }))
  const counted = tokens.notEqual(padding).cast('i32')
  return found.add(table.take(d.positions, cumsum(counted, d.seq).mul(counted).add(padding)))
}

/** What the encoder makes of a window's tokens; with a key, as in training, dropout and all. */
export function bertEncoded(config: BertConfig, d: BertDims, compute: DType, p: BertParams, given: BertInputs, key?: Key): Stream {
  const { types, segments, mask } = given
  const { embeddings: e, blocks } = p
  const found = placed(d, p, given, config.padding)
  const typed: Stream = types === undefined ? found.add(index(e.types, d.types, 0)) : found.add(e.types.take(d.types, types))
  const first = dropped(norm(typed.cast(compute), d.embed, e.norm, config.epsilon), key, 0, config.dropout)
  const options = { norms: 'after', activation: config.activation, epsilon: config.epsilon, compute, dropout: config.dropout, attentionDropout: config.attentionDropout, ...(mask === undefined ? {} : { keep: mask }), ...(segments === undefined ? {} : { segments }) } as const
  return encoded(first, blocks, d, key === undefined ? undefined : fold(key, 1), options)
}

type Ours<D> = { readonly dims: D; readonly linear: { readonly [path: string]: readonly string[] }; readonly layouts: typeof encoderLayouts; readonly tokensPerBatch: number }
/** A model on top of the encoder. */
export type Bert<P extends BertParams, B extends BertInputs, D extends BertDims = BertDims> = Omit<Model<P, B, string & keyof D, typeof encoderLayouts>, keyof Ours<D>> & Ours<D>
export const bertCommon = <D extends BertDims>(d: D, linear: { readonly [path: string]: readonly string[] } = {}): Ours<D> & { readonly itemsPerBatch: number } => ({ dims: d, linear: { ...blocksLinear, ...linear }, layouts: encoderLayouts, itemsPerBatch: d.batch.size, tokensPerBatch: d.batch.size * d.seq.size })

/** What the first token says of its text, through a layer of its own. */
export type Pooler = { readonly weight: Tensor<'pooled' | 'embed'>; readonly bias: Tensor<'pooled'> }
export const poolerOf = (d: BertDims, dtype: DType): Pooler => ({ weight: weightOf('pooler.weight', [d.pooled, d.embed], dtype), bias: zerosOf('pooler.bias', d.pooled, dtype) })
export const firstOf = (x: Stream, d: BertDims): Tensor<'batch' | 'embed'> => index(x, d.seq, 0)
export const pooled = (x: Tensor<'batch' | 'embed'>, { weight, bias }: Pooler, d: BertDims): Tensor<'batch' | 'pooled'> => linear(x, weight, d.embed).add(bias.cast(x.dtype)).tanh()
