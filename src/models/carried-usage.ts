/** How experts were used, carried along with the stream of a pipeline: of each example and layer, so that no microbatch has to be joined with another on its way, and gradients come back with the stream's. */
import { hiddenName, type Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { make } from '../graph/make.ts'
import { concat, slice } from '../graph/rearrange.ts'
import { full, iota, loose, tensor, where } from '../graph/tensor.ts'
import type { AnyTensor, Scalar, Tensor } from '../graph/types.ts'
import { along } from '../nn/moe/loosely.ts'
import type { Usage } from '../nn/moe/index.ts'
import type { UsageOfLayers } from './experts.ts'

type T = Tensor<string>
export interface CarriedUsage {
  /** Of no layer yet: batch, the layers, and what there is to tell of one. */
  readonly none: () => T
  /** With that of one more layer, told of each example. */
  readonly written: (all: T, own: Usage<string>, layer: Scalar) => T
  /** Of all layers, in their order, along a dim that no layout has a rule for; of all examples together. */
  readonly of: (all: T) => UsageOfLayers
}

/** Of so many experts and layers, all in one tensor: a tick hands on one more. */
export function carriedUsage(experts: number, over: Dim<'layers'>, batch: Dim, dtype: DType): CarriedUsage {
  const told: Dim = { name: hiddenName('routes', 'told'), size: 2 * experts + 4 }
  const layers: Dim = { name: hiddenName(over.name, 'all'), size: over.size }
  const one = { ...told, size: 1 }
  const fields = (x: AnyTensor): T => tensor(make('rename', [x.node], { from: 'routes', to: told.name }))
  return {
    none: () => loose(full(0, [batch, layers, told] as readonly Dim[] as readonly Dim<never>[], dtype)),
    written: (all, { load, shares, tokens, grouped, z, dropped }, layer) => {
      const own: T = concat<string, string>([fields(load), fields(shares), ...[tokens, grouped, z, dropped].map(x => along(loose(x), [one]))], told.name)
      const here = loose(iota(layers)).equal(loose(layer))
      return where(here, along(own, [layers]), all)
    },
    of: all => {
      const sums = loose(all.sum(batch.name))
      const from = (start: number): T => tensor(make('rename', [slice<string, string>(sums, told.name, { start, end: start + experts }).node], { from: told.name, to: 'routes' }))
      const [tokens, grouped, z, dropped] = [0, 1, 2, 3].map(i => loose(slice<string, string>(sums, told.name, { start: 2 * experts + i, end: 2 * experts + i + 1 }).sum(told.name)))
      if (tokens === undefined || grouped === undefined || z === undefined || dropped === undefined) throw new Error('four numbers')
      return { tokens: tokens.stopGradient(), load: from(0).stopGradient(), shares: from(experts), grouped, z, dropped: dropped.stopGradient() }
    },
  }
}
