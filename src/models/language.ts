/** What generates text: a model that goes on behind what it has computed before, whole or in few bits. */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import type { LayoutNames } from '../core/layout.ts'
import type { AnyTensor, Tensor, Tree } from '../graph/types.ts'
import type { CacheSize, Fed, KeyValues } from '../nn/cache.ts'
import type { Quantize } from '../nn/quantize.ts'

/** What a step of generation returns: the states of its tokens, replica request seq embed, and the cache with their keys and values in it. */
export interface Extended { readonly states: Tensor<'replica' | 'request' | 'seq' | 'embed'>; readonly cache: KeyValues }

export interface LanguageModel {
  readonly params: Tree
  readonly dims: { readonly [name: string]: Dim }
  readonly layouts?: LayoutNames
  /** How many tokens a token sees at most, itself among them, where that is less than there may be, in every layer. */
  readonly window?: number
  readonly batch: { readonly tokens: Tensor<'batch' | 'seq'> }
  /** A cache for it, as a program's argument. */
  cache(size: CacheSize, dtype: DType): KeyValues
  /** Computes tokens whose texts' earlier ones lie in the cache. */
  extend(params: Tree, cache: KeyValues, fed: Fed, size: CacheSize): Extended
  /** The logits that follow states. */
  head(params: Tree, states: AnyTensor): Tensor<string>
  /** What is contracted, in few bits. */
  quantized(params: Tree, how: Quantize): Tree
}
/** Whether a model writes text. */
export const isLanguageModel = (model: unknown): model is LanguageModel =>
  typeof model === 'object' && model !== null && 'extend' in model && 'quantized' in model && 'tokens' in ((model as { readonly batch?: { readonly [name: string]: AnyTensor } }).batch ?? {})
