/** How fast the devices are at what models do most, and how much of it a step has. */
import { contractionFlops, type Tree } from '../engine/index.ts'
import type { Model } from '../models/index.ts'

/**
 * Floating-point operations of a training step over a whole batch: those of the forward pass, and twice as many backward (Chowdhery et al. 2022, appendix B). What is
 * computed again to save memory does not count.
 */
export const stepFlops = ({ loss, params, batch }: Model<Tree, Tree>): number => 3 * contractionFlops(loss(params, batch).loss)
