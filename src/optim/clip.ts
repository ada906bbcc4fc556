/** Clipping by the global norm (Pascanu et al. 2013). */
import { sumsIn } from '../graph/half-precision.ts'
import { constantNode } from '../graph/make.ts'
import { leavesOf, loose, mapTree, tensor } from '../graph/tensor.ts'
import type { Scalar, Tree } from '../graph/types.ts'

/** √ Σ g² over all leaves, in f32, or f64 where a leaf is; on a mesh one all-reduce of a scalar. */
export function globalNorm(grads: Tree): Scalar {
  const leaves = leavesOf(grads)
  const dtype = leaves.some(l => l.leaf.dtype === 'f64') ? 'f64' : 'f32'
  let total: Scalar = tensor(constantNode(0, dtype))
  // Half-precision gradients are widened first: the square of a small one would underflow to 0.
  for (const { leaf } of leaves) total = total.add(tensor<never>(loose(leaf).cast(dtype).square().sum().node))
  return total.sqrt()
}

/** The gradients, scaled down where their norm exceeds `limit`, half precision as f32; and the norm before. */
export function clipByGlobalNorm<T extends Tree>(grads: T, limit: number): { readonly clipped: T; readonly norm: Scalar } {
  const norm = globalNorm(grads)
  const scale = tensor<never>(constantNode(limit, norm.dtype)).div(norm.maximum(limit))
  return { clipped: mapTree(grads, g => { const wide = g.cast(sumsIn(g.dtype)); return wide.mul(scale.cast(wide.dtype)) }), norm }
}
