/** Models that give texts vectors: those that were made for it, and decoders, whose tokens' states are pooled. */
import type { Dim } from '../core/dim.ts'
import type { LayoutNames } from '../core/layout.ts'
import { input } from '../graph/input.ts'
import { iota, loose, where } from '../graph/tensor.ts'
import type { AnyTensor, Tensor, Tree } from '../graph/types.ts'
import { unitLength } from './bert-embedder.ts'
import type { Pooling } from './hugging-face/sentence.ts'
import type { AnyModel } from './model.ts'

type Ids = Tensor<'batch' | 'seq'>
export interface EmbeddingModel {
  readonly params: Tree
  readonly dims: { readonly [name: string]: Dim }
  readonly layouts?: LayoutNames
  /** `mask` holds where a token is one, and not what fills up a row: that changes no vector. */
  readonly batch: { readonly tokens: Ids; readonly mask: Ids }
  /** batch embed. */
  readonly vectors: (params: Tree, texts: { readonly tokens: Ids; readonly mask: Ids }) => Tensor<'batch' | 'embed'>
}

type Made = Pick<AnyModel, 'params' | 'dims' | 'layouts' | 'batch'> & { readonly vectors?: unknown; readonly states?: (params: Tree, given: { readonly tokens: Ids }) => AnyTensor }

/**
 * What embeds texts of a model that is built; undefined where it gives them no vectors. A model made for it does so by its own configuration; of a decoder, which reads
 * from left to right, the tokens' states behind the last norm are pooled: their mean, or the last token's. Other poolings are undefined.
 */
export function embeddingOf(model: AnyModel, { pooling, normalised }: Pooling): EmbeddingModel | undefined {
  const { params, dims, layouts, batch, vectors, states } = model as Made
  const common = { params, dims, ...(layouts === undefined ? {} : { layouts }) }
  if (vectors !== undefined) {
    const { tokens, mask } = batch as unknown as EmbeddingModel['batch']
    return { ...common, batch: { tokens, mask }, vectors: vectors as EmbeddingModel['vectors'] }
  }
  if (states === undefined || (pooling !== 'mean' && pooling !== 'last')) return undefined
  const { tokens } = batch as unknown as { readonly tokens: Ids }
  const { batch: rows, seq } = dims as { readonly batch: Dim<'batch'>; readonly seq: Dim<'seq'> }
  return {
    ...common, batch: { tokens, mask: input('mask', [rows, seq], 'bool') },
    vectors: (p, given) => {
      const x = loose(states(p, { tokens: given.tokens })).cast('f32')
      const count = loose(given.mask).cast('i32').sum('seq')
      const found = pooling === 'mean'
        ? where(loose(given.mask), x, 0).sum('seq').div(count.cast('f32').maximum(1))
        : where(iota(seq).equal(count.sub(1)), x, 0).sum('seq')
      const vector = found as unknown as Tensor<'batch' | 'embed'>
      return normalised ? unitLength(vector) : vector
    },
  }
}
