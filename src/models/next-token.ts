/** What models that tell the next token have in common: what they are given, and their loss. */
import { sizeOf, type Dim } from '../core/dim.ts'
import type { Outcome } from '../graph/outcome.ts'
import { full } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'
import { crossEntropy, weightedMean } from '../nn/functional.ts'

export type Ids = Tensor<'batch' | 'seq'>

/** A target that does not count. */
export const ignore = -100

/** `targets` of −100 do not count, where the configuration says so. */
export type GptBatch = { readonly tokens: Ids; readonly targets: Ids }
export type Extras = {
  /** Of each token the document in its window: any numbers, equal within a document. Tokens that fill up a window are a document, too. */
  readonly segments: Ids
  /** Of each token its place in its document, from 0. */
  readonly positions: Ids
  /** Bools: tokens that all of their document see. */
  readonly prefix: Ids
}
type Extra<C> = (C extends { readonly packed: true } ? 'segments' | 'positions' : never) | (C extends { readonly attention: 'prefix' } ? 'prefix' : never)
/** What a model of a configuration takes. */
export type GptBatchOf<C> = GptBatch & Pick<Extras, Extra<C>>
export type Inputs = { readonly tokens: Ids } & Partial<Extras>

/** From how long windows on attention is computed in blocks where nothing else is said, and of how many positions. */
const [long, many] = [1024, 256]
/** How attention is computed, of a configuration. */
export function blocksOf({ blockwise = 'auto', seq }: { readonly blockwise?: number | 'auto' | undefined; readonly seq: number }): { readonly block?: number } {
  if (blockwise === 'auto') return seq >= long ? { block: many } : {}
  return blockwise === 0 ? {} : { block: blockwise }
}

/** The mean of the losses of targets, of those that count where some do not; when not training with the accuracy, how many of them are the likeliest token. */
export function nextTokenLoss(logits: Tensor<'batch' | 'seq' | 'vocab'>, vocab: Dim<'vocab'>, targets: Ids, { masked, training }: { readonly masked: boolean; readonly training: boolean }): Outcome {
  const losses = crossEntropy(logits, vocab, targets, masked ? { ignore } : {})
  const counts = targets.notEqual(ignore)
  const { value, weight } = masked ? weightedMean(losses, counts) : { value: losses.mean(), weight: full(sizeOf(targets.shape), []) }
  if (training) return { loss: value, weight }
  const right = logits.argmax(vocab).equal(targets).cast('f32')
  return { loss: value, weight, metrics: { accuracy: masked ? weightedMean(right, counts) : { value: right.mean() } } }
}
