/** What generates text: models that go on behind what they have computed before, whole or in few bits; some read a source first, by an encoder. */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import type { LayoutNames } from '../core/layout.ts'
import type { AnyTensor, Tensor, Tree } from '../graph/types.ts'
import type { CacheSize, Fed, KeyValues, Sources } from '../nn/cache.ts'
import type { Quantize } from '../nn/quantize.ts'

/** What a step of generation returns: the states of its tokens, replica request seq embed, and the cache with their keys and values in it. */
export interface Extended { readonly states: Tensor<'replica' | 'request' | 'seq' | 'embed'>; readonly cache: KeyValues }

/** The part of a model that reads what is asked, whole, before anything is written. */
export interface Encoder {
  /** The token that what is written begins with, and the one that fills up a source and is not seen. */
  readonly start: number
  readonly padding: number
  /** Tokens of a source at most, and of what is written, its first one among them. */
  readonly source: number
  readonly target: number
  /** Layers of the decoder: of each of them keys and values are kept. */
  readonly layers: number
  /** Reads sources: the cache with the keys and values that the decoder's layers see of them. */
  read(params: Tree, cache: KeyValues, sources: Sources, size: CacheSize): KeyValues
}

export interface WritingModel {
  readonly params: Tree
  readonly dims: { readonly [name: string]: Dim }
  readonly layouts?: LayoutNames
  /** How many tokens a token sees at most, itself among them, where that is less than there may be, in every layer. */
  readonly window?: number
  /** Of an encoder–decoder model; others go on with what is asked. */
  readonly encoder?: Encoder
  /** A cache for it, as a program's argument. */
  cache(size: CacheSize, dtype: DType): KeyValues
  /** Computes tokens whose texts' earlier ones lie in the cache, and what an encoder has read for them. */
  extend(params: Tree, cache: KeyValues, fed: Fed, size: CacheSize): Extended
  /** The logits that follow states. */
  head(params: Tree, states: AnyTensor): Tensor<string>
  /** What is contracted, in few bits. */
  quantized(params: Tree, how: Quantize): Tree
}
/** One that goes on with a text: a decoder. */
export interface LanguageModel extends WritingModel { readonly batch: { readonly tokens: Tensor<'batch' | 'seq'> } }

const writes = (model: unknown): model is WritingModel => typeof model === 'object' && model !== null && 'extend' in model && 'quantized' in model
/** Whether a model goes on with text. */
export const isLanguageModel = (model: unknown): model is LanguageModel => writes(model) && 'tokens' in ((model as unknown as { readonly batch?: { readonly [name: string]: AnyTensor } }).batch ?? {})
/** Whether a model writes text, be it behind what it is given, or as an answer to what its encoder has read. */
export const isWritingModel = (model: unknown): model is WritingModel => isLanguageModel(model) || (writes(model) && model.encoder !== undefined)
