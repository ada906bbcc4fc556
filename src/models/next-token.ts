/** What models that tell the next token have in common: what they are given, and their loss. */
import { sizeOf, type Dim } from '../core/dim.ts'
import type { Outcome } from '../graph/outcome.ts'
import { full } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'
import { chunkedEntropy } from '../nn/chunked-entropy.ts'
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
/** The same where tokens see only what is before them, and no window is split: blocks that nothing is seen of are left out, which is the more the smaller they are. */
const [longCausal, manyCausal] = [512, 128]
/** How attention is computed, of a configuration. */
export function blocksOf({ blockwise = 'auto', seq, causal = false }: { readonly blockwise?: number | 'auto' | undefined; readonly seq: number; readonly causal?: boolean }): { readonly block?: number } {
  if (blockwise === 'auto') return seq >= long ? { block: many } : causal && seq >= longCausal ? { block: manyCausal } : {}
  return blockwise === 0 ? {} : { block: blockwise }
}

/** Logits in fewer bytes than this are made at once; of more as many positions at a time as have about so many, and no fewer than `least` tokens: each turn reads and writes a sum as large as the weights, which a turn of 1024 makes 7 % slower. */
const [atOnce, least] = [2 ** 29, 4096]
/** In how many turns a loss is computed: a number that divides the window, 1 where all logits may be whole. */
function chunksOf(targets: Ids, vocab: Dim): number {
  const [tokens, seq] = [sizeOf(targets.shape), targets.shape.find(d => d.name === 'seq')?.size ?? 1]
  const wanted = Math.min(4 * tokens * vocab.size / atOnce, tokens / least)
  return Array.from({ length: 16 }, (_, i) => 2 ** i).filter(n => seq % n === 0 && n <= wanted).at(-1) ?? 1
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

/** What logits are made of: states behind the last norm, and the weights of the vocabulary in the dtype that is computed with. */
export interface Head { readonly states: Tensor<'batch' | 'seq' | 'embed'>; readonly weights: Tensor<'vocab' | 'embed'> }

/**
 * `nextTokenLoss` of the products of states and weights, which in training are never whole where they are large and f32: in halves the gradients would be summed over the turns in fewer bits.
 * Where a `pipeline` has a loss of its own for each microbatch, it makes few logits at a time already.
 */
export function headLoss({ states, weights }: Head, dims: { readonly embed: Dim<'embed'>; readonly vocab: Dim<'vocab'>; readonly seq: Dim<'seq'> }, targets: Ids, how: { readonly masked: boolean; readonly training: boolean; readonly pipeline: boolean }): Outcome {
  const chunks = how.training && !how.pipeline && states.dtype === 'f32' ? chunksOf(targets, dims.vocab) : 1
  if (chunks === 1) return nextTokenLoss(states.dot(weights, dims.embed), dims.vocab, targets, how)
  const { value, weight } = chunkedEntropy(states, weights, targets, { over: dims.embed, classes: dims.vocab, along: dims.seq, chunks, ...(how.masked ? { ignore } : {}) })
  return { loss: value, weight }
}
