/** AdamW (Loshchilov and Hutter 2019, algorithm 2; moments as Kingma and Ba 2015). */
import type { DType } from '../core/dtype.ts'
import { slot } from '../graph/input.ts'
import { decaysOf } from '../graph/param.ts'
import { full, leavesOf, loose, mapTree, zipTrees } from '../graph/tensor.ts'
import type { Scalar, Tensor, Tree } from '../graph/types.ts'
import { inFloats } from './schedule.ts'

export interface AdamWConfig {
  readonly beta1: number
  readonly beta2: number
  readonly epsilon: number
  readonly weightDecay: number
}

/** First and second moments, trees like the parameters. */
export type Moments<P extends Tree> = { readonly first: P; readonly second: P }

/** The moments as a program's arguments: laid out as `state`, of the parameters' dtypes unless said. */
export const momentsOf = <P extends Tree>(params: P, dtype?: DType): Moments<P> => ({
  first: mapTree(params, (p, path) => slot(`first.${path}`, p.shape, dtype ?? p.dtype)),
  second: mapTree(params, (p, path) => slot(`second.${path}`, p.shape, dtype ?? p.dtype)),
})

export const zeroMoments = <P extends Tree>(params: P, dtype?: DType): Moments<P> => {
  const zero = mapTree(params, p => full(0, p.shape, dtype ?? p.dtype).relayout('state'))
  return { first: zero, second: zero }
}

/**
 * One update. `step` counts from 0; `decays` says by path which parameters weight decay applies to: those that were declared so, unless said. The arithmetic lies
 * where the moments lie (`state`), and the new parameters move to where parameters rest (`params`). It is done in f32, or in f64
 * where parameters or moments are; each is rounded to its own dtype once.
 */
export function adamw<P extends Tree>(
  params: P, grads: P, moments: Moments<P>, step: Scalar, rate: Scalar, config: AdamWConfig, decays: (path: string) => boolean = decaysOf(params),
): { readonly params: P; readonly moments: Moments<P> } {
  const { beta1, beta2, epsilon, weightDecay } = config
  const dtype = leavesOf([params, moments]).some(l => l.leaf.dtype === 'f64') ? 'f64' : 'f32'
  const t = inFloats(dtype === 'f64' ? step.cast(dtype) : step).add(1)
  // 1 − βᵗ, which loses no digits where β is next to 1; log1p because 1 − β is exact there.
  const correction = (beta: number): Scalar => t.mul(Math.log1p(beta - 1)).expm1().neg()
  // β m + (1 − β) x, where a β that f32 cannot tell from its neighbours still gives the average its own length.
  const average = (beta: number) => (m: Tensor<string>, x: Tensor<string>): Tensor<string> => m.add(loose(x.sub(loose(m))).mul(1 - beta))
  const wide = (tree: P): P => mapTree(tree, x => x.relayout('state').cast(dtype))
  const [g, p] = [wide(grads), wide(params)]
  const first = zipTrees(wide(moments.first), g, average(beta1))
  const second = zipTrees(wide(moments.second), g, (v, g) => average(beta2)(v, g.square()))
  const [c1, c2] = [correction(beta1).cast(dtype), correction(beta2).cast(dtype)]
  const directions = zipTrees(first, second, (m, v) => m.div(c1).div(v.div(c2).sqrt().add(epsilon)))
  const updated = zipTrees(p, directions, (at, d, path) => {
    const decayed = decays(path) && weightDecay > 0 ? d.add(at.mul(weightDecay)) : d
    return at.sub(decayed.mul(rate.cast(dtype)))
  })
  const narrowed = (tree: P, like: P): P => zipTrees(tree, like, (x, { dtype }) => x.cast(dtype))
  return {
    params: mapTree(narrowed(updated, params), x => x.relayout('params')),
    moments: { first: narrowed(first, moments.first), second: narrowed(second, moments.second) },
  }
}
