/** Layers of `nn` in random programs: attention of every kind, positions, norms over a batch, linear layers of every kind of weight. Of registry.ts; by the same rules. */
import { dim, full, iota, keyOf, loose, type Dim } from '../../src/engine/index.ts'
import {
  attention, balancedBias, balanceLoss, batchNorm, crossAttention, linear, localAttention, lora, moe, relativeBuckets, rotary, rotaryFrequencies, seeing, selfAttention, softCapped, talkingHeadsAttention, zigzag, zLoss, type Context, type LinearWeight, type MoeDims, type MoeOptions, type MoeWeights, type RotaryScaling, type ScoreOptions, type Visibility,
} from '../../src/nn/index.ts'
import { along, mean, one, others, scalar, spread, weights } from './making.ts'
import type { Making, Op, Step, T } from './program.ts'

/** Dims that neither these tensors have nor each other. */
const frees = (m: Making, n: number, sizes: readonly number[], ...besides: readonly T[]): Dim[] =>
  sizes.reduce<Dim[]>((found, size, i) => [...found, m.free(n + i, size, ...besides, loose(full(0, found)))], [])
/** Documents of two positions each along a dim, the same in all others that are given. */
const documents = (m: Making, over: Dim, rest: readonly Dim[]): T => m.wide(loose(iota(over)).cast(m.dtype).mul(0.5).floor(), m.ones([over, ...rest])).cast('i32')

/** What sees what, along a dim of x. */
function visibility(x: T, over: Dim, keys: Dim, s: Step, m: Making): Visibility {
  const among = x.shape.filter(d => d.name !== over.name).slice(0, s.dim % 2)
  const causal = s.x % 3 !== 0
  const size = 1 + s.y % 3
  return m.pick([
    () => seeing(over, keys, { causal }), () => seeing(over, keys, { causal, window: size }), () => seeing(over, keys, { causal, window: scalar(m.ints(s.y).max().maximum(1)) }),
    () => seeing(over, keys, { causal, segments: documents(m, over, among) }), () => seeing(over, keys, { prefix: documents(m, over, among).less(1), ...(causal ? { window: size } : {}) }),
    () => seeing(over, keys, { causal, window: size, segments: documents(m, over, among) }),
  ], s.way)()
}
/** How scores are made; a bias of x, which has a gradient. */
function scoring(x: T, over: Dim, keys: Dim, s: Step, m: Making): ScoreOptions {
  const near = mean(x, others(x, over.name))
  const bias = m.pick([() => near, () => near.rename(over.name, keys.name as never), () => { const far = near.sin().rename(over.name, keys.name as never); return m.wide(near, far).mul(m.wide(far, near)) }], s.way)
  return {
    ...(s.way % 4 === 3 ? {} : { block: 1 + s.dim % 5 }), ...(s.way % 5 === 4 ? { softCap: 0.8 } : {}), ...(s.x % 5 === 3 ? { scale: 0.3 } : {}), ...(s.y % 3 === 1 ? { bias: bias() } : {}),
    ...(s.x % 7 === 5 ? { dropout: { key: keyOf(scalar(full(s.way, [], 'i32'))), rate: 0.4 } } : {}),
  }
}
/** A dim more than x has, of constant weights: attention along `d`. Whole numbers tell how it is laid out, as heads and keys may be split. */
const attending = (x: T, d: string, s: Step, m: Making, f: (x: T, w: { query: T; key: T; value: T; out: T }, d: { seq: Dim; kvSeq: Dim; embed: Dim; heads: Dim; headDim: Dim }) => T): T => {
  if (x.shape.length > 3) return x
  const size = x.shape.find(e => e.name === d)?.size ?? 1
  const [embed, headDim] = [dim('attended', 2), dim('attendedDim', 2)]
  const [heads, kvSeq] = frees(m, s.y, [2, size], x) as [Dim, Dim]
  const projection = (k: number): T => weights(m, [embed, heads, headDim], k)
  return f(spread(x, embed, m), { query: projection(0.5), key: projection(-0.4), value: projection(0.6), out: projection(0.7) }, { seq: dim(d, size), kvSeq, embed, heads, headDim }).sum(embed.name).mul(0.5)
}

const scalings: readonly (RotaryScaling | 'none')[] = [
  'none', { type: 'linear', factor: 4 }, { type: 'dynamic', factor: 2, original: 4 }, { type: 'yarn', factor: 4, original: 8, betaFast: 1, betaSlow: 0.2 }, { type: 'llama3', factor: 4, original: 8, low: 1, high: 3 },
  { type: 'longrope', factor: 4, original: 4, short: [1, 1.2, 1.4, 1.6], long: [2, 2.4, 2.8, 3.2] },
]
const frequenciesOf = (size: number, s: Step, m: Making): ReturnType<typeof rotaryFrequencies> => {
  const scaling = m.pick(scalings, s.way)
  if (scaling === 'none') return rotaryFrequencies({ size, base: 10, seq: 4 })
  const own = scaling.type === 'longrope' ? { ...scaling, short: scaling.short.slice(0, size / 2), long: scaling.long.slice(0, size / 2) } : scaling
  // The base of `dynamic` grows by a power of size / (size − 2).
  return rotaryFrequencies({ size, base: 10, seq: 4 + s.y % 9, scaling: size === 2 && own.type === 'dynamic' ? undefined : own })
}

/** Linear weights along a dim: whole, of few bits whose scales no rounding touches, and either adapted. */
function linearWeight(along: Dim, out: Dim, s: Step, m: Making): LinearWeight<string> {
  const bits = s.way % 2 === 0 && along.size % 2 === 0 ? 4 : 8
  const groups = dim(along.name, m.pick([1, 2, along.size].filter(n => along.size % n === 0), s.y))
  const small = (shape: readonly Dim[], times: number): T => shape.reduce<T>((sum, d) => m.wide(sum, m.ones([d])).add(m.wide(loose(iota(d)).cast(m.dtype), sum)), m.ones([])).mul(times)
  const quantized = (): LinearWeight<string> => ({
    values: bits === 8 ? small([along, out], 3).sub(9).cast('i8') : small([dim(along.name, along.size / 2), out], 23).cast('i32').rem(256).cast('u8'),
    scale: small([groups, out], 0.125).cast('bf16'), ...(s.x % 2 === 0 ? { offset: small([groups, out], -0.25).cast('bf16') } : {}),
  })
  const base = s.way % 3 === 0 ? weights(m, [along, out]) : quantized()
  const rank = dim('loraRank', 2)
  return s.x % 3 === 0 ? { base: base as T, down: weights(m, [along, rank]), up: weights(m, [rank, out], 0.3) } : base
}

export const layers: { readonly [name: string]: Op } = {
  rotary: along((x, d, s, m, size) => (size % 2 === 0 ? rotary(x, d, loose(iota(m.of(x, s.y))), { base: 10, pairs: s.way % 2 === 0 ? 'halves' : 'neighbours' }) : x)),
  rotaryFrequencies: along((x, d, s, m, size) => {
    const over = m.of(x, s.y)
    // Positions along what is turned are as many as its elements.
    const turned = over.name === d ? size - size % 2 : 2 + 2 * (s.dim % Math.max(Math.floor(size / 2), 1))
    return size < 2 || size > 8 || (over.name === d && turned < size) ? x : rotary(x, d, loose(iota(over)).add(s.x % 9), { frequencies: frequenciesOf(turned, s, m) }).mul(0.8)
  }),
  relativeBuckets: (m, s) => {
    const [from, to] = [m.base(s.x), m.base(s.y)]
    return relativeBuckets(from, from.name === to.name ? m.free(s.way, to.size) : to, { count: m.pick([2, 4, 8], s.way), farthest: 5 + s.dim % 4, bothWays: s.way % 3 > 0 }) as T
  },
  softCapped: one((x, s) => softCapped(x, 0.5 + s.way % 3)),
  batchNorm: along((x, d, s, m, size) => {
    const over = dim(d, size)
    const running = { mean: weights(m, [over], 0.2), variance: weights(m, [over], 0.2).square().add(0.5) }
    // Of one item a mean is what it is of, and nothing is left of it.
    const { value, statistics } = batchNorm(x, over, { ...running, gain: weights(m, [over]).add(1), bias: weights(m, [over]) }, { training: s.way % 3 > 0, epsilon: 0.1, momentum: 0.1 * (s.y % 11) })
    return [value.mul(0.5), ...(statistics === undefined ? [] : [loose(statistics.mean), loose(statistics.variance)])]
  }),
  lora: along((x, d, _, m, size) => {
    const [over, rank] = [dim(d, size), dim('loraRank', 2)]
    return lora(x, m.ones([over]), { down: m.ones([over, rank]), up: m.ones([rank]).mul(0.3) }, { over: [d], rank, scale: 0.5 }).mul(1 / size)
  }),
  linear: along((x, d, s, m, size) => (x.shape.length > 4 ? x : linear(x, linearWeight(dim(d, size), m.free(s.dim, 2 + s.y % 3, x), s, m), d).mul(0.2 / size) as T)),
  attention: along((x, d, s, m, size) => {
    const [key, seen] = [x.rename(d, 'keys' as never).sin(), loose(iota(dim('keys', size)))]
    const over = m.free(s.way, 2, x)
    const [q, k] = [x, key].map(t => spread(t, over, m))
    if (x.shape.length > 3 || q === undefined || k === undefined) return x
    return attention(q, k, key, { headDim: over.name, kvSeq: 'keys' }, s.y % 3 === 0 ? {} : { visible: seen.lessEqual(s.way % size), isolate: s.y % 3 === 1 }) as T
  }),
  /** Of several queries to a key, with values of any width. */
  'attention by places': along((x, d, s, m, size) => {
    if (x.shape.length > 3) return x
    const [headDim, keys] = frees(m, s.way, [2, size], x) as [Dim, Dim]
    const q = spread(x, headDim, m)
    const shared = mean(q, others(q, d, headDim.name).slice(0, s.op % 2))
    const [k, v] = [shared.sin(), s.x % 3 === 0 ? mean(shared, [headDim.name]) : s.x % 3 === 1 ? shared.cos() : spread(mean(shared, [headDim.name]), dim(headDim.name, 3), m)].map(t => t.rename(d, keys.name as never))
    if (k === undefined || v === undefined) return x
    const visible = visibility(x, dim(d, size), keys, s, m)
    return loose(attention(q, k, v, { headDim: headDim.name, kvSeq: keys.name }, { visible, ...scoring(x, dim(d, size), keys, s, m), ...(s.op % 3 === 0 ? { isolate: true } : {}) })).mul(0.5)
  }),
  /** Blocks by bools, or of all, whose queries lie along `seq`. */
  'attention in blocks': along((x, d, s, m, size) => {
    if (x.shape.length > 3) return x
    const [headDim, keys] = frees(m, s.way, [2, size], x) as [Dim, Dim]
    const [q, k] = [spread(x, headDim, m).rename(d, 'seq' as never), spread(x.sin(), headDim, m).rename(d, keys.name as never)]
    const [here, there] = [loose(iota(dim('seq', size))), loose(iota(keys))]
    const visible = m.pick([() => undefined, () => there.lessEqual(s.x % size), () => here.cast(m.dtype).dot(m.ones([keys])).cast('i32').greaterEqual(there)], s.y)()
    return attention<string, string, string, string, string, string, string>(q, k, k.cos(), { headDim: headDim.name, kvSeq: keys.name }, { block: 1 + s.way % (size + 1), ...(visible === undefined ? {} : { visible }), ...(s.dim % 2 === 0 ? { isolate: true } : {}) }).rename('seq', d)
  }),
  /** In as many blocks as there are places, so that most layouts divide them. */
  'attention in context': along((x, d, s, m, size) => {
    if (x.shape.length > 3) return x
    const headDim = m.free(s.way, 2, x)
    const [q, seq] = [spread(x, headDim, m), dim(d, size)]
    const visible = visibility(x, seq, seq, s, m)
    return attention<string, string, string, string, string, string, string>(q, q.sin(), q.cos(), { headDim: headDim.name, kvSeq: d }, {
      visible, context: m.pick<Context>([{ form: 'ring', blocks: size }, { form: 'gather', blocks: size }, { form: 'ulysses' }, ...(size % 2 === 0 && visible.causal && visible.keys.prefix === undefined ? [{ form: 'zigzag', blocks: size / 2 } as const] : [])], s.way), ...(s.x % 5 === 4 ? { softCap: 0.8 } : {}), ...(s.op % 3 === 0 ? { isolate: true } : {}),
    }).mul(0.5)
  }),
  zigzag: along((x, d, s, m, size) => {
    if (size % 2 !== 0) return x
    const { into, back, places } = zigzag(dim(d, size), m.pick(Array.from({ length: size / 2 }, (_, i) => i + 1).filter(n => size / 2 % n === 0), s.y))
    const there: T = into(x)
    return s.way % 2 === 0 ? there : back(there.sin()).add(m.wide(loose(places).cast(m.dtype), x).mul(0.1))
  }),
  localAttention: along((x, d, s, m, size) => {
    if (x.shape.length > 3) return x
    const headDim = m.free(s.way, 2, x)
    const q = spread(x, headDim, m)
    const segments = documents(m, dim(d, size), x.shape.filter(e => e.name !== d).slice(0, s.dim % 2))
    return localAttention<string, string, string, string, string>(q, q.sin(), x.cos(), { headDim: headDim.name, seq: d }, {
      block: m.pick(Array.from({ length: size }, (_, i) => i + 1).filter(n => size % n === 0), s.y), causal: s.way % 3 > 0, ...(s.x % 2 === 0 ? { segments } : {}), ...(s.dim % 3 === 0 ? { scale: 0.4 } : {}),
    })
  }),
  talkingHeadsAttention: along((x, d, s, m, size) => {
    if (x.shape.length > 2) return x
    const headDim = dim('attendedDim', 2)
    const [keyHeads, heads, valueHeads, keys] = frees(m, s.way, [2, 1 + s.y % 3, 2, size], x) as [Dim, Dim, Dim, Dim]
    const [q, v] = [spread(spread(x, headDim, m), keyHeads, m), spread(x.cos(), valueHeads, m)]
    const mixes = { scores: weights(m, [keyHeads, heads]), shares: weights(m, [heads, valueHeads]) }
    return talkingHeadsAttention<string, string, string, string, string, string, string, string, string>(q, q.sin().rename(d, keys.name as never), v.rename(d, keys.name as never), mixes, { headDim: headDim.name, kvSeq: keys.name, keyHeads: keyHeads.name, heads: heads.name }, {
      ...(s.dim % 2 === 0 ? { visible: visibility(x, dim(d, size), keys, s, m) } : {}), ...(s.x % 3 === 0 ? { scale: 0.4 } : {}),
    })
  }),
  selfAttention: along((x, d, s, m) => attending(x, d, s, m, (own, w, dims) => {
    const rest = own.shape.filter(e => e.name !== dims.embed.name && e.name !== d)
    return selfAttention<string, string, string, string, string, string, string>(own, w, dims, {
      causal: s.way % 2 === 0, ...(s.y % 2 === 0 ? { segments: documents(m, dims.seq, rest) } : {}), ...(s.x % 3 === 0 ? { window: 1 + s.dim % 4 } : {}), ...scoring(x, dims.seq, dims.kvSeq, s, m),
    })
  })),
  crossAttention: along((x, d, s, m) => attending(x, d, s, m, (own, w, dims) => {
    const memory = own.rename(d, dims.kvSeq.name as never).sin()
    const keep = loose(iota(dims.kvSeq)).lessEqual(s.y % 4)
    return crossAttention<string, string, string, string, string, string, string, string>(own, memory, w, dims, { ...(s.way % 2 === 0 ? { keep } : {}), ...scoring(x, dims.seq, dims.kvSeq, s, m) })
  })),
  moe: along((x, d, s, m, size) => {
    // Which expert is the best must be told by more than a rounding: tokens are constants with a little of x.
    if (!m.sharp || x.shape.length > 2) return x
    const embed = dim('attended', 2)
    const [experts, routes, expertHidden] = frees(m, s.way, [4, 4, 2], x) as [Dim, Dim, Dim]
    const tokens = weights(m, [...x.shape, embed], 2).add(m.wide(spread(x.sin(), embed, m), m.ones([...x.shape, embed])).mul(0.05))
    const into = (k: number): T => { const w = weights(m, [experts, expertHidden, embed], k); return s.x % 2 === 0 ? w : w.relayout('params') }
    const own: unknown = { router: weights(m, [routes, embed]), ...(s.x % 3 === 0 ? { bias: weights(m, [routes], 0.1) } : {}), experts: { ...(s.y % 2 === 0 ? { gate: into(0.5) } : {}), up: into(-0.4), down: into(0.6) } }
    const capacity = m.pick<NonNullable<MoeOptions['capacity']>>(['dropless', { factor: 1 }, { slots: 1 }], s.dim)
    const { value, usage } = moe(tokens, own as MoeWeights, { embed, experts, routes, expertHidden, tokens: dim(d, size) } as unknown as MoeDims, {
      router: { chosen: 1 + s.y % 2, renormalised: s.x % 2 === 0, scores: s.way % 2 === 0 ? 'softmax' : 'sigmoid', ...(s.op % 4 === 3 && capacity !== 'dropless' ? { by: 'experts' as const } : s.op % 4 === 2 ? { within: { groups: 2, chosen: 1, by: 'bestTwo' as const } } : {}) },
      capacity, activation: t => t.sin(), groups: m.pick(Array.from({ length: size }, (_, i) => i + 1).filter(n => size % n === 0), s.y), ...(s.way % 3 === 0 ? { counts: loose(iota(dim(d, size))).greater(0) } : {}),
    })
    return [value.sum(embed.name).mul(0.3), loose(usage.load).mul(0.1), loose(usage.shares), loose(balanceLoss(usage)), loose(zLoss(usage)).mul(0.1), loose(usage.grouped).mul(0.1)]
  }),
  balanceLoss: (m, s) => { const routes = dim('routes', 4); return loose(balanceLoss({ tokens: scalar(full(2 + s.y % 3, [], m.dtype)), load: weights(m, [routes]) as never, shares: weights(m, [routes], 0.3).square() as never })).mul(0.1) },
  zLoss: (m, s) => loose(zLoss({ tokens: scalar(full(2 + s.y % 3, [], m.dtype)), z: scalar(m.float(s.x).sin().sum()) })).mul(0.1),
  balancedBias: (m, s) => { const routes = dim('routes', 4); return loose(balancedBias(weights(m, [routes]) as never, loose(iota(routes)).add(s.x % 3) as never, 0.125)) },
}
