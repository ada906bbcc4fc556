/** What a model says that tells classes: the mean cross-entropy of what counts, and how much of it is right. */
import { nameOf, type DimLike } from '../core/dim.ts'
import type { Outcome } from '../graph/outcome.ts'
import type { Key } from '../graph/random.ts'
import { loose } from '../graph/tensor.ts'
import type { Minus, Tensor } from '../graph/types.ts'
import { crossEntropy, weightedMean } from '../nn/functional.ts'

/** A target, or label, that does not count. */
export const ignored = -100

/** @param key as the model's loss was given it: with it, as in training, there are no metrics beside the loss */
export function classOutcome<D extends string, C extends D>(logits: Tensor<D>, classes: DimLike<C>, targets: Tensor<Minus<D, C>>, key: Key | undefined): Outcome {
  const [found, wanted, over] = [loose(logits), loose(targets), nameOf(classes)]
  const counts = wanted.notEqual(ignored)
  const { value: loss, weight } = weightedMean(crossEntropy<string, string>(found, over, wanted, { ignore: ignored }), counts)
  if (key !== undefined) return { loss, weight }
  return { loss, weight, metrics: { accuracy: weightedMean(found.argmax(over).equal(wanted).cast('f32'), counts) } }
}
