/** Clipping by the global norm (Pascanu et al. 2013). */
import { constantNode } from '../graph/make.ts'
import { leavesOf, loose, mapTree, tensor } from '../graph/tensor.ts'
import type { Scalar, Tree } from '../graph/types.ts'

/** √ Σ g² over all leaves; on a mesh one all-reduce of a scalar. */
export function globalNorm(grads: Tree): Scalar {
  let total: Scalar = tensor(constantNode(0, 'f32'))
  for (const { leaf } of leavesOf(grads)) total = total.add(tensor<never>(loose(leaf).square().sum().node))
  return total.sqrt()
}

/** The gradients, scaled down where their norm exceeds `limit`; and the norm before. */
export function clipByGlobalNorm<T extends Tree>(grads: T, limit: number): { readonly clipped: T; readonly norm: Scalar } {
  const norm = globalNorm(grads)
  const scale = tensor<never>(constantNode(limit, 'f32')).div(norm.maximum(limit))
  return { clipped: mapTree(grads, g => g.mul(scale)), norm }
}
