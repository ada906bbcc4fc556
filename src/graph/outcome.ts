/** What a model says of a batch: means, each with the number of things that it is over, so that means of unlike batches can be joined. */
import { formatShape } from '../core/dim.ts'
import { isFloat } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { userSite } from '../core/site.ts'
import { sumsIn } from './half-precision.ts'
import { splatValue } from './make.ts'
import { full, isTensor, loose, mapTree } from './tensor.ts'
import type { AnyTensor, Scalar } from './types.ts'

/** A mean, and over how many it is: a number of at least 0, in any dtype of numbers. */
export type Metric = {
  readonly value: Scalar
  /** The loss's unless said. */
  readonly weight?: Scalar
}
export type Outcome = {
  /** The mean loss; 0 where nothing counts. */
  readonly loss: Scalar
  /** Over how many: the tokens or items of the batch that count. Unless said each batch counts the same: right where all have as many. */
  readonly weight?: Scalar
  readonly metrics?: { readonly [name: string]: Metric }
  /** New values of parameters that are declared frozen, by their paths: what a model keeps of the batches that it saw, as running statistics. Of microbatches their mean. */
  readonly updates?: Updates
}
export type Updates = { readonly [path: string]: AnyTensor }

/** A mean with its weight, both of a dtype in which they can be summed. */
export type Weighted = { readonly value: Scalar; readonly weight: Scalar }
export type Settled = { readonly loss: Weighted; readonly metrics: { readonly [name: string]: Weighted }; readonly updates?: Updates }

function scalarOf(what: string, x: unknown): Scalar {
  const wrong = (found: string): DimError => new DimError({ code: 'loss-not-scalar', what: `${what} is ${found}`, fix: 'return a scalar: sum or mean over its dims', at: userSite() })
  if (!isTensor(x)) throw wrong(shown(x))
  if (x.shape.length > 0) throw wrong(`no scalar, but ${formatShape(x.shape)}`)
  return x as Scalar
}
/** No gradient flows through a weight: it says how much there is, not how good it is. */
const weightOf = (what: string, x: unknown): Scalar => {
  const weight = scalarOf(what, x)
  const wide = weight.cast(isFloat(weight.dtype) ? sumsIn(weight.dtype) : 'f32')
  return splatValue(wide.node) === undefined ? wide.stopGradient() : wide
}

/** An outcome with every weight said. @throws DimError where something of it is no scalar, or the loss no float */
export function settled(outcome: Outcome): Settled {
  const weighted = (what: string, value: unknown, weight: Scalar): Weighted => {
    const mean = scalarOf(what, value)
    if (!isFloat(mean.dtype)) throw new DimError({ code: 'dtype', what: `${what} is ${mean.dtype}; a mean is a float`, fix: 'cast what it is made of', at: userSite() })
    return { value: mean, weight }
  }
  if (typeof outcome !== 'object' || outcome === null || isTensor(outcome)) throw new DimError({ code: 'outcome', what: `the model's loss gives ${isTensor(outcome) ? 'one tensor' : shown(outcome)}`, fix: 'return { loss }, and with it the weight and metrics that there are', at: userSite() })
  const weight = outcome.weight === undefined ? full(1, []) : weightOf('the weight of the loss', outcome.weight)
  return {
    loss: weighted('the loss', outcome.loss, weight),
    metrics: Object.fromEntries(Object.entries(outcome.metrics ?? {}).map(([name, m]) =>
      [name, weighted(`the metric "${name}"`, m.value, m.weight === undefined ? weight : weightOf(`the weight of the metric "${name}"`, m.weight))])),
    ...(outcome.updates === undefined ? {} : { updates: mapTree(outcome.updates, u => loose(u).stopGradient()) }),
  }
}

/** Σ of what was weighted by the Σ of weights, 0 where that is 0: nothing counted. What is no number stays none. */
export const overWeight = (sum: Scalar, weight: Scalar): Scalar => {
  const total = weight.cast(sum.dtype)
  return sum.div(total.add(total.equal(0).cast(sum.dtype)))
}
