/** The layers of a T5, one after another, or in periods of which one layer has experts; and what these are used for. */
import { hiddenName, type Dim } from '../core/dim.ts'
import { fold, type Key } from '../graph/random.ts'
import { concat, index as elementOf } from '../graph/rearrange.ts'
import { scan } from '../graph/scan.ts'
import { iota, loose, mapTree, tensor } from '../graph/tensor.ts'
import type { Scalar, Tensor, Tree } from '../graph/types.ts'
import { moe } from '../nn/moe/index.ts'
import { activations, type Activation } from './activation.ts'
import type { UsageOfLayers } from './experts.ts'
import { routedAt, type SwitchConfig, type T5Dims, type T5Feeds, type T5LayerFeed, type T5LayerRouter } from './t5-params.ts'

/** What a layer has beside its attention: a feed-forward net, or experts. */
export type OwnFeed = { readonly net: T5LayerFeed } | { readonly routed: T5LayerRouter }
interface Walk {
  readonly layers: Dim<'layers'>
  /** How many layers a period has; undefined where none has experts. */
  readonly every: number | undefined
  readonly attention: Tree
  readonly feeds: T5Feeds
}
/** `body` is given the weights of a layer's attention, what else it has, and its number; it returns the next state and what its experts were used for, which is stacked along `layers`. */
export function walkLayers({ layers, every = 1, attention, feeds: { feed, feeds = [], routed } }: Walk, state: Tree, body: (state: Tree, attention: Tree, feed: OwnFeed, index: Scalar) => { readonly state: Tree; readonly usage: Tree }): { readonly state: Tree; readonly usage: Tree } {
  const periods: Dim<'layers'> = { name: 'layers', size: layers.size / every }
  const place = { name: hiddenName('layers', 'place'), size: every }
  const apart = every === 1 ? attention : mapTree(attention, t => tensor<string>(loose(t).split('layers', [periods, place] as readonly Dim[]).node))
  const walked: Tree = { attention: apart, nets: (feed === undefined ? feeds : [feed]) as Tree, ...(routed === undefined ? {} : { routed: routed as Tree }), index: iota(periods) }
  const [last, { usage }] = scan(periods, state, walked, (before, own): readonly [Tree, { readonly usage: Tree }] => {
    const { attention: heads, nets, routed: router, index } = own as unknown as { readonly attention: Tree; readonly nets: readonly T5LayerFeed[]; readonly routed?: T5LayerRouter; readonly index: Scalar }
    let [now, used, next]: [Tree, Tree, number] = [before, {}, 0]
    for (let j = 0; j < every; j++) {
      const here = every === 1 ? heads : mapTree(heads, t => tensor<string>(elementOf<string, string>(loose(t), place.name, j).node))
      const of = router !== undefined && j === routedAt(every) ? { routed: router } : { net: nets[next++] as T5LayerFeed }
      const found = body(now, here, of, every === 1 ? index : index.mul(every).add(j))
      now = found.state
      if ('routed' in of) used = found.usage
    }
    return [now, { usage: used }]
  })
  return { state: last, usage: usage as Tree }
}

interface Switching {
  readonly config: SwitchConfig
  readonly d: T5Dims
  readonly activation: Activation
  /** Of dropout between an expert's products. */
  readonly drop: (x: Tensor<string>) => Tensor<string>
  readonly key: Key | undefined
  /** Whether text is written: then nothing is dropped. */
  readonly writing: boolean
}
/** One expert for each token, by its score; what comes to an expert that is full is left as it is. Normed already. */
export function switched(x: Tensor<string>, { router, experts }: T5LayerRouter, tokens: Dim, { config: c, d, activation, drop, key, writing }: Switching): { readonly value: Tensor<string>; readonly usage: Tree } {
  const act = activations[activation] as (x: Tensor<string>) => Tensor<string>
  return moe(x, { router, experts }, { ...d, tokens }, {
    router: { chosen: 1 }, capacity: writing ? 'dropless' : { slots: c.slots }, activation: y => drop(act(y)), ...(key === undefined || c.jitter === 0 ? {} : { jitter: { key: fold(key, 6), amount: c.jitter } }),
  })
}
/** Of the encoder's layers and of the decoder's. */
export const usageOfBoth = (a: Tree, b: Tree): UsageOfLayers => {
  const [encoder, decoder] = [a, b] as unknown as readonly [UsageOfLayers, UsageOfLayers]
  return Object.fromEntries(Object.entries(encoder).map(([name, t]) => [name, tensor(concat<string, string>([loose(t), loose(decoder[name as keyof UsageOfLayers])], 'layers').node)])) as unknown as UsageOfLayers
}
