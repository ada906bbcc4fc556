/** What generates text: a model that gives the next token's logits, whole or in few bits. */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import type { LayoutNames } from '../core/layout.ts'
import type { AnyTensor, Scalar, Tensor, Tree } from '../graph/types.ts'
import type { CacheSize, Fed, KeyValues } from '../nn/cache.ts'
import type { Quantize } from '../nn/quantize.ts'

/** What a step of generation returns: the states of its tokens, replica request seq embed, and the cache with their keys and values in it. */
export interface Extended { readonly states: Tensor<'replica' | 'request' | 'seq' | 'embed'>; readonly cache: KeyValues }

export interface LanguageModel {
  readonly params: Tree
  readonly dims: { readonly [name: string]: Dim }
  readonly layouts?: LayoutNames
  readonly batch: { readonly tokens: Tensor<'batch' | 'seq'> }
  /** The logits after the token at `position` (i32): batch vocab. */
  next(params: Tree, tokens: Tensor<'batch' | 'seq'>, position: Scalar): Tensor<'batch' | 'vocab'>
  /** A cache for it, as a program's argument. */
  cache(size: CacheSize, dtype: DType): KeyValues
  /** Computes tokens whose texts' earlier ones lie in the cache. */
  extend(params: Tree, cache: KeyValues, fed: Fed, size: CacheSize): Extended
  /** The logits that follow states. */
  head(params: Tree, states: AnyTensor): Tensor<string>
  /** What is contracted, in few bits. */
  quantized(params: Tree, how: Quantize): Tree
}
/** Whether a model can be asked for the next token. */
export const isLanguageModel = (model: unknown): model is LanguageModel =>
  typeof model === 'object' && model !== null && 'next' in model && 'quantized' in model && 'tokens' in ((model as { readonly batch?: { readonly [name: string]: AnyTensor } }).batch ?? {})
