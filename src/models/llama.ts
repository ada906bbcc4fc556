/**
 * A decoder of the Llama family (Touvron et al. 2023): RMS norms, rotary positions, gated units, heads that share keys and values. By its options
 * it is also Mistral, Qwen 2 and 3, SmolLM 2 and 3, Phi-3, Gemma 2 and 3, OLMo 2.
 */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { dropout, fold, type Key } from '../graph/random.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { input } from '../graph/input.ts'
import type { Outcome } from '../graph/outcome.ts'
import { iota, loose, tensor } from '../graph/tensor.ts'
import type { AnyTensor, Scalar, Tensor, Tree } from '../graph/types.ts'
import { attention, type Through } from '../nn/attention.ts'
import { cacheInputs, reading, type CacheSize, type Fed, type KeyValues } from '../nn/cache.ts'
import { rmsNorm } from '../nn/functional.ts'
import { linear } from '../nn/linear.ts'
import { rowsOf, weightIn, type Quantize, type Weight } from '../nn/quantize.ts'
import { turned, type Angles } from '../nn/rotary.ts'
import { softCapped } from '../nn/scores.ts'
import { seeing, type Visibility } from '../nn/visible.ts'
import { gated } from './feed-forward.ts'
import type { LlamaConfig } from './llama-config.ts'
import { llamaDims, llamaParameters, llamaQuantized, type LlamaBlockWeights, type LlamaDims, type LlamaParams, type LlamaWeights } from './llama-params.ts'
import { turning } from './llama-turning.ts'
import type { Extended } from './language.ts'
import { inFull, type Model, type Precision } from './model.ts'
import { layersOf, toldOf } from './pipelined.ts'
import { blocksOf, ignore, nextTokenLoss, type Extras, type GptBatch, type GptBatchOf, type Ids, type Inputs } from './next-token.ts'

type Stream = Tensor<'batch' | 'seq' | 'embed'>
/** The layout that a decoder names: of the stream between the layers, its norms and sums. With `seq` on the axis of heads and `hidden` it is Megatron's sequence parallelism. */
export const llamaLayouts: { readonly residual: 'compute' } = { residual: 'compute' }

export type Llama<B extends GptBatch = GptBatch> = Omit<Model<LlamaParams, B, keyof LlamaDims, typeof llamaLayouts>, 'loss' | 'logits'> & {
  readonly dims: LlamaDims
  readonly layouts: typeof llamaLayouts
  readonly tokensPerBatch: number
  /** How many tokens a token sees, itself among them, where every layer has a window. */
  readonly window?: number
  /** batch seq vocab. */
  readonly logits: (params: LlamaWeights, batch: Omit<B, 'targets'>) => Tensor<'batch' | 'seq' | 'vocab'>
  /** What logits are made of, behind the last norm: batch seq embed. */
  readonly states: (params: LlamaWeights, batch: Omit<B, 'targets'>) => Tensor<'batch' | 'seq' | 'embed'>
  readonly cache: (size: CacheSize, dtype: DType) => KeyValues
  readonly extend: (params: LlamaWeights, cache: KeyValues, fed: Fed, size: CacheSize) => Extended
  readonly head: (params: LlamaWeights, states: AnyTensor) => Tensor<string>
  readonly loss: (params: LlamaWeights, batch: B, key?: Key) => Outcome
  /** What is contracted, in few bits: along the dim that is. Norms and biases stay. */
  readonly quantized: (params: LlamaParams, how: Quantize) => LlamaWeights
}

/** More positions than there are in any window. */
const everything = 2 ** 30
/** A decoder for batches of `batch` windows, precision as `gpt` has it. */
export function llama<const C extends LlamaConfig>(config: C, batch: number, { params: rest, compute }: Precision = inFull): Llama<GptBatchOf<C>> {
  const c: LlamaConfig = config
  const d = llamaDims(c, batch)
  const params = llamaParameters(c, d, rest)
  const layers = layersOf(c, d.layers)
  const masked = c.masked || c.packed
  const gain = <D extends string>(g: Tensor<D>): Tensor<D> => (c.gainsFromOne ? g.cast(sumsIn(g.dtype)).add(1) : g)
  const residual = (x: Stream): Stream => x.relayout('residual', llamaLayouts.residual)
  const entering = (x: Stream, g: Tensor<'embed'> | undefined): Stream => (g === undefined ? x : rmsNorm(residual(x), d.embed, gain(g), c.epsilon).relayout('compute'))
  const leaving = (x: Stream, g: Tensor<'embed'> | undefined): Stream => (g === undefined ? x : rmsNorm(x, d.embed, gain(g), c.epsilon))
  const drop = (x: Stream, key: Key | undefined, use: number): Stream => (key === undefined ? x : dropout(fold(key, use), x, c.dropout))

  const attended = (x: Stream, w: LlamaBlockWeights<never>, angles: Angles | undefined, visible: Visibility, key: Key | undefined, through: Through): Stream => {
    const projected = <E extends string>(weight: Weight<E>, bias: AnyTensor | undefined): Tensor<string> => {
      const y: Tensor<string> = linear(loose(x), weight as unknown as Weight<string>, d.embed.name)
      return bias === undefined ? y : y.add(loose(bias).cast(compute))
    }
    const normed = (y: Tensor<string>, g: AnyTensor | undefined): Tensor<string> =>
      (g === undefined ? y : rmsNorm(y, y.shape.filter((dim: Dim) => g.shape.some(e => e.name === dim.name)).map(dim => dim.name), gain(loose(g)), c.epsilon))
    const placed = (y: Tensor<string>): Tensor<string> => (angles === undefined ? y : turned(y, d.headDim.name, angles))
    const query = placed(normed(projected(w.query, w.queryBias), w.queryNorm))
    const { keys, values } = through(placed(normed(projected(w.key, w.keyBias), w.keyNorm)), projected(w.value, w.valueBias))
    const dropped = key === undefined || c.attentionDropout === 0 ? undefined : { key: fold(key, 3), rate: c.attentionDropout }
    const found = attention(query, keys, values, { headDim: d.headDim.name as string, kvSeq: d.kvSeq.name as string }, { visible, ...(visible.kvSeq === d.kvSeq ? blocksOf(c) : {}), ...(c.scale === undefined ? {} : { scale: c.scale }), ...(c.scoreCap === undefined ? {} : { softCap: c.scoreCap }), dropout: dropped })
    return tensor(linear(loose(found), w.out as unknown as Weight<string>, d.kvHeads.name, d.group.name, d.headDim.name).node)
  }
  const plus = (x: Stream, bias: Tensor<'embed'> | undefined): Stream => (bias === undefined ? x : x.add(bias.cast(compute)))

  /** How layers attend: to what stands in the window, or through a cache, which they carry along. */
  interface Memory<C extends Tree> { readonly carried: C; readonly visible: (window: Scalar | number | undefined) => Visibility; readonly through: (layer: Scalar, carried: C, keys: Tensor<string>, values: Tensor<string>) => { readonly keys: Tensor<string>; readonly values: Tensor<string>; readonly carried: C } }
  /** What enters the layers, what they are walked with, and one of them. */
  const walking = (p: LlamaWeights, { tokens, positions }: Inputs, key: Key | undefined) => {
    const rows = residual(weightIn(rowsOf(p.tokens, d.vocab, tokens), d.embed, rest))
    const embedded = drop((c.embedScale === 1 ? rows : rows.mul(c.embedScale)).cast(compute), key, 0)
    const { kinds, anglesOf } = turning(c, d, layers, positions ?? iota(d.seq))
    const windowOf = (layer: number): number => (c.window === undefined || c.unwindowed.includes(layer) ? everything : c.window)
    const windows = layers.differing(windowOf)
    const same = windowOf(0) < c.seq ? windowOf(0) : undefined
    const own = { index: layers.index, ...(kinds === undefined ? {} : { kind: kinds }), ...(windows === undefined ? {} : { window: windows }) }
    // Which leaves a block has is for the configuration to say.
    const stacked: Tree = { block: p.blocks as Tree, own: own as Tree }
    const step = <C extends Tree>(x: Stream, walked: unknown, before: C, { visible, through }: Omit<Memory<C>, 'carried'>): { readonly x: Stream; readonly carried: C } => {
      const { block: w, own: { index, kind, window } } = walked as unknown as { block: LlamaBlockWeights<never>; own: { index: Scalar; kind?: Scalar; window?: Scalar } }
      const k = key === undefined ? undefined : fold(key, index)
      let after = before
      const stored: Through = (ks, vs) => { const found = through(index, before, ks, vs); after = found.carried; return found }
      const y = x.add(drop(leaving(plus(residual(attended(entering(x, w.norm1), w, anglesOf(kind), visible(window ?? same), k, stored)), w.outBias), w.norm1After), k, 1))
      const z = y.add(drop(leaving(plus(residual(gated(entering(y, w.norm2), w, d, c.activation, compute)), w.downBias), w.norm2After), k, 2))
      return { x: z, carried: after }
    }
    return { embedded, stacked, step }
  }
  const inWindow = ({ segments }: Inputs): Omit<Memory<Record<never, never>>, 'carried'> => {
    const atKeys = (y: Tensor<string>): Tensor<string> => y.rename(d.seq.name as string, d.kvSeq.name)
    return {
      through: (_, carried, keys, values) => ({ keys: atKeys(keys), values: atKeys(values), carried }),
      visible: window => seeing(d.seq, d.kvSeq, { ...(window === undefined ? {} : { window }), ...(segments === undefined ? {} : { segments }) }),
    }
  }
  const hidden = (p: LlamaWeights, given: Inputs, key: Key | undefined): Stream => {
    const { embedded, stacked, step } = walking(p, given, key)
    return entering(layers.through(embedded, stacked, (x, now) => step(x, now, {}, inWindow(given)).x), p.norm)
  }
  const logitsOf = <D extends string>(x: Tensor<D | 'embed'>, p: LlamaWeights): Tensor<Exclude<D, 'embed'> | 'vocab'> => {
    const made: Tensor<string> = loose(x).dot(weightIn<'vocab' | 'embed', 'embed'>((p.head ?? p.tokens) as Weight<'vocab' | 'embed'>, d.embed, compute), d.embed.name)
    return tensor((c.logitCap === undefined ? made : softCapped(made, c.logitCap)).node)
  }
  const loss = (p: LlamaWeights, { targets, ...given }: GptBatch & Inputs, key?: Key): Outcome => {
    const { embedded, stacked, step } = walking(p, given, c.dropout > 0 || c.attentionDropout > 0 ? key : undefined)
    return layers.loss(embedded, stacked, (x, now) => step(x, now, {}, inWindow(given)).x, { targets }, (x, { targets }) => nextTokenLoss(logitsOf(entering(x, p.norm), p), d.vocab, targets, { masked, training: key !== undefined }))
  }
  const ids = (name: string): Ids => input(name, [d.batch, d.seq], 'i32')
  const made: Llama<GptBatch & Partial<Extras>> = {
    dims: d as Required<LlamaDims>, layouts: llamaLayouts, params,
    ...(c.window !== undefined && c.unwindowed.length === 0 && c.window < c.seq ? { window: c.window } : {}),
    batch: { tokens: ids('tokens'), targets: ids('targets'), ...(c.packed ? { segments: ids('segments'), positions: ids('positions') } : {}) },
    ...(masked ? { ignored: ignore } : {}),
    linear: {
      'blocks.query': ['embed'], 'blocks.key': ['embed'], 'blocks.value': ['embed'], 'blocks.out': ['kvHeads', 'group', 'headDim'], 'blocks.gate': ['embed'], 'blocks.up': ['embed'], 'blocks.down': ['hidden'],
    },
    itemsPerBatch: batch,
    ...toldOf(c),
    tokensPerBatch: batch * c.seq,
    logits: (p, given) => logitsOf(hidden(p, given, undefined), p),
    states: (p, given) => hidden(p, given, undefined),
    cache: (size, dtype) => cacheInputs(size, [d.kvHeads, d.headDim], dtype),
    extend: (p, cache, fed, size) => {
      const read = reading(size, fed, d.kvSeq.name)
      const { embedded, stacked, step } = walking(p, fed as unknown as Inputs, undefined)
      const memory: Omit<Memory<KeyValues>, 'carried'> = { visible: read.visible, through: (layer, before, ks, vs) => { const { keys, values, cache: after } = read.through(layer, before, ks, vs); return { keys, values, carried: after } } }
      const { x, carried } = layers.walk({ x: embedded, carried: cache }, stacked, ({ x, carried }, now) => step(x, now, carried, memory))
      return { states: entering(x, p.norm), cache: carried } as unknown as Extended
    },
    head: (p, states) => logitsOf(loose(states), p) as Tensor<string>,
    loss,
    quantized: (p, how) => llamaQuantized(p, d, how),
  }
  // Which of the extras there are is what the configuration's type says.
  return made as unknown as Llama<GptBatchOf<C>>
}
