/** AdamW (Loshchilov and Hutter 2019, algorithm 2; moments as Kingma and Ba 2015). */
import type { DType } from '../core/dtype.ts'
import { slot } from '../graph/input.ts'
import { decaysOf } from '../graph/param.ts'
import { full, leavesOf, mapTree, zipTrees } from '../graph/tensor.ts'
import type { Scalar, Tree } from '../graph/types.ts'
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
  const t = inFloats(step).add(1)
  const correction = (beta: number): Scalar => t.mul(Math.log(beta)).exp().neg().add(1)
  const dtype = leavesOf([params, moments]).some(l => l.leaf.dtype === 'f64') ? 'f64' : 'f32'
  const wide = (tree: P): P => mapTree(tree, x => x.relayout('state').cast(dtype))
  const [g, p] = [wide(grads), wide(params)]
  const first = zipTrees(wide(moments.first), g, (m, g) => m.mul(beta1).add(g.mul(1 - beta1)))
  const second = zipTrees(wide(moments.second), g, (v, g) => v.mul(beta2).add(g.square().mul(1 - beta2)))
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
