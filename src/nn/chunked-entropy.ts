/**
 * Cross-entropy of logits that are never whole: a loop over some of the positions at a time makes their logits, their losses and at once what the gradient will need of them, the slopes
 * of states and weights. So each logit is made once, is read while it is near, and none outlives its turn.
 */
import { hiddenName, type Dim } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { withGradient } from '../graph/custom.ts'
import { dimIn } from '../graph/infer/checks.ts'
import { broadcastTo } from '../graph/make.ts'
import { scan } from '../graph/scan.ts'
import { full, loose, tensor } from '../graph/tensor.ts'
import type { AnyTensor, Tensor } from '../graph/types.ts'
import type { Weighted } from '../graph/outcome.ts'
import { entropyAlong, weightedMean } from './functional.ts'

export interface ChunkedEntropy {
  /** What states and weights share, and is contracted. */
  readonly over: Dim
  readonly classes: Dim
  /** Walked in this many turns: every `chunks`-th position is in one turn, so that a device's own positions are in every turn however they are split. */
  readonly along: Dim
  readonly chunks: number
  /** A target that does not count, as `crossEntropy` has it. */
  readonly ignore?: number
}

type T = Tensor<string>

/**
 * The mean over `targets` of −log softmax(states · weights)[target], of those that count, and how many do: `weightedMean` of `crossEntropy` with no logits that are whole. f32.
 * @param states along `over`, `along` and others
 * @param weights classes over
 * @throws DimError where `chunks` does not divide `along`, or a dim is missing
 */
export function chunkedEntropy(states: AnyTensor, weights: AnyTensor, targets: AnyTensor, { over, classes, along, chunks, ignore }: ChunkedEntropy): Weighted {
  const walked = dimIn(states.shape, along, 'chunkedEntropy', userSite)
  if (!Number.isInteger(chunks) || chunks < 1 || walked.size % chunks !== 0) throw new DimError({ code: 'option', what: `chunkedEntropy: ${chunks} chunks of "${walked.name}" of size ${walked.size}`, fix: 'give a number that divides it', at: userSite() })
  const turn = { name: hiddenName(walked.name, 'chunks'), size: chunks }
  const own = { name: walked.name, size: walked.size / chunks }
  const cut = (x: AnyTensor): T => loose(x).split(walked.name, [own, turn])
  const { losses, slope } = entropyAlong<string, string>(classes, ignore)
  const rows = states.shape.filter(d => d.name !== over.name).map(d => d.name)
  // What is contracted stands first, and so do the few numbers of states in the product below: turned over, the slopes would be packed against their order, which takes a part of the product's own time.
  const turned = [over, ...weights.shape.filter(d => d.name !== over.name)]
  const [{ weights: byWeights }, found] = scan(turn, { weights: loose(full(0, turned, weights.dtype)) }, { states: cut(states), targets: cut(targets) }, (sum, { states: x, targets: target }) => {
    const logits = x.dot(loose(weights), over.name)
    const change = slope(loose(full(1, target.shape, logits.dtype)), logits, target)
    return [
      { weights: sum.weights.add(x.dot(change, ...rows)) },
      { losses: losses(logits, target), states: change.dot(loose(weights), classes.name) },
    ] as const
  })
  const whole = (x: AnyTensor): T => loose(x).merge([walked.name, turn.name], walked)
  const counts = ignore === undefined ? loose(full(1, targets.shape)) : loose(targets).notEqual(ignore)
  const all = whole(found.losses)
  const { value, weight } = weightedMean(all, tensor(counts.node))
  const divisor = weight.add(weight.equal(0).cast(weight.dtype))
  return {
    weight,
    value: withGradient([states, weights, whole(found.states), byWeights, divisor] as readonly AnyTensor[], () => value, (g, _, [x, w, ofStates, ofWeights, by]) => {
      const share = loose(g).div(loose(by as AnyTensor))
      const scaled = (of: AnyTensor | undefined, like: AnyTensor | undefined): AnyTensor | undefined => (of === undefined || like === undefined ? undefined : tensor(broadcastTo(loose(of).mul(share).node, like.shape)))
      return [scaled(ofStates, x), scaled(ofWeights, w), undefined, undefined, undefined]
    }),
  }
}
