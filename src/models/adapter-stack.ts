/** A model that writes with another adapter for each request: their factors lie beside one another, and each request takes its own (Sheng et al. 2023, "S-LoRA"). */
import type { Dim } from '../core/dim.ts'
import { UsageError } from '../core/errors.ts'
import { param } from '../graph/param.ts'
import { pad } from '../graph/rearrange.ts'
import { broadcast, full, iota, isTensor, leavesOf, loose, where } from '../graph/tensor.ts'
import type { AnyTensor, Scalar, Tensor, Tree } from '../graph/types.ts'
import type { Encoder, WritingModel } from './language.ts'
import { adaptedPaths, replaced, withLora, type Adapter, type Adapters, type LoraOptions } from './lora.ts'
import type { Model } from './model.ts'

export interface AdapterStackOptions {
  /** Adapters that there is room for. */
  readonly count: number
  /** Their rank at most. */
  readonly rank: number
  /** Linear layers that they may change, as `LoraOptions` has them; all unless said. */
  readonly on?: readonly string[] | undefined
}
/** Weights, and by the paths of those that are adapted the factors of all adapters, along `adapter`: 0 changes nothing, i is in place i. */
export type StackedParams = { readonly base: Tree; readonly lora: Adapters }
export interface StackedModel extends WritingModel {
  readonly params: StackedParams
  /** The stack with one adapter's factors in a place. It may have a smaller rank and fewer layers; what it lacks changes nothing. @throws UsageError where it is of another model */
  readonly insert: (stack: Adapters, one: Adapters, place: Scalar, scale: number) => Adapters
}

/** @throws UsageError as `adaptedPaths` */
export function withAdapters(model: WritingModel, { count, rank, on }: AdapterStackOptions): StackedModel {
  const whole = model as unknown as Model<Tree, Tree>
  const { lora: one } = withLora(whole, { rank, ...(on === undefined ? {} : { on: adaptedPaths(whole.linear, on) }) } satisfies LoraOptions).params
  const adapter: Dim = { name: 'adapter', size: count + 1 }
  const stacked = (t: AnyTensor, path: string): Tensor<string> => { const [layers, rest] = [t.shape.filter(d => d.name === 'layers'), t.shape.filter(d => d.name !== 'layers')]; return loose(param(path, [...layers, adapter, ...rest] as unknown as readonly Dim<never>[], { init: 0 })) }
  const lora: Adapters = Object.fromEntries(Object.entries(one).map(([path, { down, up }]) => [path, { down: stacked(down, `lora.${path}.down`), up: stacked(up, `lora.${path}.up`) }]))
  /** The weights with what each request's adapter changes of them. */
  const changed = (what: string, params: Tree, of: AnyTensor | undefined): Tree => {
    const { base, lora: all } = params as unknown as StackedParams
    if (of === undefined) throw new UsageError({ code: 'adapter', what: `${what}: it is not said which adapter each request has`, fix: 'give their places: adapter' })
    return replaced(base, path => {
      const own = all[path]
      if (own === undefined) return undefined
      // What layers are scanned along has to have that dim.
      const layers = own.down.shape.filter(d => d.name === 'layers')
      return { ...own, of: layers.length === 0 ? loose(of) : loose(broadcast(loose(of), layers as never)) }
    })
  }
  return {
    ...model, dims: { ...model.dims, rank: { name: 'rank', size: rank }, adapter }, params: { base: model.params, lora },
    cache: (size, dtype) => model.cache(size, dtype),
    extend: (params, cache, fed, size) => model.extend(changed('extend', params, fed.adapter), cache, fed, size),
    ...(model.encoder === undefined ? {} : { encoder: { ...model.encoder, read: (params, cache, sources, size) => (model.encoder as Encoder).read(changed('read', params, sources.adapter), cache, sources, size) } }),
    head: (params, states) => model.head((params as unknown as StackedParams).base, states),
    quantized: (params, how) => ({ base: model.quantized((params as unknown as StackedParams).base, how), lora: (params as unknown as StackedParams).lora }),
    insert: (stack, given, place, scale) => {
      const other = Object.keys(given).find(path => stack[path] === undefined)
      if (other !== undefined) throw new UsageError({ code: 'adapter', what: `the adapter changes ${other}, for which there is no room`, fix: `it may change ${Object.keys(stack).map(p => p.split('.').at(-1)).join(', ')}` })
      const into = (all: Tensor<string>, own: AnyTensor | undefined, path: string, times: number): Tensor<string> => {
        const dims = all.shape.filter(d => d.name !== 'adapter')
        const fits = own === undefined || dims.every(d => own.shape.some(e => e.name === d.name && (e.size === d.size || (d.name === 'rank' && e.size <= d.size))))
        if (!fits) throw new UsageError({ code: 'adapter', what: `the adapter's ${path} has dims ${own?.shape.map(d => `${d.name}=${d.size}`).join(' ')}, where there is room for ${dims.map(d => `${d.name}=${d.size}`).join(' ')}`, fix: 'give one of this model, and of a rank that there is room for' })
        const ownRank = own?.shape.find(d => d.name === 'rank')?.size ?? 0
        const new_ = own === undefined ? loose(full(0, dims, all.dtype)) : loose(pad(loose(own).cast(all.dtype).mul(times), 'rank', 0, rank - ownRank))
        return where(loose(iota(adapter)).equal(loose(place)), new_, all) as Tensor<string>
      }
      return Object.fromEntries(Object.entries(stack).map(([path, { down, up }]): [string, Adapter] => [path, { down: into(down, given[path]?.down, `${path}.down`, 1), up: into(up, given[path]?.up, `${path}.up`, scale) }]))
    },
  }
}

/** The layers that adapters change. */
export const pathsOf = (adapters: Adapters): readonly string[] => [...new Set(leavesOf(adapters).filter(l => isTensor(l.leaf)).map(l => l.path.replace(/\.(?:down|up)$/, '')))]
