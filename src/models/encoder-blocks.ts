/** The layers of encoders in which all sees all: attention and a feed-forward net with biases, norms before each (ViT) or after its sum (BERT). */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { initialisers, param } from '../graph/param.ts'
import { dropout, fold, type Key } from '../graph/random.ts'
import { scan } from '../graph/scan.ts'
import { iota } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'
import { layerNorm } from '../nn/functional.ts'
import { linear } from '../nn/linear.ts'
import { keeping, seeing } from '../nn/visible.ts'
import { activations, type Activation } from './activation.ts'
import { heads, headsLinear } from './heads.ts'

export type Stream = Tensor<'batch' | 'seq' | 'embed'>
export type BlockDims = { readonly [N in 'batch' | 'seq' | 'kvSeq' | 'embed' | 'heads' | 'headDim' | 'hidden' | 'layers']: Dim<N> }

/** A layout that encoders name, that of the stream between the layers; as `gptLayouts`. */
export const encoderLayouts: { readonly residual: 'compute' } = { residual: 'compute' }
const residual = (x: Stream): Stream => x.relayout('residual', encoderLayouts.residual)

export type Scaling<D extends string = 'embed'> = { readonly gain: Tensor<D>; readonly bias: Tensor<D> }
type Heads = 'layers' | 'heads' | 'headDim'
/** Every layer's parameters, stacked along `layers`; dims lie in the order of PyTorch's Linear, what is made first. */
export type EncoderBlocks = {
  readonly query: Tensor<Heads | 'embed'>
  readonly key: Tensor<Heads | 'embed'>
  readonly value: Tensor<Heads | 'embed'>
  readonly out: Tensor<Heads | 'embed'>
  readonly outBias: Tensor<'layers' | 'embed'>
  readonly norm1: Scaling<'layers' | 'embed'>
  readonly up: Tensor<'layers' | 'embed' | 'hidden'>
  readonly upBias: Tensor<'layers' | 'hidden'>
  readonly down: Tensor<'layers' | 'embed' | 'hidden'>
  readonly downBias: Tensor<'layers' | 'embed'>
  readonly norm2: Scaling<'layers' | 'embed'>
  /** Absent where queries, keys and values have no biases. */
  readonly queryBias?: Tensor<Heads>
  readonly keyBias?: Tensor<Heads>
  readonly valueBias?: Tensor<Heads>
}

/** As BERT is initialised: weights normal with this deviation, biases 0. */
export function encoderBlocks({ layers, embed, heads, headDim, hidden }: BlockDims, dtype: DType, std: number, biases = true): EncoderBlocks {
  const [weight, gain, bias] = [{ dtype, init: initialisers.normal(std), decays: true }, { dtype, init: 1 }, { dtype, init: 0 }]
  const norm = (name: string): Scaling<'layers' | 'embed'> => ({ gain: param(`${name}.gain`, [layers, embed], gain), bias: param(`${name}.bias`, [layers, embed], bias) })
  const [projection, projected] = [[layers, heads, headDim, embed] as const, [layers, heads, headDim] as const]
  return {
    query: param('query', projection, weight), key: param('key', projection, weight), value: param('value', projection, weight),
    ...(biases ? { queryBias: param('queryBias', projected, bias), keyBias: param('keyBias', projected, bias), valueBias: param('valueBias', projected, bias) } : {}),
    out: param('out', [layers, embed, heads, headDim], weight), outBias: param('outBias', [layers, embed], bias), norm1: norm('norm1'),
    up: param('up', [layers, hidden, embed], weight), upBias: param('upBias', [layers, hidden], bias),
    down: param('down', [layers, embed, hidden], weight), downBias: param('downBias', [layers, embed], bias), norm2: norm('norm2'),
  }
}

/** What is linear in them, by the paths of a model that has them as `blocks`. */
export const blocksLinear: { readonly [path: string]: readonly string[] } = { ...headsLinear('blocks'), 'blocks.up': ['embed'], 'blocks.down': ['hidden'] }

export interface EncoderOptions {
  /** Where the norms are: before attention and the feed-forward net, or after their sums with the stream. */
  readonly norms: 'before' | 'after'
  readonly activation: Activation
  readonly epsilon: number
  readonly compute: DType
  /** Shares zeroed in training: of what is added to the stream, and of what is taken of values. */
  readonly dropout: number
  readonly attentionDropout: number
  /** Bools: what is no padding. What is padding is not seen, and changes no bit. */
  readonly keep?: Tensor<'batch' | 'seq'>
  /** Which document a place belongs to, where there is no `keep`. Documents do not see each other. */
  readonly segments?: Tensor<'batch' | 'seq'>
}

export const norm = (x: Stream, embed: Dim<'embed'>, { gain, bias }: Scaling, epsilon: number): Stream => layerNorm(residual(x), embed, gain, bias, epsilon)
export const dropped = <D extends string>(x: Tensor<D>, key: Key | undefined, use: number, rate: number): Tensor<D> => (key === undefined || rate === 0 ? x : dropout(fold(key, use), x, rate))

/** The stream after all layers. */
export function encoded(first: Stream, blocks: EncoderBlocks, d: BlockDims, key: Key | undefined, { norms, activation, epsilon, compute, keep, segments, dropout: rate, attentionDropout }: EncoderOptions): Stream {
  const before = norms === 'before'
  const visible = keep !== undefined ? keeping(d.seq, d.kvSeq, keep.rename(d.seq, d.kvSeq)) : segments === undefined ? undefined : seeing(d.seq, d.kvSeq, { causal: false, segments })
  const [last] = scan(d.layers, residual(first), { block: blocks, index: iota(d.layers) }, (x, { block: w, index }) => {
    const own = key === undefined ? undefined : fold(key, index)
    const attended = (y: Stream): Stream => {
      const here = y.relayout('compute')
      const dropout = own === undefined || attentionDropout === 0 ? undefined : { key: fold(own, 2), rate: attentionDropout }
      const found = heads(here, here.rename(d.seq, d.kvSeq), w, d, compute, { dropout, ...(visible === undefined ? {} : { visible }) })
      return residual(found).add(w.outBias.cast(compute))
    }
    const fed = (y: Stream): Stream => {
      const up = activations[activation](linear(y.relayout('compute'), w.up, d.embed).add(w.upBias.cast(compute)))
      return residual(linear(up, w.down, d.hidden)).add(w.downBias.cast(compute))
    }
    const scaled = (y: Stream, by: Scaling): Stream => norm(y, d.embed, by, epsilon)
    const attend = x.add(dropped(attended(before ? scaled(x, w.norm1) : x), own, 0, rate))
    const y = before ? attend : scaled(attend, w.norm1)
    const feed = y.add(dropped(fed(before ? scaled(y, w.norm2) : y), own, 1, rate))
    return [before ? feed : scaled(feed, w.norm2), {}] as const
  })
  return last
}
