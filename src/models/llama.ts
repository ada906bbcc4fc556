/**
 * A decoder of the Llama family (Touvron et al. 2023): RMS norms, rotary positions, gated units, heads that share keys and values. By its options
 * it is also Mistral, Qwen 2 and 3, SmolLM 2 and 3, Phi-3, Gemma 2 and 3, OLMo 2; with experts Mixtral, Qwen 2 and 3 of experts, OLMoE, dots.1, DeepSeek-V2 and V3.
 */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { dropout, fold, type Key } from '../graph/random.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { input } from '../graph/input.ts'
import { scan } from '../graph/scan.ts'
import type { Outcome, Updates } from '../graph/outcome.ts'
import { slice } from '../graph/rearrange.ts'
import { iota, loose, mapTree, tensor } from '../graph/tensor.ts'
import type { AnyTensor, Scalar, Tensor, Tree } from '../graph/types.ts'
import { attention, type Through } from '../nn/attention.ts'
import { cacheInputs, reading, type CacheSize, type Fed, type KeyValues } from '../nn/cache.ts'
import { rmsNorm } from '../nn/functional.ts'
import type { Usage } from '../nn/moe/index.ts'
import { linear } from '../nn/linear.ts'
import { numbersAlong } from '../nn/numbers.ts'
import { rowsOf, weightIn, type Quantize, type Weight } from '../nn/quantize.ts'
import { turned, type Angles } from '../nn/rotary.ts'
import { softCapped } from '../nn/scores.ts'
import { seeing, type Visibility } from '../nn/visible.ts'
import { carriedUsage } from './carried-usage.ts'
import { balance, biasAfter, routed, type RoutedWeights, type UsageOfLayers } from './experts.ts'
import { gated, type GatedWeights } from './feed-forward.ts'
import type { ExpertsConfig } from './experts-config.ts'
import type { LlamaConfig } from './llama-config.ts'
import { llamaDims, llamaParameters, llamaQuantized, stagesOf, type LlamaBlockWeights, type LlamaDims, type LlamaParams, type LlamaWeights, type StackOfLayers } from './llama-params.ts'
import { latentHeads, latentLinear, latentOut, type LatentWeights } from './latent.ts'
import { turning } from './llama-turning.ts'
import { headLoss } from './head-loss.ts'
import { allLayouts, decoderLayouts, orderOf, type DecoderLayouts } from './in-context.ts'
import type { Extended } from './language.ts'
import { inFull, type Model, type Precision } from './model.ts'
import { layersBefore, layersOf, toldOf } from './pipelined.ts'
import { blocksOf, ignore, nextTokenLoss, type Extras, type GptBatch, type GptBatchOf, type Ids, type Inputs } from './next-token.ts'

type Stream = Tensor<'batch' | 'seq' | 'embed'>
/** The layouts that it names: `residual` of the stream between the layers, its norms and sums, and `attention` of sequences while they are attended to, where there is a `context`. With `seq` on the axis of heads and `hidden` the former is Megatron's sequence parallelism. */
export const llamaLayouts: DecoderLayouts = allLayouts

export type Llama<B extends GptBatch = GptBatch> = Omit<Model<LlamaParams, B, keyof LlamaDims, DecoderLayouts>, 'loss' | 'logits'> & {
  readonly dims: LlamaDims
  readonly layouts: DecoderLayouts
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

const biasPath = 'blocks.routerBias'
/** With the losses that keep experts evenly used; and in training, for the biases that do, what experts were used. */
function balanced(c: ExpertsConfig, outcome: Outcome, usage: UsageOfLayers, training: boolean): Outcome {
  const { loss, metrics } = balance(c, usage)
  return { ...outcome, loss: c.balance === 0 && c.zLoss === 0 ? outcome.loss : outcome.loss.add(loss.cast(outcome.loss.dtype)), ...(training ? {} : { metrics: { ...outcome.metrics, ...metrics } }), ...(training && c.biasRate !== undefined ? { updates: { [biasPath]: usage.load } } : {}) }
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
  const layouts = decoderLayouts(c.context)
  // Keys of a sequence that is split lie as it does.
  const kvSeq: Dim = c.context === undefined ? d.kvSeq : d.seq
  const gain = <D extends string>(g: Tensor<D>): Tensor<D> => (c.gainsFromOne ? g.cast(sumsIn(g.dtype)).add(1) : g)
  const residual = (x: Stream): Stream => x.relayout('residual', layouts.residual)
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
    const dropped = key === undefined || c.attentionDropout === 0 ? undefined : { key: fold(key, 3), rate: c.attentionDropout }
    const found = (query: Tensor<string>, { keys, values }: ReturnType<Through>): Tensor<string> =>
      loose(attention(query, keys, values, { headDim: d.headDim.name as string, kvSeq: visible.kvSeq.name }, { visible, ...(visible.kvSeq === kvSeq ? { ...blocksOf(c), context: c.context } : {}), ...(c.scale === undefined ? {} : { scale: c.scale }), ...(c.scoreCap === undefined ? {} : { softCap: c.scoreCap }), dropout: dropped }))
    if ('latentDown' in w && c.latent !== undefined) {
      const { query, keys, values } = latentHeads(loose(x), w, d, c.latent, angles)
      return tensor(latentOut(found(query, through(keys, values)), w, d).node)
    }
    const own = w as Exclude<LlamaBlockWeights<never>, LatentWeights<never>>
    const query = placed(normed(projected(own.query, own.queryBias), own.queryNorm))
    const read = through(placed(normed(projected(own.key, own.keyBias), own.keyNorm)), projected(own.value, own.valueBias))
    return tensor(linear(found(query, read), own.out as unknown as Weight<string>, d.kvHeads.name, d.group.name, d.headDim.name).node)
  }
  const plus = (x: Stream, bias: Tensor<'embed'> | undefined): Stream => (bias === undefined ? x : x.add(bias.cast(compute)))

  /** How layers attend: to what stands in the window, or through a cache, which they carry along. */
  interface Memory<C extends Tree> { readonly carried: C; readonly visible: (window: Scalar | number | undefined) => Visibility; readonly through: (layer: Scalar, carried: C, keys: Tensor<string>, values: Tensor<string>) => { readonly keys: Tensor<string>; readonly values: Tensor<string>; readonly carried: C }; readonly writing?: boolean; readonly apart?: readonly string[] }
  type State = { readonly x: Stream; readonly carried: Tree }
  /** What enters the layers, what each of them is given, and one of them. */
  const walking = <C extends Tree>(p: LlamaWeights, { tokens, positions }: Inputs, key: Key | undefined, { visible, through, writing = false, apart = [] }: Omit<Memory<C>, 'carried'>) => {
    const embedded = (): Stream => {
      const rows = residual(weightIn(rowsOf(p.tokens, d.vocab, tokens), d.embed, rest))
      return drop((c.embedScale === 1 ? rows : rows.mul(c.embedScale)).cast(compute), key, 0)
    }
    const { kindOf, kinds, anglesOf } = turning(c, d, layers, positions ?? iota(d.seq))
    const windowOf = (layer: number): number => (c.window === undefined || c.unwindowed.includes(layer) ? everything : c.window)
    const windows = layers.differing(windowOf)
    const same = windowOf(0) < c.seq ? windowOf(0) : undefined
    const fed = (x: Stream, w: LlamaBlockWeights<never>): { readonly value: Stream; readonly usage: Tree } => {
      if (!('router' in w) || c.experts === undefined) return { value: gated(x, w as GatedWeights<never>, d, c.activation, compute), usage: {} }
      const { value, usage } = routed(loose(x), w as RoutedWeights<never>, { config: c.experts, d, activation: c.activation, compute, writing, apart })
      return { value: tensor(value.node), usage }
    }
    const stackedIn = ({ name, from, over }: StackOfLayers): Tree => {
      const all = over.name === d.layers.name && over.size === d.layers.size
      const before = over.name !== d.layers.name
      const part = (of: Tensor<'layers'>, f: (layer: number) => number): Tensor<'layers'> => (all ? of : before ? numbersAlong(over, Array.from({ length: over.size }, (_, i) => f(i)), 'i32') : slice(of, over, { start: from, end: from + over.size }))
      const own = { index: all ? layers.index : from === 0 ? iota(over) : iota(over).add(from), ...(kinds === undefined ? {} : { kind: part(kinds, kindOf) }), ...(windows === undefined ? {} : { window: part(windows, windowOf) }) }
      return { block: p[name] as Tree, own: own as Tree }
    }
    const step = ({ x, carried: before }: State, walked: unknown): readonly [State, Tree] => {
      // Which leaves a block has is for the configuration to say.
      const { block: w, own: { index, kind, window } } = walked as { block: LlamaBlockWeights<never>; own: { index: Scalar; kind?: Scalar; window?: Scalar } }
      const k = key === undefined ? undefined : fold(key, index)
      let after = before as C
      const stored: Through = (ks, vs) => { const found = through(index, before as C, ks, vs); after = found.carried; return found }
      const y = x.add(drop(leaving(plus(residual(attended(entering(x, w.norm1), w, anglesOf(kind), visible(window ?? same), k, stored)), w.outBias), w.norm1After), k, 1))
      const { value, usage: own } = fed(entering(y, w.norm2), w)
      const z = y.add(drop(leaving(plus(residual(value), (w as { readonly downBias?: Tensor<'embed'> }).downBias), w.norm2After), k, 2))
      return [{ x: z, carried: after as Tree }, own]
    }
    return { embedded, stackedIn, step }
  }
  /** All layers, one after another. */
  const walk = <C extends Tree>(p: LlamaWeights, given: Inputs, key: Key | undefined, { carried, ...memory }: Memory<C>): { readonly states: Stream; readonly carried: C; readonly usage: Tree } => {
    const { embedded, stackedIn, step } = walking(p, given, key, memory)
    let [state, usage]: [State, Tree] = [{ x: embedded(), carried }, {}]
    for (const part of stagesOf(c)) {
      if (c.pipeline !== undefined && part.name === 'blocks') state = layers.walk(state, stackedIn(part), (now, layer) => step(now, layer)[0])
      else [state, usage] = scan(part.over, state, stackedIn(part), step) as readonly [State, Tree]
    }
    return { states: entering(state.x, p.norm), carried: state.carried as C, usage }
  }
  const order = orderOf(c.context, d.seq)
  /** In the order that the model computes in. */
  const inWindow = ({ segments }: Inputs): Memory<Record<never, never>> => {
    const atKeys = (y: Tensor<string>): Tensor<string> => (kvSeq === d.seq ? y : y.rename(d.seq.name as string, kvSeq.name))
    return {
      carried: {}, through: (_, carried, keys, values) => ({ keys: atKeys(keys), values: atKeys(values), carried }),
      visible: window => seeing(d.seq, kvSeq, { ...(window === undefined ? {} : { window }), ...(segments === undefined ? {} : { segments }) }),
    }
  }
  /** What goes through a pipeline: the stream, and how its experts were used. */
  type Piped = { readonly x: Stream; readonly used?: Tensor<string> }
  const carrying = c.experts === undefined ? undefined : carriedUsage(c.experts.count, { name: 'layers', size: c.layers - c.experts.dense }, d.batch, sumsIn(compute))
  /** Of a pipeline what enters the layers, what they are given and what each does. */
  const piped = (p: LlamaWeights, given: Inputs, key: Key | undefined): { readonly entering: () => Piped; readonly stacked: Tree; readonly step: (x: Piped, layer: unknown) => Piped } => {
    const { embedded, stackedIn, step } = walking(p, given, key, { ...inWindow(given), apart: [d.batch.name] })
    const stacks = stagesOf(c)
    /** What the layers before make of the embedding. */
    const begun = (): Stream => stacks.filter(s => s.name === 'first').reduce((x, s) => scan(s.over, { x, carried: {} } as State, stackedIn(s), step)[0].x, embedded())
    return {
      entering: () => ({ x: begun(), ...(carrying === undefined ? {} : { used: carrying.none() }) }), stacked: { blocks: stacks.filter(s => s.name === 'blocks').map(stackedIn) },
      step: ({ x: before, used }, layer) => {
        const [walked] = (layer as { readonly blocks: readonly { readonly own: { readonly index: Scalar } }[] }).blocks
        const [{ x }, usage] = step({ x: before, carried: {} }, walked)
        return { x, ...(carrying === undefined || used === undefined || walked === undefined ? {} : { used: carrying.written(used, usage as Usage<string>, layersBefore(c) === 0 ? walked.own.index : walked.own.index.sub(layersBefore(c))) }) }
      },
    }
  }
  const usedIn = ({ used }: Piped): Tree => (carrying === undefined || used === undefined ? {} : carrying.of(used))
  const walked = (p: LlamaWeights, unordered: Inputs, key: Key | undefined): { readonly states: Stream; readonly usage: Tree } => {
    const given = order.inputs(unordered)
    if (c.pipeline === undefined) return walk(p, given, key, inWindow(given))
    const { entering: begin, stacked, step } = piped(p, given, key)
    return { states: entering(layers.through(begin(), stacked, step).x, p.norm), usage: {} }
  }
  const headOf = (p: LlamaWeights): Tensor<'vocab' | 'embed'> => weightIn<'vocab' | 'embed', 'embed'>((p.head ?? p.tokens) as Weight<'vocab' | 'embed'>, d.embed, compute)
  const logitsOf = <D extends string>(x: Tensor<D | 'embed'>, p: LlamaWeights): Tensor<Exclude<D, 'embed'> | 'vocab'> => {
    const made: Tensor<string> = loose(x).dot(headOf(p), d.embed.name)
    return tensor((c.logitCap === undefined ? made : softCapped(made, c.logitCap)).node)
  }
  const logits = (p: LlamaWeights, given: Inputs): Tensor<'batch' | 'seq' | 'vocab'> => logitsOf(walked(p, given, undefined).states, p)
  const ids = (name: string): Ids => input(name, [d.batch, d.seq], 'i32')
  const made: Llama<GptBatch & Partial<Extras>> = {
    dims: d as Required<LlamaDims>, layouts, params,
    ...(c.window !== undefined && c.unwindowed.length === 0 && c.window < c.seq ? { window: c.window } : {}),
    batch: { tokens: ids('tokens'), targets: ids('targets'), ...(c.packed ? { segments: ids('segments'), positions: ids('positions') } : {}) },
    ...(masked ? { ignored: ignore } : {}),
    linear: Object.fromEntries(stagesOf(c).flatMap(({ name, routed: of }) => [
      ...(c.latent === undefined ? [...['query', 'key', 'value'].map(w => [w, ['embed']] as const), ['out', ['kvHeads', 'group', 'headDim']] as const] : Object.entries(latentLinear(c.latent))),
      // Of experts each is a layer of its own: they are not adapted.
      ...(of ? (c.experts?.shared ?? 0) === 0 ? [] : [['shared.gate', ['embed']], ['shared.up', ['embed']], ['shared.down', ['sharedHidden']]] as const : [['gate', ['embed']], ['up', ['embed']], ['down', ['hidden']]] as const),
    ].map(([w, over]) => [`${name}.${w}`, over]))),
    itemsPerBatch: batch,
    ...toldOf(c),
    tokensPerBatch: batch * c.seq,
    logits: (p, given) => order.back(logits(p, given)),
    states: (p, given) => order.back(walked(p, given, undefined).states),
    cache: (size, dtype) => cacheInputs(size, [d.kvHeads, d.headDim], dtype),
    extend: (p, cache, fed, size) => {
      const read = reading(size, fed, d.kvSeq.name)
      const { states, carried } = walk(p, fed as unknown as Inputs, undefined, {
        carried: cache, visible: read.visible, writing: true, through: (layer, before, ks, vs) => { const { keys, values, cache: after } = read.through(layer, before, ks, vs); return { keys, values, carried: after } },
      })
      return { states, cache: carried } as unknown as Extended
    },
    head: (p, states) => logitsOf(loose(states), p) as Tensor<string>,
    loss: (p, { targets, ...given }, key) => {
      const drawn = c.dropout > 0 || c.attentionDropout > 0 ? key : undefined
      if (c.pipeline !== undefined) {
        const { entering: begin, stacked, step } = piped(p, order.inputs(given), drawn)
        const { updates, ...outcome } = layers.loss(begin, stacked, step, { targets: order.targets(targets) }, (out, { targets }) => {
          const outcome = nextTokenLoss(logitsOf(entering(out.x, p.norm), p), d.vocab, targets, { masked, training: key !== undefined })
          return c.experts === undefined ? outcome : balanced(c.experts, outcome, usedIn(out) as UsageOfLayers, key !== undefined)
        })
        // In the loss all stages have it, and none may lie as layers do.
        return updates === undefined ? outcome : { ...outcome, updates: mapTree(updates, u => layers.resting(loose(u))) }
      }
      const { states, usage } = walked(p, given, drawn)
      const how = { masked, training: key !== undefined, pipeline: false }
      const outcome = c.logitCap === undefined ? headLoss({ states, weights: () => headOf(p), logits: x => logitsOf(x, p) }, d, order.targets(targets), how) : nextTokenLoss(logitsOf(states, p), d.vocab, order.targets(targets), how)
      return c.experts === undefined ? outcome : balanced(c.experts, outcome, usage as UsageOfLayers, key !== undefined)
    },
    ...(c.experts?.biasRate === undefined ? {} : { settled: (p: LlamaParams, { [biasPath]: load }: Updates): Updates => (load === undefined ? {} : { [biasPath]: biasAfter(c.experts as ExpertsConfig, (p.blocks as RoutedWeights<'layers'>).routerBias ?? load, load) }) }),
    quantized: (p, how) => llamaQuantized(p, d, how),
  }
  // Which of the extras there are is what the configuration's type says.
  return made as unknown as Llama<GptBatchOf<C>>
}
