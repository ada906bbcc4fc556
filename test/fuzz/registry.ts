/** What random programs are made of: a line for every function of the language. Values stay small; what jumps is kept from jumping. */
import {
  accumulate, argsort, bernoulli, broadcast, categorical, concat, cond, cummax, cummin, cumprod, cumsum, dim, dynamicSlice, dynamicUpdate, einsum, expectDims, exponential, fold, fp8, full, grad, gumbel, index, iota, keyOf, loose, lossAndGrads, median,
  named, normal, nth, oneHot, pad, parts, permutation, randomBits, randomIntegers, remat, reverse, roll, scan, scatter, shift, slice, sort, sortWith, splitKey, stack, stored, topK, truncatedNormal, uniform, unstack, valueAndGrad, vjp, where, whileLoop, withGradient,
  type Dim, type Scalar,
} from '../../src/engine/index.ts'
import {
  celu, conv, convTranspose, crossEntropy, dequantize, dropout, elu, gelu, geluExact, glu, hardSigmoid, hardSwish, layerNorm, leakyRelu, logSigmoid, logSoftmax, logsumexp, lstm, lstmCell, maskedMean, maxPool, meanPool, minPool, mish, quantize,
  relu, relu6, rmsNorm, selu, silu, softmax, softplus, sumPool, weightedMean,
} from '../../src/nn/index.ts'
import { layers } from './layers.ts'
import { along, one, scalar } from './making.ts'
import { pipelines } from './pipelines.ts'
import type { Making, Op, Step, T } from './program.ts'

/** Operands without equal elements, for ops whose gradients or places depend on which of equal elements is meant. */
const sharp = (f: (x: T, dim: string, s: Step, m: Making, size: number) => T | readonly T[]): Op => along((x, d, s, m, size) => (m.sharp ? f(m.apart(x), d, s, m, size) : x.neg()))
const two = (f: (x: T, y: T, s: Step, m: Making) => T | readonly T[]): Op => (m, s) => {
  const x = m.float(s.x)
  const y = m.fitting(x, s.y)
  const [l, r] = [m.wide(x, y), m.wide(y, x)]
  return l.shape.length > 4 ? x : f(l, r, s, m)
}
const start = (m: Making, s: Step): Scalar => scalar(m.ints(s.y).sum().mul(s.way % 3).sub(s.way % 7))
const seeded = (s: Step): Parameters<typeof uniform>[0] => keyOf(scalar(full(s.way, [], 'i32')))
/** Ops that exist in f32 only and are therefore judged loosely: they are drawn in programs of f32 only. */
const loosely = (f: (key: Parameters<typeof uniform>[0], m: Making, s: Step) => T): Op => (m, s) => (m.sharp ? f(seeded(s), m, s).mul(0).cast('f64') : f(seeded(s), m, s).mul(0.1))
/** Where its slope jumps, no element lies. */
const kinked = (f: (x: T) => T): Op => one((x, _, m) => (m.sharp ? f(m.apart(x)) : x))
/** A bool that integers decide. */
const decided = (m: Making, s: Step): Scalar => scalar(m.ints(s.y).max().less(s.way % 9))
const padding = ['valid', 'same', [1, 0], [2, 1]] as const
const pooled = (f: typeof sumPool): Op => along((x, d, s, m, size) => f(m.sharp ? m.apart(x) : x, [{
  dim: d, size: Math.min(1 + s.way % 3, size), stride: 1 + s.y % 2, padding: m.pick(['valid', 'same'] as const, s.op), ...(s.way % 2 === 0 ? { as: m.free(s.way, 1, x).name } : {}),
}]) as T)
const convolved = (f: typeof conv): Op => along((x, d, s, m, size) => {
  const k = m.free(s.y, Math.min(1 + s.way % 3, size), x)
  const over = x.shape.filter(e => e.name !== d && s.dim % 3 > 0).slice(0, 1)
  const out = m.free(s.y + 1, 2, x)
  const w = loose(iota(k)).cast(m.dtype).mul(0.7).add(1).sin()
  const weights = m.wide(w, m.ones([...over, ...(s.op % 2 === 0 ? [dim(out.name === k.name ? `${k.name}o` : out.name, 2)] : [])])).mul(0.5)
  const names = over.map(e => e.name)
  return f(x, weights, { over: s.way % 2 === 0 ? names : [], windows: [{ dim: d, kernel: k.name, padding: f === conv ? m.pick(padding, s.way) : 'valid', stride: 1 + s.x % 2 }] }) as T
})
const cumulated = (f: typeof cumsum): Op => along((x, d, s, m) => f(m.sharp ? m.apart(x).sin() : x, d, { reverse: s.way % 2 === 0, exclusive: f === cumsum || f === cumprod ? s.way % 3 === 0 : false }).mul(0.5))

/** A dim more than x has, of constant weights: recurrence over x. */
const recurring = (x: T, m: Making, f: (x: T, w: { input: T; past: T; bias: T }, d: { inputs: Dim; hidden: Dim; past: Dim; gates: Dim }) => T): T => {
  if (x.shape.length > 3) return x
  const [inputs, hidden, past, gates] = [dim('fed', 2), dim('kept', 2), dim('keptBefore', 2), dim('gates', 4)]
  const weight = (from: Dim, k: number): T => m.wide(loose(iota(gates)).cast(m.dtype).add(k), m.ones([from, gates, hidden])).mul(loose(iota(from)).cast(m.dtype).add(0.5)).sin().mul(0.5) as T
  const own = loose(broadcast(x, [inputs])).mul(loose(iota(inputs)).cast(m.dtype).add(0.5)) as T
  return f(own, { input: weight(inputs, 1), past: weight(past, 2), bias: m.ones([gates, hidden]).mul(0.1) }, { inputs, hidden, past, gates }).sum(hidden.name).mul(0.5)
}

export const registry: { readonly [name: string]: Op } = {
  neg: one(x => x.neg()), tanh: one(x => x.tanh()), sin: one(x => x.sin()), cos: one(x => x.cos()), sigmoid: one(x => x.sigmoid()),
  exp: one(x => x.sin().exp().mul(0.4)), log: one(x => x.sin().add(1.5).log()), sqrt: one(x => x.sin().add(1.5).sqrt()), rsqrt: one(x => x.sin().add(1.5).rsqrt()),
  abs: one((x, _, m) => (m.sharp ? m.apart(x).abs() : x)),  square: one(x => x.sin().square()), gelu: one(x => gelu(x)),
  relu: kinked(x => relu(x)), relu6: kinked(x => relu6(x)), leakyRelu: kinked(x => leakyRelu(x)), elu: kinked(x => elu(x)), celu: kinked(x => celu(x)), selu: kinked(x => selu(x).mul(0.5)), hardSigmoid: kinked(x => hardSigmoid(x)),
  hardSwish: kinked(x => hardSwish(x)), silu: one(x => silu(x)), softplus: one(x => softplus(x.sin().add(1.1))), logSigmoid: one(x => logSigmoid(x.sin().sub(1.1)).mul(0.5)), mish: one(x => mish(x.sin().add(1.1)).mul(0.5)),
  geluExact: one(x => geluExact(x)), glu: along((x, d, _, __, size) => (size % 2 === 0 ? glu(x, d) : x)), clamp: kinked(x => x.clamp(-0.4, 0.6)), sign: kinked(x => x.sign().mul(0.3).add(x)),
  reciprocal: one(x => x.sin().add(1.7).reciprocal()), cbrt: one(x => x.sin().add(1.7).cbrt()), expm1: one(x => x.sin().expm1().mul(0.5)), log1p: one(x => x.sin().add(1.2).log1p()), exp2: one(x => x.sin().exp2().mul(0.5)),
  log2: one(x => x.sin().add(1.7).log2()), log10: one(x => x.sin().add(1.7).log10()), tan: one(x => x.sin().tan()), asin: one(x => x.sin().mul(0.7).asin()), acos: one(x => x.sin().mul(0.7).acos().sub(1)), atan: one(x => x.atan()),
  sinh: one(x => x.sin().sinh()), cosh: one(x => x.sin().cosh().sub(1)), asinh: one(x => x.asinh()), acosh: one(x => x.sin().add(2.2).acosh()), atanh: one(x => x.sin().mul(0.7).atanh()), erf: one(x => x.erf()), erfc: one(x => x.erfc()), erfInv: one((x, _, m) => (m.sharp ? x : x.sin().mul(0.6).erfInv())),
  floor: kinked(x => x.floor().mul(0.2).add(x)), ceil: kinked(x => x.ceil().mul(0.2).add(x)), isNaN: one((x, _, m) => where(x.isNaN(), m.ones([]), x)), isFinite: one((x, _, m) => where(x.isFinite(), x, m.ones(x.shape))),
  rem: (m, s) => m.ints(s.x).rem(1 + s.way % 5), mod: (m, s) => m.ints(s.x).sub(4).mod(1 + s.way % 5), floorDiv: (m, s) => m.ints(s.x).sub(3).floorDiv(1 + s.way % 3), bits: (m, s) => { const i = m.ints(s.x); return i.and(6).or(i.shiftRight(1)).xor(s.way % 8) },
  shifts: (m, s) => m.ints(s.x).and(7).shiftLeft(s.way % 3).shiftRightArithmetic(1), popcount: (m, s) => m.ints(s.x).popcount(), leadingZeros: (m, s) => m.ints(s.x).and(255).leadingZeros(), booleans: (m, s) => { const i = m.ints(s.x); return i.greater(2).and(i.lessEqual(s.way % 9).not()).or(i.notEqual(3)).cast('i32') },
  any: (m, s) => m.ints(s.x).less(s.way % 9).any().cast('i32'), all: (m, s) => { const i = m.ints(s.x); return (i.shape.length === 0 ? i.less(4) : i.less(s.way % 9).all(m.of(i, s.dim).name)).cast('i32') },
  atan2: two((x, y) => x.sin().add(1.5).atan2(y)), prod: along((x, d) => x.sin().prod(d)), variance: along((x, d) => x.variance(d)), std: along((x, d, _, m, size) => (size < 2 ? x : m.apart(x).std(d).mul(0.5))), norm: along((x, d, _, m) => m.apart(x).norm(d).mul(0.4)),
  argmax: sharp((x, d) => x.argmax(d)), argmin: sharp((x, d) => x.argmin(d)), logSoftmax: along((x, d) => logSoftmax(x, d).mul(0.4)),
  bernoulli: (m, s) => bernoulli(seeded(s), 0.4, [m.base(s.dim)]).cast(m.dtype) as T, exponential: loosely((k, m, s) => loose(exponential(k, [m.base(s.dim)]))), gumbel: loosely((k, m, s) => loose(gumbel(k, [m.base(s.dim)]))),
  truncatedNormal: loosely((k, m, s) => loose(truncatedNormal(k, [m.base(s.dim)]))), randomIntegers: (m, s) => loose(randomIntegers(seeded(s), [m.base(s.dim)], -2, 9)), randomBits: (m, s) => loose(randomBits(seeded(s), [m.base(s.dim)])).shiftRight(29).cast('i32'),
  splitKey: (m, s) => { const d = m.base(s.dim); return loose(splitKey(seeded(s), d).word0).shiftRight(28).cast('i32') }, categorical: (m, s) => { const x = m.float(s.x); return m.sharp && x.shape.length > 0 ? loose(categorical(seeded(s), m.apart(x), m.of(x, s.dim).name)) : m.ints(s.y) },
  add: two((x, y) => x.add(y).mul(0.6)), sub: two((x, y) => x.sub(y.mul(0.5))), mul: two((x, y) => x.mul(y.sin())), div: two((x, y) => x.div(y.sin().add(1.7))),
  pow: two((x, y) => x.sin().add(1.5).pow(y.sin())), maximum: two((x, y, _, m) => (m.sharp ? m.apart(x).maximum(y) : x)), minimum: two((x, y, _, m) => (m.sharp ? m.apart(x).minimum(y.neg()) : x)),
  less: (m, s) => { const i = m.ints(s.y); return where(i.less(s.way % 7), m.wide(m.float(s.x).sum(), i), 0.5) },
  equal: (m, s) => { const i = m.ints(s.y); return i.equal(s.way % 7).cast('i32').add(i) },
  greaterEqual: (m, s) => m.ints(s.y).greaterEqual(s.way % 7).cast(m.dtype),
  where: two((x, y, s, m) => (x.shape.length === 0 ? x : where(loose(iota(m.of(x, s.dim))).less(s.way % 4), x, y))),
  cast: (m, s) => m.ints(s.x).rem(64).cast(m.dtype).mul(0.1).sin(), stopGradient: one(x => x.stopGradient()), named: one(x => named(x, 'kept')),
  sum: along((x, d) => x.sum(d).mul(0.5)), 'sum of all': one(x => x.sum().mul(0.1)), mean: along((x, d) => x.mean(d)), max: sharp((x, d) => x.max(d)), min: sharp((x, d) => x.min(d)),
  dot: (m, s) => {
    const x = m.float(s.x)
    const y = m.fitting(x, s.y)
    const over = x.shape.filter(d => m.has(y, d)).map(d => d.name).slice(0, s.way % 3)
    return x.dot(y.sin(), ...over).mul(0.5)
  },
  einsum: (m, s) => { const x = m.float(s.x); const y = m.fitting(x, s.y); return einsum([x, y.sin()], [...new Set([...x.shape, ...y.shape].map(d => d.name))].filter((_, i) => (s.way >> i) % 2 === 0)).mul(0.3) },
  rename: along((x, d, s, m, size) => x.rename(d, m.free(s.way, size, x).name)),
  broadcast: (m, s) => { const [x, d] = [m.float(s.x), m.base(s.dim)]; return x.shape.some(e => e.name === d.name) ? x : broadcast(x, [d]) },
  expectDims: one(x => expectDims(x, [...x.shape].reverse())),
  relayout: one((x, s, m) => x.relayout(m.rules(x, s.way))), 'relayout again': one((x, s, m) => x.relayout(m.rules(x, s.way)).neg().relayout(m.rules(x, s.y))), 'relayout by name': one((x, s, m) => (s.dim % 4 === 3 ? m.named(x) : x.relayout(m.pick(['params', 'state', 'compute', 'gradients'] as const, s.dim)))), 'relayout there and back': one((x, _, m) => m.named(m.named(x).sin()).relayout('compute').mul(0.9)),
  split: along((x, d, s, m, size) => {
    const cut = m.pick([1, 2, 3, 4].filter(n => size % n === 0), s.way)
    const high = m.free(s.way, cut, x)
    return x.split(d, [high, m.free(s.y, size / cut, x, loose(full(0, [high])))])
  }),
  merge: along((x, d, s, m, size) => {
    const other = x.shape.find(e => e.name !== d)
    return other === undefined ? x : x.merge([d, other.name], m.free(s.way, size * other.size, x))
  }),
  slice: along((x, d, s, m, size) => slice(x, d, { start: s.way % size, step: 1 + s.y % 2, ...(s.dim % 2 === 0 ? { as: m.free(s.way, 1, x).name } : {}) })),
  pad: along((x, d, s) => pad(x, d, s.way % 3, s.y % 3, { value: s.way % 2 })), shift: along((x, d, s) => shift(x, d, s.way % 7 - 3, { fill: s.y % 2 })), roll: along((x, d, s) => roll(x, d, s.way % 11 - 5)),
  reverse: along((x, d) => reverse(x, d)), index: along((x, d, s, _, size) => index(x, d, s.way % size)),
  concat: along((x, d, s, m) => concat(s.way % 2 === 0 ? [x, x.sin()] : [x.neg(), slice(x, d, { end: 1 }), x], d, s.y % 2 === 0 ? { as: m.free(s.y, 1, x).name } : {})),
  stack: one((x, s, m) => stack([x, x.neg()], m.free(s.way, 2, x))), unstack: along((x, d) => unstack(x, d).reduce((p, q) => p.mul(0.5).add(q.sin()))),
  parts: along((x, d, s, _, size) => (size < 2 ? x : parts(x, d, s.way % 2 === 0 ? [1, size - 1] : [size - 1, 1]))),
  take: along((x, d, s, m) => { const i = m.ints(s.y); return i.shape.some(e => x.shape.some(f => f.name === e.name && f.size !== e.size)) ? x : x.take(d, i) }),
  scatter: along((x, d, s, m) => {
    const i = m.ints(s.y)
    if (i.shape.some(e => e.name === d || x.shape.some(f => f.name === e.name && f.size !== e.size))) return x
    const shape = [...i.shape, ...x.shape.filter(e => e.name !== d && !i.shape.some(f => f.name === e.name))]
    if (shape.length > 4) return x
    const kind = m.pick(m.sharp ? (['add', 'set', 'max', 'min'] as const) : (['add', 'set'] as const), s.way)
    return scatter(kind === 'max' || kind === 'min' ? m.apart(x) : x, d, i, m.apart(m.ones(shape)).mul(0.5), kind)
  }),
  dynamicSlice: along((x, d, s, m, size) => dynamicSlice(x, d, start(m, s), s.dim % 2 === 0 ? dim(d, 1 + s.way % size) : m.free(s.way, 1 + s.way % size, x))),
  dynamicUpdate: along((x, d, s, m, size) => dynamicUpdate(x, d, start(m, s), slice(x, d, { start: s.way % size }).sin())),
  sort: sharp((x, d, s) => sort(x, d, { descending: s.way % 2 === 0 })), sortWith: sharp((x, d, s) => sortWith(x, [x.sin(), x.neg()], d, { descending: s.way % 2 === 0 })),
  argsort: sharp((x, d, s) => argsort(x, d, { descending: s.way % 2 === 0 })),
  topK: sharp((x, d, s, m, size) => { const found = topK(x, d, m.free(s.way, 1 + s.y % size, x)); return [found.values, found.indices] }),
  nth: sharp((x, d, s, _, size) => nth(x, d, s.way % size)), median: sharp((x, d) => median(x, d)),
  oneHot: (m, s) => { const i = m.ints(s.y); return oneHot(i, m.free(s.way, m.pick([2, 3, 4, 8], s.dim), i), m.dtype) },
  permutation: (m, s) => permutation(keyOf(scalar(full(s.way, [], 'i32'))), m.base(s.dim)) as T,
  uniform: (m, s) => uniform(fold(keyOf(scalar(full(s.way, [], 'i32'))), s.y), [m.base(s.dim)]).cast(m.dtype) as T,
  normal: (m, s) => normal(keyOf(scalar(full(s.way, [], 'i32'))), [m.base(s.dim)]).mul(m.sharp ? 0 : 0.1).cast(m.dtype) as T,
  dropout: one((x, s) => dropout(keyOf(scalar(full(s.way, [], 'i32'))), x, 0.4).mul(0.6)),
  cumsum: cumulated(cumsum), cumprod: cumulated(cumprod), cummax: sharp((x, d, s) => cummax(x, d, { reverse: s.way % 2 === 0 })), cummin: sharp((x, d, s) => cummin(x, d, { reverse: s.way % 2 === 0 })),
  conv: convolved(conv), convTranspose: convolved(convTranspose as typeof conv),
  sumPool: pooled(sumPool), meanPool: pooled(meanPool as typeof sumPool), maxPool: (m, s) => (m.sharp ? pooled(maxPool)(m, s) : m.float(s.x)), minPool: (m, s) => (m.sharp ? pooled(minPool)(m, s) : m.float(s.x)),
  // Its scales are halves, which the reference does not round.
  quantize: along((x, d, s, m, size) => quantize(x, d, { bits: s.way % 2 === 0 && size % 2 === 0 ? 4 : 8, group: 1 }).scale.mul(0).cast(m.dtype)),
  dequantize: along((x, d, s, m, size) => dequantize(quantize(x, d, { bits: s.way % 2 === 0 && size % 2 === 0 ? 4 : 8, group: s.y % 2 === 0 ? 1 : size }), dim(d, size), m.dtype).mul(0)),
  softmax: along((x, d) => softmax(x, d)), logsumexp: along((x, d) => logsumexp(x, d).mul(0.5)),
  layerNorm: along((x, d, _, m, size) => (size < 2 ? x : layerNorm(m.apart(x), dim(d, size), m.ones([dim(d, size)]), m.ones([dim(d, size)]), 0.1).mul(0.5))),
  rmsNorm: along((x, d, _, m, size) => rmsNorm(x, dim(d, size), m.ones([dim(d, size)]), 0.1).mul(0.5)),
  crossEntropy: along((x, d, _, m, size) => { const rest = x.shape.filter(e => e.name !== d); return crossEntropy(x, dim(d, size), m.wide(loose(full(Math.min(1, size - 1), [], m.dtype)), m.ones(rest)).cast('i32')).mul(0.3) as T }),
  maskedMean: along((x, d, s, m, size) => loose(maskedMean(x, m.wide(loose(iota(dim(d, size))).cast(m.dtype), x).less(1 + s.way % size)))),
  weightedMean: along((x, d, s, m, size) => { const found = weightedMean(x, m.wide(loose(iota(dim(d, size))).cast(m.dtype), x).sub(s.way % size).abs()); return [loose(found.value), loose(found.weight).mul(0.01)] }),
  lstm: along((x, d, s, m, size) => recurring(x, m, (own, w, dims) => loose(lstm(own, dim(d, size), w, dims, { reverse: s.way % 2 === 0 }).output))),
  lstmCell: along((x, _, __, m) => recurring(x, m, (own, w, dims) => {
    const rest = [...own.shape.filter(e => e.name !== dims.inputs.name), dims.hidden]
    return loose(lstmCell(own, { hidden: m.ones(rest).mul(0.3), cell: m.ones(rest).mul(0.2) }, w, dims).cell)
  })),
  lossAndGrads: along((x, _, __, ___, size) => { const { value, grads } = lossAndGrads((p: { x: T }) => ({ loss: scalar(p.x.sin().mean()), weight: scalar(full(size, [])) }))({ x }); return [loose(value), loose(grads.x)] }),
  cond: two((x, y, s, m) => cond(decided(m, s), () => x.sin().add(y).mul(0.5), () => y.mul(0.7))),
  'cond of sums': along((x, d, s, m) => cond(decided(m, s), () => x.sum(d).mul(0.5), () => x.mean(d).sin())),
  whileLoop: (m, s) => { const x = m.float(s.x).stopGradient(); return whileLoop(({ n }) => scalar(n.less(s.way % 4)), ({ n, x }) => ({ n: n.add(1), x: roll(x, m.pick(x.shape, s.dim)?.name ?? '', 1).sin() as T }), { n: loose(full(0, [], 'i32')), x: x.shape.length === 0 ? m.ones([m.base(s.dim)]) : x }).x },
  scan: along((x, d, s, m, size) => {
    const carry = m.float(s.y)
    if (carry.shape.some(e => e.name === d) || carry.shape.some(e => x.shape.some(f => f.name === e.name && f.size !== e.size))) return x
    const [last, ys] = scan(dim(d, size), carry, { x }, (c: T, { x }) => {
      const slice = loose(x)
      const lacks = slice.shape.filter(e => !m.has(c, e)).map(e => e.name)
      const same = lacks.length === 0 ? slice : slice.mean(...lacks)
      const next = s.way % 2 === 0 ? c.add(same).sin() : c.mul(0.5).add(same.mul(0.5))
      return [next, { y: slice.cos(), next }]
    }, { reverse: s.way % 3 === 0 })
    return [last, loose(ys.y), loose(ys.next)]
  }),
  'scan of sums': along((x, d, s, m, size) => loose(scan(dim(d, size), m.ones(x.shape.filter(e => e.name !== d).slice(0, 2)), { x }, (c: T, { x }) => {
    const lacks = loose(x).shape.filter(e => !m.has(c, e)).map(e => e.name)
    return [c.add(lacks.length === 0 ? loose(x) : loose(x).sum(...lacks)).mul(0.5), {}]
  }, { reverse: s.way % 2 === 0 })[0])),
  // A sum whose last bits differ may be rounded to another number of 8 bits, so that of what 8 bits change only a hundredth is left.
  fp8: (m, s) => {
    const x = m.float(s.x)
    const y = m.fitting(x, s.y).sin()
    const over = x.shape.filter(d => m.has(y, d)).map(d => d.name).slice(0, 1 + s.way % 2)
    const exact = x.dot(y, ...over)
    return exact.add(fp8((p: T, q: T) => p.dot(q, ...over))(x, y).sub(exact).mul(0.01)).mul(0.5)
  },
  stored: one(x => stored(stored(x.sin(), 'host').mul(2), 'device')),
  remat: two((x, y, s) => remat((p: T, q: T) => named(p.mul(q.sin()).sin(), 'kept').add(p).mul(0.5), s.way % 2 === 0 ? 'everything' : { keep: ['kept'] })(x, y)),
  withGradient: one(x => withGradient([x], ([x]) => x.sin(), (g, _, [x]) => [g.mul(x.cos())])),
  vjp: two((x, y) => { const { value, pull } = vjp((p: T) => p.mul(y).sin())(x); return [value, ...pull(value.cos())] }),
  grad: two((x, y) => loose(grad((p: { x: T }) => scalar(p.x.mul(y).sin().sum()))({ x }).x)),
  valueAndGrad: along((x, d, s) => { const found = valueAndGrad((p: { x: T }) => scalar(p.x.sin().sum(d).square().mean()), { remat: s.way % 2 === 0 ? 'nothing' : 'everything' })({ x }); return [loose(found.value), loose(found.grads.x)] }),
  accumulate: along((x, d, s, m, size) => {
    if (size % 2 !== 0) return x
    const w = m.ones(x.shape.filter(e => e.name !== d)).mul(0.5)
    const found = accumulate((p: { w: T }, b: { x: T }) => valueAndGrad((p: { w: T }) => scalar(b.x.mul(p.w).sin().mean()))(p), { w }, { x: x.stopGradient() }, dim(d, size), s.way % 2 === 0 ? 2 : size)
    return found.grads.w
  }),
  ...layers,
  ...pipelines,
}
