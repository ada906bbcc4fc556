/** Gradients of scalar functions over trees of tensors. */
import { formatShape } from '../core/dim.ts'
import { isFloat } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { constantNode, fullNode } from '../graph/make.ts'
import { userSite } from '../core/site.ts'
import { isTensor, leavesOf, rebuildTree, tensor } from '../graph/tensor.ts'
import type { Scalar, Tree } from '../graph/types.ts'
import { pullback } from './pullback.ts'
import { keeper, type Remat } from './policy.ts'

export interface GradOptions {
  /** What loops compute again in the backward pass; `all-but-contractions` unless said otherwise. */
  readonly remat?: Remat
}

/**
 * The loss and its gradient, a tree like the parameters'.
 * @throws DimError when the loss is not a scalar, a parameter not of a float dtype, or the policy names what is not there.
 */
export const valueAndGrad = <P extends Tree>(loss: (params: P) => Scalar, { remat = 'all-but-contractions' }: GradOptions = {}) =>
  (params: P): { readonly value: Scalar; readonly grads: P } => {
    const value = loss(params)
    if (!isTensor(value)) throw new DimError({ code: 'loss-not-scalar', what: 'grad: the loss is no tensor', fix: 'return a scalar', at: userSite() })
    if (value.shape.length > 0) {
      throw new DimError({ code: 'loss-not-scalar', what: 'grad: the loss is not a scalar', details: { loss: formatShape(value.shape) }, fix: 'sum or mean over its dims', at: userSite() })
    }
    if (!isFloat(value.dtype)) throw new DimError({ code: 'dtype', what: `grad: the loss is ${value.dtype}; only floats have gradients`, fix: 'cast what it is made of', at: userSite() })
    const leaves = leavesOf(params)
    const integer = leaves.find(l => !isFloat(l.leaf.dtype))
    if (integer !== undefined) {
      throw new DimError({ code: 'dtype', what: `grad: ${integer.path === '' ? 'the parameter' : `"${integer.path}"`} is ${integer.leaf.dtype}; only floats have gradients`, fix: 'leave it out of the parameters', at: userSite() })
    }
    const found = pullback([value.node], [constantNode(1, value.dtype)], leaves.map(l => l.leaf.node), keeper(remat, [value.node]))
    // What the loss does not depend on has gradient zero.
    const grads = leaves.map((l, i) => tensor(found[i] ?? fullNode(0, l.leaf.shape, l.leaf.dtype)))
    return { value, grads: rebuildTree(params, grads) }
  }

/** The gradient of a scalar function, a tree like the parameters'. */
export const grad = <P extends Tree>(loss: (params: P) => Scalar, options: GradOptions = {}) =>
  (params: P): P => valueAndGrad(loss, options)(params).grads
