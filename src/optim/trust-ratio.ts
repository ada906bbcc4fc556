/** Updates as long as parameters: the trust ratio of LARS and LAMB (You et al. 2017, 2020). */
import { full, loose, where } from '../graph/tensor.ts'
import { stateless } from './chain.ts'
import type { Stacked } from './clip.ts'
import type { Transformation } from './optimizer.ts'
import { checkOptions, names } from './options.ts'
import { apart, at, mapPaths, sumOver } from './parameters.ts'

/** Each update u times ‖p‖ / ‖u‖, or 1 where either is 0; of whole parameters, each stacked one by itself. @throws UsageError for options that cannot be */
export function scaleByTrustRatio(options: Stacked = {}): Transformation<Readonly<Record<never, never>>> {
  checkOptions('scaleByTrustRatio', options, { stacked: names })
  const { stacked = ['layers'] } = options
  return stateless({ name: 'scaleByTrustRatio', stacked }, (updates, { params }) => mapPaths(updates, (u, path) => {
    const p = at(params, path)
    const own = apart(p.shape, stacked)
    const [length, step] = [p, u].map(x => sumOver(x.square(), own).sqrt()) as [typeof u, typeof u]
    const both = length.greater(0).and(loose(step.greater(0)))
    const one = loose(full(1, step.shape, step.dtype))
    return u.mul(loose(where(both, loose(length.div(loose(where(both, step, one)))), one)))
  }))
}
