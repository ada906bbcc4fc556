/**
 * MaxText's decoder as it was when its table for TPU v5p was written (76bd53b of 15 December 2023, MaxText/layers): attention and feed-forward part read the same norm, and both are added; a ReLU and no gate; queries, keys and values
 * have norms of their own; one matrix of the vocabulary, whose rows are looked up by a product with ones and noughts (`use_iota_embed`).
 */
import { dims } from '../../../src/core/dim.ts'
import { initialisers, input, iota, oneHot, param, scan, type Tensor } from '../../../src/engine/index.ts'
import type { AnyModel } from '../../../src/models/index.ts'
import { nextTokenLoss, type Ids } from '../../../src/models/next-token.ts'
import { attention, linear, relu, rmsNorm, rotary, seeing } from '../../../src/nn/index.ts'

export interface Sizes { readonly vocab: number; readonly seq: number; readonly layers: number; readonly embed: number; readonly heads: number; readonly headDim: number; readonly hidden: number }
type Stream = Tensor<'batch' | 'seq' | 'embed'>
type Heads = Tensor<'batch' | 'seq' | 'heads' | 'headDim'>
type Projection = Tensor<'layers' | 'embed' | 'heads' | 'headDim'>
type Params = {
  readonly tokens: Tensor<'vocab' | 'embed'>
  readonly norm: Tensor<'embed'>
  readonly blocks: {
    readonly norm: Tensor<'layers' | 'embed'>; readonly queryNorm: Tensor<'layers' | 'headDim'>; readonly keyNorm: Tensor<'layers' | 'headDim'>; readonly valueNorm: Tensor<'layers' | 'headDim'>
    readonly query: Projection; readonly key: Projection; readonly value: Projection; readonly out: Projection
    readonly up: Tensor<'layers' | 'embed' | 'hidden'>; readonly down: Tensor<'layers' | 'embed' | 'hidden'>
  }
}

export function maxText(sizes: Sizes, batch: number): AnyModel {
  const d = dims({ ...sizes, batch, kvSeq: sizes.seq })
  const [weight, gain] = [{ dtype: 'f32', init: initialisers.normal(0.02), decays: true }, { dtype: 'f32', init: 1 }] as const
  const projection = (name: string): Projection => param(name, [d.layers, d.embed, d.heads, d.headDim], weight)
  const scale = (name: string): Tensor<'layers' | 'headDim'> => param(name, [d.layers, d.headDim], gain)
  const params: Params = {
    tokens: param('tokens', [d.vocab, d.embed], weight), norm: param('norm', [d.embed], gain),
    blocks: {
      norm: param('blocks.norm', [d.layers, d.embed], gain), queryNorm: scale('queryNorm'), keyNorm: scale('keyNorm'), valueNorm: scale('valueNorm'), query: projection('query'), key: projection('key'), value: projection('value'),
      out: param('out', [d.layers, d.heads, d.headDim, d.embed], weight), up: param('up', [d.layers, d.embed, d.hidden], weight), down: param('down', [d.layers, d.hidden, d.embed], weight),
    },
  }
  /** What lies between layers is in parts of `embed` on the devices that share one (`activation_embed`), and a norm of it, too. */
  const layouts = { residual: 'compute' } as const
  const residual = (x: Stream): Stream => x.relayout('residual', layouts.residual)
  const norm = (x: Stream, g: Tensor<'embed'>): Stream => rmsNorm(residual(x), d.embed, g).relayout('compute')
  const loss = (p: Params, { tokens, targets }: { readonly tokens: Ids; readonly targets: Ids }) => {
    const entering = residual(oneHot(tokens, d.vocab).dot(p.tokens, d.vocab))
    const [states] = scan(d.layers, entering, p.blocks, (x, w) => {
      const normed = norm(x, w.norm)
      const heads = (by: Tensor<'embed' | 'heads' | 'headDim'>): Heads => linear(normed, by, d.embed)
      const turned = (y: Heads, g: Tensor<'headDim'>): Heads => rmsNorm(rotary(y, d.headDim, iota(d.seq)), d.headDim, g)
      const keys = turned(heads(w.key), w.keyNorm).rename(d.seq, d.kvSeq)
      const values = rmsNorm(heads(w.value), d.headDim, w.valueNorm).rename(d.seq, d.kvSeq)
      const found = attention(turned(heads(w.query), w.queryNorm), keys, values, { headDim: d.headDim, kvSeq: d.kvSeq }, { visible: seeing(d.seq, d.kvSeq) })
      const attended: Stream = linear<'batch' | 'seq' | 'heads' | 'headDim', 'embed' | 'heads' | 'headDim', 'heads' | 'headDim'>(found, w.out, d.heads, d.headDim)
      const fed: Stream = linear(relu(linear(normed, w.up, d.embed)), w.down, d.hidden)
      return [residual(fed).add(residual(attended)).add(x), {}] as const
    })
    return nextTokenLoss(norm(states, p.norm).dot(p.tokens, d.embed), d.vocab, targets, { masked: false, training: true })
  }
  const ids = (name: string): Ids => input(name, [d.batch, d.seq], 'i32')
  return { params, batch: { tokens: ids('tokens'), targets: ids('targets') }, dims: d, layouts, itemsPerBatch: batch, tokensPerBatch: batch * sizes.seq, loss } as AnyModel
}
