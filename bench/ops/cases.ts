/** What is timed: every op of the language at a size that models have, the same names as in peer.py. The first operand changes a little every turn. */
import {
  argsort, bernoulli, categorical, concat, cond, cummax, cumprod, cumsum, dim, dropout, dynamicSlice, dynamicUpdate, einsum, expectDims, full, iota, keyOf, loose, median, normal, oneHot,
  pad, permutation, randomIntegers, reverse, roll, scan, scatter, shift, slice, sort, sortWith, stack, topK, truncatedNormal, uniform, where, whileLoop, type AnyTensor, type Scalar,
} from '../../src/engine/index.ts'
import { conv, convTranspose, crossEntropy, gelu, geluExact, layerNorm, logSoftmax, logsumexp, maxPool, meanPool, mish, silu, softmax, softplus, sumPool } from '../../src/nn/index.ts'
import { at, dimOf, type Case, type Dims, type T } from '../../test/cases/case.ts'

/** 4 MiB. */
const square = { a: 1024, b: 1024 }
const of = (name: string, dims: Case['dims'], operands: Case['in'], f: Case['f']): Case => ({ name, dims, in: operands, f })
const unary = (name: string, f: (x: T) => AnyTensor, range = ''): Case => of(name, square, [`a b${range}`], x => f(at(x, 0)))
const binary = (name: string, f: (x: T, y: T) => AnyTensor, range = ''): Case => of(name, square, [`a b${range}`, `a b${range}`], x => f(at(x, 0), at(x, 1)))
const along = (name: string, f: (x: T, dim: string) => AnyTensor): Case[] =>
  ['b', 'a'].map(d => of(`${name} along ${d === 'b' ? 'rows' : 'columns'}`, square, ['a b'], x => f(at(x, 0), d)))
const drawn = (name: string, f: (key: ReturnType<typeof keyOf>, dims: readonly [Dims[string], Dims[string]]) => AnyTensor): Case =>
  of(name, square, ['#9'], (x, d) => f(keyOf(scalar(at(x, 0))), [dimOf(d, 'a'), dimOf(d, 'b')]))
const scalar = (x: AnyTensor): Scalar => expectDims(x, [])
const same = { padding: 'same' } as const
const halves = { padding: 'same', stride: 2 } as const

const elementwise: readonly Case[] = [
  binary('add', (x, y) => x.add(y)), binary('div', (x, y) => x.div(y), '+'), binary('maximum', (x, y) => x.maximum(y)), binary('pow', (x, y) => x.pow(y), '+'),
  binary('atan2', (x, y) => x.atan2(y)), binary('rem', (x, y) => x.mul(7).rem(y), '+'), binary('mod', (x, y) => x.mul(7).mod(y), '+'),
  binary('floorDiv', (x, y) => x.mul(7).floorDiv(y), '+'), binary('where', (x, y) => where(x.less(y), x, y.mul(3))),
  of('add a row', square, ['a b', 'b'], x => at(x, 0).add(at(x, 1))), of('add a column', square, ['a b', 'a'], x => at(x, 0).add(at(x, 1))),
  unary('exp', x => x.exp()), unary('expm1', x => x.expm1()), unary('exp2', x => x.exp2()), unary('log', x => x.log(), '+'), unary('log1p', x => x.log1p(), '+'),
  unary('log2', x => x.log2(), '+'), unary('tanh', x => x.tanh()), unary('sigmoid', x => x.sigmoid()), unary('sqrt', x => x.sqrt(), '+'), unary('rsqrt', x => x.rsqrt(), '+'),
  unary('cbrt', x => x.cbrt()), unary('reciprocal', x => x.reciprocal(), '+'), unary('sin', x => x.sin()), unary('cos', x => x.cos()), unary('tan', x => x.tan()),
  unary('asin', x => x.asin()), unary('acos', x => x.acos()), unary('atan', x => x.atan()), unary('sinh', x => x.sinh()), unary('cosh', x => x.cosh()),
  unary('asinh', x => x.asinh()), unary('acosh', x => x.add(1).acosh(), '+'), unary('atanh', x => x.atanh()), unary('erf', x => x.erf()), unary('erfInv', x => x.erfInv()),
  unary('floor', x => x.mul(5).floor()), unary('round', x => x.mul(5).round()), unary('sign', x => x.sign()), unary('clamp', x => x.clamp(-0.5, 0.25)),
  unary('cast to i32', x => x.mul(99).cast('i32')), unary('isFinite', x => x.isFinite()),
  unary('gelu', x => gelu(x)), unary('geluExact', x => geluExact(x)), unary('silu', x => silu(x)), unary('softplus', x => softplus(x)), unary('mish', x => mish(x)),
]

const reducing: readonly Case[] = [
  ...along('sum', (x, d) => x.sum(d)), ...along('max', (x, d) => x.max(d)), ...along('prod', (x, d) => x.prod(d)), ...along('argmax', (x, d) => x.argmax(d)),
  ...along('any', (x, d) => x.greater(0.9).any(d)), ...along('variance', (x, d) => x.variance(d)), ...along('logsumexp', (x, d) => logsumexp(x, d)),
  ...along('softmax', (x, d) => softmax(x, d)), ...along('logSoftmax', (x, d) => logSoftmax(x, d)), ...along('cumsum', (x, d) => cumsum(x, d)),
  ...along('cumprod', (x, d) => cumprod(x, d)), ...along('cummax', (x, d) => cummax(x, d)), ...along('cumsum in reverse', (x, d) => cumsum(x, d, { reverse: true })),
  unary('sum of all', x => x.sum()), unary('max of all', x => x.max()), unary('norm', x => x.norm()),
  of('layer norm', square, ['a b', 'b', 'b'], (x, d) => layerNorm(at(x, 0), dimOf(d, 'b'), at(x, 1), at(x, 2))),
  of('cross-entropy', { a: 256, b: 8192 }, ['a b', 'a#8192'], (x, d) => crossEntropy(at(x, 0), dimOf(d, 'b'), at(x, 1))),
]

const rows = { v: 32768, e: 64, i: 16384 }
const indexing: readonly Case[] = [
  ...along('sort', (x, d) => sort(x, d)), ...along('argsort', (x, d) => argsort(x, d)), ...along('topK of 8', (x, d) => topK(x, d, dim('k', 8)).values),
  ...along('topK of 128', (x, d) => topK(x, d, dim('k', 128)).values), ...along('median', (x, d) => median(x, d)),
  unary('sort, descending', x => sort(x, 'b', { descending: true })),
  binary('sort with others', (x, y) => sortWith(x, [y], 'b').reduce((p, q) => p.add(q))),
  of('take rows', rows, ['v e', 'i#32768'], x => at(x, 0).take('v', at(x, 1))),
  of('take columns', rows, ['e v', 'i#32768'], x => at(x, 0).take('v', at(x, 1))),
  of('take along', { ...square, s: 1024 }, ['a b', 'a s#1024'], x => at(x, 0).take('b', at(x, 1))),
  of('scatter set', rows, ['v e', 'i#32768', 'i e'], x => scatter(at(x, 0), 'v', at(x, 1), at(x, 2))),
  of('scatter add', rows, ['v e', 'i#32768', 'i e'], x => scatter(at(x, 0), 'v', at(x, 1), at(x, 2), 'add')),
  of('scatter max', rows, ['v e', 'i#32768', 'i e'], x => scatter(at(x, 0), 'v', at(x, 1), at(x, 2), 'max')),
  of('scatter along', { ...square, s: 256 }, ['a b', 'a s#1024', 'a s'], x => scatter(at(x, 0), 'b', at(x, 1), at(x, 2), 'add')),
  of('dynamicSlice', square, ['a b', '#512'], x => dynamicSlice(at(x, 0), 'a', scalar(at(x, 1)), dim('s', 512))),
  of('dynamicUpdate', { ...square, s: 256 }, ['a b', 's b', '#512'], (x, d) => dynamicUpdate(at(x, 0), 'a', scalar(at(x, 2)), at(x, 1).rename(dimOf(d, 's'), 'a'))),
  of('oneHot', { i: 4096, v: 512 }, ['i~0:512'], (x, d) => oneHot(at(x, 0).cast('i32'), dimOf(d, 'v'))),
]

const rearranging: readonly Case[] = [
  unary('slice', x => slice(x, 'b', { start: 100, end: 900 })), unary('slice by steps', x => slice(x, 'b', { start: 1, step: 2 })), unary('slice rows by steps', x => slice(x, 'a', { step: 2 })),
  unary('pad', x => pad(x, 'b', 3, 5)), unary('shift', x => shift(x, 'b', 1)), unary('roll', x => roll(x, 'b', 7)), unary('roll rows', x => roll(x, 'a', 7)), unary('reverse', x => reverse(x, 'b')),
  unary('reverse rows', x => reverse(x, 'a')), binary('concat', (x, y) => concat([x, y], 'b')), binary('concat rows', (x, y) => concat([x, y], 'a')), binary('stack', (x, y) => stack([x, y], dim('s', 2))),
  of('add the transpose', square, ['a b', 'b a'], x => at(x, 0).add(at(x, 1))),
  of('merge transposed', { a: 128, b: 64, c: 128, m: 16384 }, ['a b c'], (x, d) => at(x, 0).merge(['c', 'a'], dimOf(d, 'm'))),
  of('split and reverse', { a: 1024, b: 1024, h: 32, l: 32 }, ['a b'], (x, d) => reverse(at(x, 0).split('b', [dimOf(d, 'h'), dimOf(d, 'l')]), 'h')),
  of('broadcast', { a: 1024, b: 1024 }, ['b'], (x, d) => at(x, 0).exp().add(loose(full(0, [dimOf(d, 'a'), dimOf(d, 'b')])))),
]

const contracting: readonly Case[] = [
  of('dot', { a: 512, b: 512, c: 512 }, ['a b', 'b c'], x => at(x, 0).dot(at(x, 1), 'b')),
  of('dot, the right one transposed', { a: 512, b: 512, c: 512 }, ['a b', 'c b'], x => at(x, 0).dot(at(x, 1), 'b')),
  of('dot, the left one transposed', { a: 512, b: 512, c: 512 }, ['b a', 'b c'], x => at(x, 0).dot(at(x, 1), 'b')),
  of('dot with a vector', square, ['a b', 'b'], x => at(x, 0).dot(at(x, 1), 'b')),
  of('dot batched', { h: 16, s: 256, t: 256, k: 64 }, ['h s k', 'h t k'], x => at(x, 0).dot(at(x, 1), 'k')),
  of('dot batched inside', { h: 16, s: 256, t: 256, k: 64 }, ['s h k', 't h k'], x => at(x, 0).dot(at(x, 1), 'k')),
  of('dot over two', { b: 512, h: 16, k: 64, o: 512 }, ['b h k', 'h k o'], x => at(x, 0).dot(at(x, 1), 'h', 'k')),
  of('outer product', square, ['a', 'b'], x => at(x, 0).dot(at(x, 1))),
  of('einsum of three', { a: 1024, b: 1024, c: 64, e: 512 }, ['a b', 'b c', 'c e'], (x, d) => einsum(x, [dimOf(d, 'a'), dimOf(d, 'e')])),
]

const drawing: readonly Case[] = [
  drawn('uniform', (k, s) => uniform(k, s as never)), drawn('normal', (k, s) => normal(k, s as never)), drawn('truncatedNormal', (k, s) => truncatedNormal(k, s as never)),
  drawn('bernoulli', (k, s) => bernoulli(k, 0.3, s as never)), drawn('randomIntegers', (k, s) => randomIntegers(k, s as never, 0, 1000)),
  of('dropout', square, ['a b'], x => dropout(keyOf(scalar(at(x, 0).max().mul(1e6).cast('i32'))), at(x, 0), 0.1)),
  of('categorical', { a: 256, b: 4096 }, ['a b'], x => categorical(keyOf(full(3, [], 'i32')), at(x, 0), 'b')),
  of('permutation', { v: 65536 }, ['#9'], (x, d) => permutation(keyOf(scalar(at(x, 0))), dimOf(d, 'v'))),
]

const image = { n: 8, h: 56, w: 56, i: 64, o: 64, p: 3, q: 3 }
const windowed: readonly Case[] = [
  of('conv 1-D', { n: 8, t: 4096, i: 32, o: 64, k: 5 }, ['n t i', 'k i o'], x => conv(at(x, 0), at(x, 1), { over: ['i'], windows: [{ dim: 't', kernel: 'k', ...same }] })),
  of('conv 2-D', image, ['n h w i', 'p q i o'], x => conv(at(x, 0), at(x, 1), { over: ['i'], windows: [{ dim: 'h', kernel: 'p', ...same }, { dim: 'w', kernel: 'q', ...same }] })),
  of('conv 2-D by steps', image, ['n h w i', 'p q i o'], x => conv(at(x, 0), at(x, 1), { over: ['i'], windows: [{ dim: 'h', kernel: 'p', ...halves }, { dim: 'w', kernel: 'q', ...halves }] })),
  of('conv 2-D, channels first', image, ['n i h w', 'o i p q'], x => conv(at(x, 0), at(x, 1), { over: ['i'], windows: [{ dim: 'h', kernel: 'p', ...same }, { dim: 'w', kernel: 'q', ...same }] })),
  of('conv 3-D', { n: 2, d: 16, h: 32, w: 32, i: 16, o: 32, k: 3, p: 3, q: 3 }, ['n d h w i', 'k p q i o'], x =>
    conv(at(x, 0), at(x, 1), { over: ['i'], windows: [{ dim: 'd', kernel: 'k', ...same }, { dim: 'h', kernel: 'p', ...same }, { dim: 'w', kernel: 'q', ...same }] })),
  of('conv of groups', { n: 8, h: 28, w: 28, g: 4, i: 32, o: 32, p: 3, q: 3 }, ['n h w g i', 'p q g i o'], x =>
    conv(at(x, 0), at(x, 1), { over: ['i'], windows: [{ dim: 'h', kernel: 'p', ...same }, { dim: 'w', kernel: 'q', ...same }] })),
  of('conv depthwise', { n: 8, h: 56, w: 56, g: 64, p: 3, q: 3 }, ['n h w g', 'p q g'], x => conv(at(x, 0), at(x, 1), { windows: [{ dim: 'h', kernel: 'p', ...same }, { dim: 'w', kernel: 'q', ...same }] })),
  of('conv transposed', { n: 8, h: 28, w: 28, i: 64, o: 32, p: 3, q: 3 }, ['n h w i', 'p q i o'], x =>
    convTranspose(at(x, 0), at(x, 1), { over: ['i'], windows: [{ dim: 'h', kernel: 'p', ...halves }, { dim: 'w', kernel: 'q', ...halves }] })),
  of('pool max', image, ['n h w i'], x => maxPool(at(x, 0), [{ dim: 'h', size: 2 }, { dim: 'w', size: 2 }])),
  of('pool max that overlaps', image, ['n h w i'], x => maxPool(at(x, 0), [{ dim: 'h', size: 3, stride: 2, padding: 1 }, { dim: 'w', size: 3, stride: 2, padding: 1 }])),
  of('pool sum', image, ['n h w i'], x => sumPool(at(x, 0), [{ dim: 'h', size: 3, stride: 1, ...same }, { dim: 'w', size: 3, stride: 1, ...same }])),
  of('pool mean', image, ['n h w i'], x => meanPool(at(x, 0), [{ dim: 'h', size: 2 }, { dim: 'w', size: 2 }])),
]

const control: readonly Case[] = [
  of('scan of dots', { l: 32, b: 64, e: 256, f: 256 }, ['b e', 'l e f'], (x, d) => scan(dimOf(d, 'l'), at(x, 0), at(x, 1), (c: T, w: T) => [c.dot(w, 'e').tanh().rename('f', 'e'), {}])[0]),
  of('scan that stacks', { l: 256, b: 16, e: 256 }, ['b e', 'l b e'], (x, d) => scan(dimOf(d, 'l'), at(x, 0), at(x, 1), (c: T, s: T) => { const y = c.mul(0.5).add(s); return [y, { y }] })[1].y),
  of('while', { b: 16, e: 256 }, ['b e'], x => whileLoop(({ n }) => scalar(loose(n).less(256)), ({ n, y }) => ({ n: n.add(1), y: loose(y).mul(0.5).add(at(x, 0)) }), { n: full(0, [], 'i32'), y: at(x, 0) }).y),
  of('cond', square, ['a b'], x => cond(scalar(at(x, 0).sum('b').max().greater(0)), () => at(x, 0).exp(), () => at(x, 0).mul(2))),
  of('iota', square, ['b'], (x, d) => at(x, 0).add(loose(iota(dimOf(d, 'a'))).cast('f32').add(loose(full(0, [dimOf(d, 'a'), dimOf(d, 'b')]))))),
]

// `MESHWORK_CASES=roll` times only the cases whose names match.
const wanted = new RegExp(process.env['MESHWORK_CASES'] ?? '')
export const everyTimed: readonly Case[] = [...elementwise, ...reducing, ...indexing, ...rearranging, ...contracting, ...drawing, ...windowed, ...control]
export const timed: readonly Case[] = everyTimed.filter(c => wanted.test(c.name))
