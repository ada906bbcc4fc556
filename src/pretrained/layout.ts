/** How a model that was not laid out here is laid over axes `batch` and `model`. */
import { splitOfHeads } from '../models/index.ts'

/** The rules that fit every language model of ours, as far as its dims divide. Heads that are shared are split by keys and values, or within those. */
export function usualLayout(dims: { readonly [name: string]: { readonly size: number } }, mesh: { readonly [axis: string]: number }): { readonly [dim: string]: string } {
  const { batch = 1, model = 1 } = mesh
  const fits = (name: string): boolean => dims[name] !== undefined && dims[name].size % model === 0
  const { kvHeads, group } = dims
  const heads = kvHeads === undefined || group === undefined ? 'heads' : splitOfHeads({ kvHeads, group }, model)
  return {
    ...(batch > 1 ? { batch: 'batch' } : {}),
    ...(model > 1 ? Object.fromEntries([...(heads === undefined ? [] : [heads]), 'hidden', 'vocab'].filter(fits).map(name => [name, 'model'] as const)) : {}),
  }
}
