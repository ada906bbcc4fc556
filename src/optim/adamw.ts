/** AdamW (Loshchilov and Hutter 2019, algorithm 2; moments as Kingma and Ba 2015). */
import { slot } from '../graph/input.ts'
import { full, mapTree, zipTrees } from '../graph/tensor.ts'
import type { Scalar, Tree } from '../graph/types.ts'

export interface AdamWConfig {
  readonly beta1: number
  readonly beta2: number
  readonly epsilon: number
  readonly weightDecay: number
}

/** First and second moments, trees like the parameters. */
export type Moments<P extends Tree> = { readonly first: P; readonly second: P }

/** The moments as a program's arguments: laid out as `state`. */
export const momentsOf = <P extends Tree>(params: P): Moments<P> => ({
  first: mapTree(params, (p, path) => slot(`first.${path}`, p.shape, p.dtype)),
  second: mapTree(params, (p, path) => slot(`second.${path}`, p.shape, p.dtype)),
})

export const zeroMoments = <P extends Tree>(params: P): Moments<P> => {
  const zero = mapTree(params, p => full(0, p.shape, p.dtype).relayout('state'))
  return { first: zero, second: zero }
}

/**
 * One update. `step` counts from 0; `decays` says by path which parameters weight decay applies to. The arithmetic lies
 * where the moments lie (`state`), and the new parameters move to where parameters rest (`params`).
 */
export function adamw<P extends Tree>(
  params: P, grads: P, moments: Moments<P>, step: Scalar, rate: Scalar, config: AdamWConfig, decays: (path: string) => boolean,
): { readonly params: P; readonly moments: Moments<P> } {
  const { beta1, beta2, epsilon, weightDecay } = config
  const t = step.cast('f32').add(1)
  const correction = (beta: number): Scalar => t.mul(Math.log(beta)).exp().neg().add(1)
  const placed = mapTree(grads, g => g.relayout('state'))
  const first = zipTrees(moments.first, placed, (m, g) => m.relayout('state').mul(beta1).add(g.mul(1 - beta1)))
  const second = zipTrees(moments.second, placed, (v, g) => v.relayout('state').mul(beta2).add(g.square().mul(1 - beta2)))
  const [c1, c2] = [correction(beta1), correction(beta2)]
  const directions = zipTrees(first, second, (m, v) => m.div(c1).div(v.div(c2).sqrt().add(epsilon)))
  const updated = zipTrees(params, directions, (p, d, path) => {
    const at = p.relayout('state')
    const decayed = decays(path) && weightDecay > 0 ? d.add(at.mul(weightDecay)) : d
    return at.sub(decayed.mul(rate)).relayout('params')
  })
  return { params: updated, moments: { first, second } }
}
