/** Gradients of scalar functions over trees of tensors. */
import { formatShape } from '../core/dim.ts'
import { isFloat } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { constantNode } from '../graph/make.ts'
import { userSite } from '../core/site.ts'
import { isTensor } from '../graph/tensor.ts'
import type { Scalar, Tree } from '../graph/types.ts'
import { pulled, type GradOptions } from './vjp.ts'

/**
 * The loss and its gradient, a tree like the parameters'. What the loss uses beside the parameters is constant, whatever it is made of.
 * @throws DimError when the loss is not a scalar, a parameter not of a float dtype, or the policy names what is not there.
 */
export const valueAndGrad = <P extends Tree>(loss: (params: P) => Scalar, options: GradOptions = {}) =>
  (params: P): { readonly value: Scalar; readonly grads: P } => {
    const scalar = (p: P): Scalar => {
      const value = loss(p)
      if (!isTensor(value)) throw new DimError({ code: 'loss-not-scalar', what: 'grad: the loss is no tensor', fix: 'return a scalar', at: userSite() })
      if (value.shape.length > 0) {
        throw new DimError({ code: 'loss-not-scalar', what: 'grad: the loss is not a scalar', details: { loss: formatShape(value.shape) }, fix: 'sum or mean over its dims', at: userSite() })
      }
      if (!isFloat(value.dtype)) throw new DimError({ code: 'dtype', what: `grad: the loss is ${value.dtype}; only floats have gradients`, fix: 'cast what it is made of', at: userSite() })
      return value
    }
    const { value, pull } = pulled('grad', scalar, [params], options, path => (path === '0' ? 'the parameter' : `"${path.slice(2)}"`))
    const [grads] = pull([constantNode(1, value.dtype)])
    return { value, grads }
  }

/** The gradient of a scalar function, a tree like the parameters'. */
export const grad = <P extends Tree>(loss: (params: P) => Scalar, options: GradOptions = {}) =>
  (params: P): P => valueAndGrad(loss, options)(params).grads
