/** The layers of a T5, one after another, or in periods of which one layer has experts; and what these are used for. */
import { hiddenName, type Dim } from '../core/dim.ts'
import { fold, type Key } from '../graph/random.ts'
import { concat, index as elementOf } from '../graph/rearrange.ts'
import { scan } from '../graph/scan.ts'
import { iota, loose, mapTree, tensor } from '../graph/tensor.ts'
import type { AnyTensor, Scalar, Tensor, Tree } from '../graph/types.ts'
import { moe } from '../nn/moe/index.ts'
import { activations, type Activation } from './activation.ts'
import type { UsageOfLayers } from './experts.ts'
import type { L, LayerFeed, LayerRouter, SwitchConfig, T5Dims, Feeds } from './t5-params.ts'
import { routedAt } from './t5-params.ts'

/** What a layer has beside its attention: a feed-forward net, or experts. */
export type OwnFeed = { readonly net: LayerFeed } | { readonly routed: LayerRouter }
interface Walk<H extends Tree> {
  readonly layers: Dim<L>
  /** How many layers a period has; undefined where none has experts. */
  readonly every: number | undefined
  readonly attention: H
  readonly feeds: Feeds
}
/** `body` is given a layer's own weights, its number, and its place in a period; it returns the stream and what its experts were used for. The usage is stacked along `layers`. */
export function walkLayers<D extends string, H extends Tree>({ layers, every = 1, attention, feeds: { feed, feeds = [], routed } }: Walk<H>, x: Tensor<D>, body: (x: Tensor<D>, heads: Tree, feed: OwnFeed, index: Scalar) => { readonly x: Tensor<D>; readonly usage: Tree }): { readonly x: Tensor<D>; readonly usage: Tree } {
  const periods: Dim<L> = { name: 'layers', size: layers.size / every }
  const place = { name: hiddenName('layers', 'place'), size: every }
  const apart = every === 1 ? attention as Tree : mapTree(attention as Tree, t => loose(t).split('layers', [periods, place] as readonly Dim[]))
  const walked: Tree = { attention: apart, nets: feed === undefined ? feeds as Tree : [feed as Tree], ...(routed === undefined ? {} : { routed: routed as Tree }), index: iota(periods) }
  const [{ x: last }, { usage }] = scan(periods, { x } as { readonly x: Tensor<D> }, walked, (state, own): readonly [{ readonly x: Tensor<D> }, { readonly usage: Tree }] => {
    const { attention: heads, nets, routed: router, index } = own as unknown as { readonly attention: Tree; readonly nets: readonly LayerFeed[]; readonly routed?: LayerRouter; readonly index: Scalar }
    let [now, used, next]: [Tensor<D>, Tree, number] = [state.x, {}, 0]
    for (let j = 0; j < every; j++) {
      const here = every === 1 ? heads : mapTree(heads, t => loose(elementOf<string, string>(loose(t), place.name, j)) as AnyTensor as Tensor<string>)
      const of = router !== undefined && j === routedAt(every) ? { routed: router } : { net: nets[next++] as LayerFeed }
      const found = body(now, here, of, every === 1 ? index : index.mul(every).add(j))
      now = found.x
      if ('routed' in of) used = found.usage
    }
    return [{ x: now }, { usage: used }]
  })
  return { x: last as Tensor<D>, usage: usage as Tree }
}

interface Switching { readonly config: SwitchConfig; readonly d: T5Dims; readonly activation: Activation; /** Of dropout between an expert's products. */ readonly drop: (x: Tensor<string>) => Tensor<string>; readonly key: Key | undefined }
/** One expert for each token, by its score; what comes to an expert that is full is left as it is. Normed already. */
export function switched<D extends string>(x: Tensor<D>, { router, experts }: LayerRouter, tokens: Dim, { config: c, d, activation, drop, key }: Switching): { readonly value: Tensor<D>; readonly usage: Tree } {
  const act = activations[activation] as (x: Tensor<string>) => Tensor<string>
  const { value, usage } = moe(x, { router, experts }, { ...d, tokens }, {
    router: { chosen: 1 }, capacity: { slots: c.slots }, activation: y => drop(act(y)), ...(key === undefined || c.jitter === 0 ? {} : { jitter: { key: fold(key, 6), amount: c.jitter } }),
  })
  return { value, usage }
}
/** Of the encoder's layers and of the decoder's. */
export const usageOfBoth = (a: Tree, b: Tree): UsageOfLayers => {
  const [encoder, decoder] = [a, b] as unknown as readonly [UsageOfLayers, UsageOfLayers]
  return Object.fromEntries(Object.entries(encoder).map(([name, t]) => [name, tensor(concat<string, string>([loose(t), loose(decoder[name as keyof UsageOfLayers])], 'layers').node)])) as unknown as UsageOfLayers
}
