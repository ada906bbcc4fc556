/** The layers of encoders in which all sees all: attention and a feed-forward net with biases, norms before each (ViT) or after its sum (BERT). */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { initialisers, param } from '../graph/param.ts'
import { dropout, fold, type Key } from '../graph/random.ts'
import { scan } from '../graph/scan.ts'
import { broadcast, iota, loose, tensor } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'
import { gelu, geluExact, relu, silu } from '../nn/activations.ts'
import { attention } from '../nn/attention.ts'
import { layerNorm } from '../nn/functional.ts'

export type Stream = Tensor<'batch' | 'seq' | 'embed'>
export type BlockDims = { readonly [N in 'batch' | 'seq' | 'kvSeq' | 'embed' | 'heads' | 'headDim' | 'hidden' | 'layers']: Dim<N> }

/** Functions of a feed-forward net; `geluTanh` is GPT-2's approximation. */
export const activations = { gelu: geluExact, geluTanh: gelu, relu, silu } as const
export type Activation = keyof typeof activations
export const activationNames: readonly [Activation, ...Activation[]] = ['gelu', 'geluTanh', 'relu', 'silu']

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

export interface EncoderOptions {
  /** Where the norms are: before attention and the feed-forward net, or after their sums with the stream. */
  readonly norms: 'before' | 'after'
  readonly activation: Activation
  readonly epsilon: number
  readonly compute: DType
  /** Shares zeroed in training: of what is added to the stream, and of what queries take of values. */
  readonly dropout: number
  /** What sees what, over `batch`, `seq` and `kvSeq`; everything unless said. What is not seen changes no bit. */
  readonly visible?: Tensor<'batch' | 'seq' | 'kvSeq'>
}

export const norm = (x: Stream, embed: Dim<'embed'>, { gain, bias }: Scaling, epsilon: number): Stream => layerNorm(residual(x), embed, gain, bias, epsilon)
export const dropped = <D extends string>(x: Tensor<D>, key: Key | undefined, use: number, rate: number): Tensor<D> => (key === undefined || rate === 0 ? x : dropout(fold(key, use), x, rate))

/** The stream after all layers. */
export function encoded(first: Stream, blocks: EncoderBlocks, d: BlockDims, key: Key | undefined, { norms, activation, epsilon, compute, visible, dropout: rate }: EncoderOptions): Stream {
  const before = norms === 'before'
  const seen = visible === undefined ? {} : { visible, isolate: true }
  const [last] = scan(d.layers, residual(first), { block: blocks, index: iota(d.layers) }, (x, { block: w, index }) => {
    const own = key === undefined ? undefined : fold(key, index)
    const attended = (y: Stream): Stream => {
      const here = y.relayout('compute')
      const made = <S extends 'seq' | 'kvSeq'>(from: Tensor<'batch' | S | 'embed'>, weight: Tensor<'heads' | 'headDim' | 'embed'>, bias: Tensor<'heads' | 'headDim'> | undefined): Tensor<'batch' | S | 'heads' | 'headDim'> => {
        const found = loose(from.dot(weight.cast(compute), d.embed))
        return tensor((bias === undefined ? found : found.add(loose(bias.cast(compute)))).node)
      }
      const there = here.rename(d.seq, d.kvSeq)
      const found = attention(made(here, w.query, w.queryBias), made(there, w.key, w.keyBias), made(there, w.value, w.valueBias), d, seen)
      return residual(found.dot(w.out.cast(compute), d.heads, d.headDim)).add(w.outBias.cast(compute))
    }
    const fed = (y: Stream): Stream => {
      const up = activations[activation](y.relayout('compute').dot(w.up.cast(compute), d.embed).add(w.upBias.cast(compute)))
      return residual(up.dot(w.down.cast(compute), d.hidden)).add(w.downBias.cast(compute))
    }
    const scaled = (y: Stream, by: Scaling): Stream => norm(y, d.embed, by, epsilon)
    const attend = x.add(dropped(attended(before ? scaled(x, w.norm1) : x), own, 0, rate))
    const y = before ? attend : scaled(attend, w.norm1)
    const feed = y.add(dropped(fed(before ? scaled(y, w.norm2) : y), own, 1, rate))
    return [before ? feed : scaled(feed, w.norm2), {}] as const
  })
  return last
}

/** What sees what where some tokens are padding: all see all that is none. */
export const seenBy = (keep: Tensor<'batch' | 'seq'>, seq: Dim<'seq'>): Tensor<'batch' | 'seq' | 'kvSeq'> => broadcast(keep.rename('seq', 'kvSeq'), [seq])
