/** How much work a step of training is, whatever computes it: what speeds are told by. */
import { globalFlops } from '../cost/flops.ts'
import { graphOf, type Tree } from '../engine/index.ts'
import type { Model } from '../models/index.ts'

/**
 * Floating-point operations of a training step over a whole batch: those of the forward pass, and twice as many backward (Chowdhery et al. 2022, appendix B). What is
 * computed again to save memory does not count, nor blocks of attention that are masked whole and skipped.
 */
export const stepFlops = ({ loss, params, batch }: Model<Tree, Tree>): number => 3 * globalFlops(graphOf((p: Tree, b: Tree) => loss(p, b).loss, [params, batch]))
