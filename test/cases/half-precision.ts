/** Cases: bf16 and f16, which are summed in f32. Values are cast, not given: the reference does not round. */
import type { DType } from '../../src/core/dtype.ts'
import { accumulate, cumsum, einsum, expectDims, full, loose, scan, scatter, valueAndGrad } from '../../src/engine/index.ts'
import { conv, crossEntropy, layerNorm, logsumexp, meanPool, softmax } from '../../src/nn/index.ts'
import { at, dimOf, type Case, type Dims, type T } from './case.ts'

const dims = { a: 4, b: 8, c: 4 }
const half = (name: string, operands: readonly string[], f: (x: readonly T[], d: Dims) => T, dtypes: readonly DType[] = ['bf16']): readonly Case[] => dtypes.map(dtype =>
  ({ name: `${dtype} ${name}`, dims, in: operands, f: (x, d) => f(x.map(t => t.cast(dtype)), d).cast('f32'), tolerance: dtype === 'bf16' ? 3e-2 : 4e-3 }))

export const halves: readonly Case[] = [
  ...half('arithmetic', ['a b', 'b+'], x => at(x, 0).mul(3).add(at(x, 1)).div(at(x, 1).add(1)).tanh(), ['bf16', 'f16']),
  ...half('sum, mean', ['a b c'], (x, d) => at(x, 0).sum(dimOf(d, 'b')).add(at(x, 0).mean(dimOf(d, 'b'))), ['bf16', 'f16']),
  ...half('variance, norm', ['a b c'], (x, d) => at(x, 0).variance(dimOf(d, 'b')).add(at(x, 0).norm(dimOf(d, 'b')))),
  ...half('dot', ['a b', 'b c'], (x, d) => at(x, 0).dot(at(x, 1), dimOf(d, 'b')), ['bf16', 'f16']),
  ...half('dot of wide', ['a b', 'b c'], (x, d) => at(x, 0).cast('f32').dot(at(x, 1).cast('f32'), dimOf(d, 'b'))),
  ...half('dot of wide, few numbers for each of many', ['b many', 'b a'], (x, d) => at(x, 0).cast('f32').dot(at(x, 1).cast('f32'), dimOf(d, 'b')), ['bf16', 'f16']).map(c => ({ ...c, dims: { ...dims, many: 16 } })),
  ...half('einsum', ['a b', 'b c', 'a c'], (x, d) => loose(einsum([at(x, 0), at(x, 1), at(x, 2)], [dimOf(d, 'b')]))),
  ...half('softmax', ['a b'], (x, d) => softmax(at(x, 0), dimOf(d, 'b').name), ['bf16', 'f16']),
  ...half('logsumexp', ['a b'], (x, d) => logsumexp(at(x, 0), dimOf(d, 'b').name)),
  ...half('layerNorm', ['a b', 'b+', 'b'], (x, d) => layerNorm(at(x, 0), dimOf(d, 'b'), at(x, 1), at(x, 2))),
  ...half('crossEntropy', ['a b'], (x, d) => crossEntropy(at(x, 0), dimOf(d, 'b'), loose(full(3, [dimOf(d, 'a')], 'i32')))),
  ...half('bias', ['a b c', 'c'], x => at(x, 0).add(at(x, 1))),
  ...half('take', ['b c'], (x, d) => at(x, 0).take(dimOf(d, 'b'), loose(full(3, [dimOf(d, 'a')], 'i32')))),
  ...half('scatter', ['b c', 'a c'], (x, d) => scatter(at(x, 0), dimOf(d, 'b'), loose(full(3, [dimOf(d, 'a')], 'i32')), at(x, 1), 'add')),
  ...half('cumsum', ['a b'], (x, d) => cumsum(at(x, 0), dimOf(d, 'b'))),
  ...half('conv', ['a b', 'c a+'], (x, d) => loose(conv(at(x, 0), at(x, 1).rename(dimOf(d, 'a').name, 'k'), { windows: [{ dim: dimOf(d, 'b').name, kernel: 'k', padding: 'same' }] }))),
  ...half('meanPool', ['a b'], (x, d) => loose(meanPool(at(x, 0), [{ dim: dimOf(d, 'b').name, size: 3, padding: 'same' }]))),
  ...half('captured by a loop', ['a b', 'b'], (x, d) => {
    const [last, ys] = scan(dimOf(d, 'a'), at(x, 1), { x: at(x, 0) }, (c: T, { x: row }) => [c.mul(0.5).add(loose(row).mul(at(x, 1))), { y: c }])
    return loose(ys.y).add(last)
  }),
  ...half('microbatches', ['a b', 'b'], (x, d) => accumulate(
    (p: { w: T }, batch: { x: T }) => valueAndGrad((p: { w: T }) => expectDims(batch.x.mul(p.w).sin().mean().cast('f32'), []) as never)(p), { w: at(x, 1).stopGradient() }, { x: at(x, 0).stopGradient() }, dimOf(d, 'a'), 2).grads.w).map(c => ({ ...c, noGradient: true as const })),
]
