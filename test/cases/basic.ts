/** Cases: what a GPT needs. */
import { broadcast, einsum, expectDims, full, iota, loose, scan, where } from '../../src/engine/index.ts'
import { crossEntropy, dropout, gelu, keyOf, layerNorm, logsumexp, lora, maskedMean, normal, rmsNorm, rotary, softmax, uniform } from '../../src/nn/index.ts'
import { at, binary, dimOf, size4, unary, type Case, type T } from './case.ts'

export const basic: readonly Case[] = [
  unary('neg', x => x.neg()), unary('exp', x => x.exp()), unary('log', x => x.log(), '+'), unary('tanh', x => x.tanh()),
  unary('sqrt', x => x.sqrt(), '+'), unary('rsqrt', x => x.rsqrt(), '+'), unary('abs', x => x.abs()), unary('sin', x => x.sin()),
  unary('cos', x => x.cos()), unary('sigmoid', x => x.sigmoid()), unary('square', x => x.square()), unary('relu', x => x.relu()), unary('gelu', x => gelu(x)),
  binary('add', (x, y) => x.add(y)), binary('sub', (x, y) => y.sub(x)), binary('mul', (x, y) => x.mul(y)), binary('div', (x, y) => x.div(y), '+'),
  binary('maximum', (x, y) => x.maximum(y)), binary('minimum', (x, y) => x.minimum(y)), binary('pow', (x, y) => x.pow(y), '+'),
  { name: 'compare', dims: size4, in: ['a b', 'a b'], f: x => where(at(x, 0).less(at(x, 1)), at(x, 0), at(x, 1).mul(3)) },
  { name: 'cast', dims: size4, in: ['a b'], f: x => at(x, 0).mul(10).cast('i32').add(1), noGradient: true },
  { name: 'where', dims: size4, in: ['a b', 'a b'], f: x => where(at(x, 0).greaterEqual(0), at(x, 1), 0) },
  { name: 'sum', dims: { ...size4, c: 4 }, in: ['a b c'], f: (x, d) => at(x, 0).sum(dimOf(d, 'b')) },
  { name: 'sum of all', dims: { ...size4, c: 4 }, in: ['a b c'], f: x => at(x, 0).sum() },
  { name: 'mean', dims: { ...size4, c: 4 }, in: ['a b c'], f: (x, d) => at(x, 0).mean(dimOf(d, 'a'), dimOf(d, 'c')) },
  { name: 'max', dims: { ...size4, c: 4 }, in: ['a b c'], f: (x, d) => at(x, 0).max(dimOf(d, 'b')) },
  { name: 'min', dims: { ...size4, c: 4 }, in: ['a b c'], f: (x, d) => at(x, 0).min(dimOf(d, 'c')) },
  { name: 'dot', dims: { b: 4, i: 8, o: 4 }, in: ['b i', 'i o'], f: (x, d) => at(x, 0).dot(at(x, 1), dimOf(d, 'i')) },
  { name: 'dot over two', dims: { b: 4, h: 4, k: 2, o: 4 }, in: ['b h k', 'o k h'], f: (x, d) => at(x, 0).dot(at(x, 1), dimOf(d, 'h'), dimOf(d, 'k')) },
  { name: 'dot batched', dims: { b: 4, h: 2, s: 4, t: 4, k: 4 }, in: ['b s h k', 'b t h k'], f: (x, d) => at(x, 0).dot(at(x, 1), dimOf(d, 'k')) },
  { name: 'outer product', dims: size4, in: ['a', 'b'], f: x => at(x, 0).dot(at(x, 1)) },
  { name: 'einsum of three', dims: { a: 4, b: 4, c: 4, e: 2 }, in: ['a b', 'b c', 'c e'], f: (x, d) => einsum([at(x, 0), at(x, 1), at(x, 2)], [dimOf(d, 'a'), dimOf(d, 'e')]) },
  { name: 'two layers', dims: { b: 4, i: 4, h: 8, o: 4 }, in: ['b i', 'i h', 'h o'], f: (x, d) => at(x, 0).dot(at(x, 1), dimOf(d, 'i')).relu().dot(at(x, 2), dimOf(d, 'h')) },
  { name: 'rename', dims: { s: 4, e: 4 }, in: ['s e'], f: (x, d) => at(x, 0).rename(dimOf(d, 's'), `${dimOf(d, 's').name}2`).dot(at(x, 0), dimOf(d, 'e')) },
  { name: 'broadcast', dims: { a: 4, b: 4, c: 2 }, in: ['b'], f: (x, d) => broadcast(at(x, 0), [dimOf(d, 'a'), dimOf(d, 'c')]).square() },
  { name: 'reorder', dims: { a: 4, b: 4, c: 2 }, in: ['a b c'], f: (x, d) => expectDims(at(x, 0), [dimOf(d, 'c'), dimOf(d, 'a'), dimOf(d, 'b')]).exp() },
  { name: 'take', dims: { v: 8, e: 4, b: 4, s: 2 }, in: ['v e', 'b s#8'], f: (x, d) => at(x, 0).take(dimOf(d, 'v'), at(x, 1)) },
  { name: 'take in the middle', dims: { a: 4, v: 8, e: 2, b: 4 }, in: ['a v e', 'b#8'], f: (x, d) => at(x, 0).take(dimOf(d, 'v'), at(x, 1)) },
  { name: 'take one', dims: { a: 4, v: 8, e: 2 }, in: ['a v e', '#8'], f: (x, d) => at(x, 0).take(dimOf(d, 'v'), at(x, 1)) },
  { name: 'iota', dims: size4, in: ['a b'], f: (x, d) => at(x, 0).mul(loose(iota(dimOf(d, 'b'))).cast('f32')) },
  { name: 'relayout', dims: size4, in: ['a b', 'b'], f: x => at(x, 0).relayout({}).tanh().mul(at(x, 1)) },
  { name: 'stopGradient', dims: size4, in: ['a b'], f: x => at(x, 0).mul(at(x, 0).stopGradient()) },
  { name: 'softmax', dims: { a: 4, c: 8 }, in: ['a c'], f: (x, d) => softmax(at(x, 0), dimOf(d, 'c')) },
  { name: 'logsumexp', dims: { a: 4, c: 8 }, in: ['a c'], f: (x, d) => logsumexp(at(x, 0), dimOf(d, 'c')) },
  { name: 'cross-entropy', dims: { a: 4, s: 2, c: 8 }, in: ['a s c', 'a s#8'], f: (x, d) => crossEntropy(at(x, 0), dimOf(d, 'c'), at(x, 1)) },
  { name: 'cross-entropy of some', dims: { a: 4, s: 2, c: 8 }, in: ['a s c', 'a s#8'], f: (x, d) => crossEntropy(at(x, 0), dimOf(d, 'c'), at(x, 1), { ignore: 3 }) },
  { name: 'cross-entropy, its mean over some', dims: { a: 4, s: 2, c: 8 }, in: ['a s c', 'a s#8'], f: (x, d) => maskedMean(crossEntropy(at(x, 0), dimOf(d, 'c'), at(x, 1).sub(1), { ignore: -1 }), at(x, 1).greater(0)) },
  { name: 'layer norm', dims: { a: 4, s: 2, e: 8 }, in: ['a s e', 'e', 'e'], f: (x, d) => layerNorm(at(x, 0), dimOf(d, 'e'), at(x, 1), at(x, 2)) },
  { name: 'rms norm', dims: { a: 4, e: 8 }, in: ['a e', 'e'], f: (x, d) => rmsNorm(at(x, 0), dimOf(d, 'e'), at(x, 1)) },
  { name: 'rotary', dims: { s: 4, e: 8 }, in: ['s e'], f: (x, d) => rotary(at(x, 0), dimOf(d, 'e'), iota(dimOf(d, 's'))) },
  { name: 'rotary of neighbours', dims: { s: 4, e: 8 }, in: ['s e'], f: (x, d) => rotary(at(x, 0), dimOf(d, 'e'), iota(dimOf(d, 's')), { base: 100, pairs: 'neighbours' }) },
  { name: 'lora', dims: { a: 2, e: 4, h: 2, r: 2 }, in: ['a e', 'e h', 'e r', 'r h'], f: (x, d) => lora(at(x, 0), at(x, 1), { down: at(x, 2), up: at(x, 3) }, { over: [dimOf(d, 'e')], rank: dimOf(d, 'r'), scale: 0.5 }) },
  { name: 'uniform', dims: size4, in: [], f: (_, d) => uniform(keyOf(full(3, [], 'i32')), [dimOf(d, 'a'), dimOf(d, 'b')]), noGradient: true },
  { name: 'normal', dims: size4, in: [], f: (_, d) => normal(keyOf(full(5, [], 'i32')), [dimOf(d, 'a'), dimOf(d, 'b')]), noGradient: true },
  { name: 'dropout', dims: size4, in: ['a b'], f: x => dropout(keyOf(full(7, [], 'i32')), at(x, 0), 0.5) },
  {
    name: 'scan', dims: { l: 3, b: 4, e: 4, h: 4 }, in: ['b e', 'l e h', 'l h e', 'e'],
    f: ([x, up, down, bias] = [], d) => {
      if (x === undefined || up === undefined || down === undefined || bias === undefined) throw new Error('four operands')
      const [out, ys] = scan(dimOf(d, 'l'), x, { up, down }, (carry: T, w: { up: T; down: T }) => {
        const next = carry.add(carry.dot(w.up, dimOf(d, 'e')).tanh().dot(w.down, dimOf(d, 'h'))).add(bias)
        return [next, { y: next.sum(dimOf(d, 'e')) }] as const
      })
      return loose(out).add(loose(ys.y).sum(dimOf(d, 'l')))
    },
  },
  {
    name: 'scan that sums', dims: { l: 4, b: 4, e: 4 }, in: ['l b e', 'e'],
    f: ([x, w] = [], d) => {
      if (x === undefined || w === undefined) throw new Error('two operands')
      const [out] = scan(dimOf(d, 'l'), full(0, [dimOf(d, 'e')]) as T, { x }, (sum: T, s: { x: T }) => [sum.add(s.x.mul(w).sum(dimOf(d, 'b'))), {}] as const)
      return out
    },
  },
]
