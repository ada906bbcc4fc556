/** The loss of models that tell the next token, of states and the weights that make logits of them: logits that are large are never whole. */
import { sizeOf, type Dim } from '../core/dim.ts'
import type { Outcome } from '../graph/outcome.ts'
import type { Tensor } from '../graph/types.ts'
import { chunkedEntropy } from '../nn/chunked-entropy.ts'
import { ignore, nextTokenLoss, type Ids } from './next-token.ts'

/** Logits in fewer bytes than this are made at once; of more as many positions at a time as have about so many, and no fewer than `least` tokens: each turn reads and writes a sum as large as the weights, which a turn of 1024 makes 7 % slower. */
const [atOnce, least] = [2 ** 29, 4096]
/**
 * In how many turns a loss is computed: a number that divides the window, 1 where all logits may be whole; 16 at most. So many tokens that they would take more lie on many devices, each of which has its own in
 * every turn, and few of them.
 */
function chunksOf(targets: Ids, vocab: Dim): number {
  const [tokens, seq] = [sizeOf(targets.shape), targets.shape.find(d => d.name === 'seq')?.size ?? 1]
  const wanted = Math.min(4 * tokens * vocab.size / atOnce, tokens / least)
  return Array.from({ length: 5 }, (_, i) => 2 ** i).filter(n => seq % n === 0 && n <= wanted).at(-1) ?? 1
}

type States = Tensor<'batch' | 'seq' | 'embed'>
/** How logits are made: of states behind the last norm, and of the weights of the vocabulary in the dtype that is computed with; and what makes them of states at once. */
export interface Head { readonly states: States; readonly weights: () => Tensor<'vocab' | 'embed'>; readonly logits: (states: States) => Tensor<'batch' | 'seq' | 'vocab'> }

/**
 * `nextTokenLoss` of the products of states and weights, which in training are never whole where they are large and f32: in halves the gradients would be summed over the turns in fewer bits.
 * Where a `pipeline` has a loss of its own for each microbatch, it makes few logits at a time already.
 */
export function headLoss({ states, weights, logits }: Head, dims: { readonly embed: Dim<'embed'>; readonly vocab: Dim<'vocab'>; readonly seq: Dim<'seq'> }, targets: Ids, how: { readonly masked: boolean; readonly training: boolean; readonly pipeline: boolean }): Outcome {
  const chunks = how.training && !how.pipeline && states.dtype === 'f32' ? chunksOf(targets, dims.vocab) : 1
  if (chunks === 1) return nextTokenLoss(logits(states), dims.vocab, targets, how)
  const { value, weight } = chunkedEntropy(states, weights(), targets, { over: dims.embed, classes: dims.vocab, along: dims.seq, chunks, ...(how.masked ? { ignore } : {}) })
  return { loss: value, weight }
}
