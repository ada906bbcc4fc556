/** The gradient of what a model says of a batch: of the loss alone, with its weight and the metrics beside it. */
import { constantNode } from '../graph/make.ts'
import { settled, type Outcome, type Updates, type Weighted } from '../graph/outcome.ts'
import { leavesOf } from '../graph/tensor.ts'
import type { Scalar, Tree } from '../graph/types.ts'
import { pulled, type GradOptions } from './vjp.ts'

/** A loss and its gradient; where they are means over something, over how much, and the means of other things. */
export type LossAndGrads<P extends Tree> = {
  readonly value: Scalar
  readonly grads: P
  /** Over how many the loss is the mean; each part counts the same where it is not said. */
  readonly weight?: Scalar
  readonly metrics?: { readonly [name: string]: Weighted }
  /** New values of frozen parameters. */
  readonly updates?: Updates
}

/**
 * The mean loss of a batch and its gradient, with what they are the mean over and the metrics: what `accumulate` joins by weight.
 * Weights and metrics have no gradient.
 * @throws DimError when the loss is no float scalar, a weight or a metric no scalar, or a parameter not of a float dtype
 */
export const lossAndGrads = <P extends Tree>(loss: (params: P) => Outcome, options: GradOptions = {}) =>
  (params: P): Required<Omit<LossAndGrads<P>, 'updates'>> & Pick<LossAndGrads<P>, 'updates'> => {
    const { value: found, pull } = pulled('lossAndGrads', (p: P) => settled(loss(p)), [params], options, path => (path === '0' ? 'the parameter' : `"${path.slice(2)}"`))
    const { value, weight } = found.loss
    // The loss is the first leaf.
    const [grads] = pull([constantNode(1, value.dtype), ...leavesOf(found).slice(1).map(() => undefined)])
    return { value, weight, metrics: found.metrics, grads, ...(found.updates === undefined ? {} : { updates: found.updates }) }
  }
