/** What there is to set of a GPT. */
import type { Context } from '../nn/context.ts'
import type { PipelineConfig } from './pipelined.ts'

export interface GptConfig {
  readonly vocab: number
  /** Tokens in a window. */
  readonly seq: number
  readonly layers: number
  readonly embed: number
  readonly heads: number
  readonly headDim: number
  readonly hidden: number
  /** Share of activations zeroed in training. */
  readonly dropout: number
  /** Share zeroed in training of what attention takes of values, 0 unless said: then the scores of a window are held whole, as `blockwise` does not. */
  readonly attentionDropout?: number | undefined
  /**
   * What a token sees: those before it (`causal`, the default); the marked `prefix` of its sequence besides; or all, as to find tokens that
   * were masked (`bidirectional`; Devlin et al. 2019).
   */
  readonly attention?: 'causal' | 'prefix' | 'bidirectional' | undefined
  /** Windows of several documents: `segments` says whose a token is, `positions` where in it. Documents do not see each other. */
  readonly packed?: boolean | undefined
  /** How many positions attention computes with at a time (`attention`'s `block`): 0 for all at once, `auto`, the default, for a number by the length of windows. */
  readonly blockwise?: number | 'auto' | undefined
  /**
   * How windows that a layout splits along `seq` are attended to (`attention`'s `context`): ring, zigzag, gather, of as many `blocks` as devices share a window or a multiple, or ulysses,
   * which a recipe has split heads instead: `layouts: { attention: { seq: [], heads: AXIS } }`.
   */
  readonly context?: Context | undefined
  /** Which projections have biases: those of the feed-forward part, or those of attention besides, as GPT-2 has it. `mlp` unless said. */
  readonly biases?: 'mlp' | 'all' | undefined
  /** How many positions there are in the table that is learned, where windows are shorter; `seq` unless said. */
  readonly places?: number | undefined
  /** Layers in stages, and batches in microbatches that go through them. */
  readonly pipeline?: PipelineConfig | undefined
  /** Whether targets of −100 do not count. They never count where documents are packed, or where attention is not causal. */
  readonly masked?: boolean | undefined
}
