/** Clipping: by the norm of all gradients together, by the size of each number, by the root mean square of each parameter's. */
import { onCallersLine } from '../core/site.ts'
import { constantNode } from '../graph/make.ts'
import { leavesOf, loose, tensor } from '../graph/tensor.ts'
import type { Scalar, Tree } from '../graph/types.ts'
import { stateless } from './chain.ts'
import type { Transformation } from './optimizer.ts'
import { checkOptions, checkValue, names, positive } from './options.ts'
import { apart, at, mapPaths, meanOver } from './parameters.ts'

type None = Readonly<Record<never, never>>

/** √ Σ x² over all leaves, in f32, or f64 where a leaf is; on a mesh one all-reduce of a scalar. */
export const globalNorm = (tree: Tree): Scalar => onCallersLine(() => {
  const leaves = leavesOf(tree)
  const dtype = leaves.some(l => l.leaf.dtype === 'f64') ? 'f64' : 'f32'
  let total: Scalar = tensor(constantNode(0, dtype))
  // Half-precision gradients are widened first: the square of a small one would underflow to 0.
  for (const { leaf } of leaves) total = total.add(tensor<never>(loose(leaf).cast(dtype).square().sum().node))
  return total.sqrt()
})

/**
 * Scaled down where the norm of all together, ‖g‖, exceeds the limit c: by c / ‖g‖ (Pascanu et al. 2013), as optax does; torch's is c / (‖g‖ + 10⁻⁶), which is 10⁻⁶ / ‖g‖ apart.
 * Of frozen parameters nothing counts where `freeze` is around it. @throws UsageError where the limit is no number above 0
 */
export function clipByGlobalNorm(limit: number): Transformation<None> {
  checkValue('clipByGlobalNorm: the limit', limit, positive)
  return stateless({ name: 'clipByGlobalNorm', limit }, updates => onCallersLine(() => {
    const norm = globalNorm(updates)
    const scale = tensor<never>(constantNode(limit, norm.dtype)).div(norm.maximum(limit))
    return mapPaths(updates, g => g.mul(scale.cast(g.dtype)))
  }))
}

/** Each number moved into [−limit, limit]. @throws UsageError where the limit is no number above 0 */
export function clipByValue(limit: number): Transformation<None> {
  checkValue('clipByValue: the limit', limit, positive)
  return stateless({ name: 'clipByValue', limit }, updates => mapPaths(updates, g => g.clamp(-limit, limit)))
}

export interface Stacked {
  /** Dims along which whole parameters are stacked, as a scan walks them: each of these counts by itself. `['layers']` unless said. */
  readonly stacked?: readonly string[]
}

/** u / max(1, rms(u) / limit), of each parameter by itself (Shazeer and Stern 2018, §6). @throws UsageError for options that cannot be */
export function clipByRms(limit: number, options: Stacked = {}): Transformation<None> {
  checkValue('clipByRms: the limit', limit, positive)
  checkOptions('clipByRms', options, { stacked: names })
  const { stacked = ['layers'] } = options
  return stateless({ name: 'clipByRms', limit, stacked }, (updates, { params }) => mapPaths(updates, (u, path) => {
    const rms = meanOver(u.square(), apart(at(params, path).shape, stacked)).sqrt()
    return u.div(rms.div(limit).maximum(1))
  }))
}
