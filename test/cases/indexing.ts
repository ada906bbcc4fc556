/** Cases: looking up and placing elements, sorting, cumulative sums and their like. */
import {
  argsort, cummax, cummin, cumprod, cumsum, dim, dynamicSlice, dynamicUpdate, expectDims, full, keyOf, median, nth, oneHot, permutation, scatter, slice, sort, sortWith, topK,
} from '../../src/engine/index.ts'
import type { Scalar } from '../../src/graph/types.ts'
import { at, dimOf, type Case, type Dims, type T } from './case.ts'

const rows = { v: 8, e: 4, b: 4 }
const scalar = (x: T): Scalar => expectDims(x, []) as Scalar
const like = (d: Dims, name: string, suffix: string, size: number) => dim(`${dimOf(d, name).name}${suffix}`, size)
const of = (kind: 'set' | 'add' | 'max' | 'min'): Case =>
  ({ name: `scatter ${kind}`, dims: rows, in: ['v e', 'b#8', 'b e'], f: (x, d) => scatter(at(x, 0), dimOf(d, 'v'), at(x, 1), at(x, 2), kind).square() })

export const indexing: readonly Case[] = [
  { name: 'take, elementwise along a shared dim', dims: { b: 4, v: 8, e: 2, s: 4 }, in: ['b v e', 'b s#8'], f: (x, d) => at(x, 0).take(dimOf(d, 'v'), at(x, 1)).square() },
  { name: 'take along its own dim', dims: { b: 4, v: 8 }, in: ['b v', 'b v#8'], f: (x, d) => at(x, 0).take(dimOf(d, 'v'), at(x, 1)).square() },
  { name: 'take out of range', dims: { v: 8, e: 4, b: 4 }, in: ['v e', 'b#8'], f: (x, d) => at(x, 0).take(dimOf(d, 'v'), at(x, 1).mul(3).sub(4)).square() },
  of('set'), of('add'), of('max'), of('min'),
  { name: 'scatter, elementwise along a shared dim', dims: { b: 4, v: 8, s: 4 }, in: ['b v', 'b s#8', 'b s'], f: (x, d) => scatter(at(x, 0), dimOf(d, 'v'), at(x, 1), at(x, 2), 'add').square() },
  { name: 'scatter of two dims', dims: { v: 8, s: 4, t: 2, e: 2 }, in: ['e v', 't s#8', 's e t'], f: (x, d) => scatter(at(x, 0), dimOf(d, 'v'), at(x, 1), at(x, 2)).square() },
  { name: 'scatter out of range', dims: rows, in: ['v e', 'b#8', 'b e'], f: (x, d) => scatter(at(x, 0), dimOf(d, 'v'), at(x, 1).mul(3).sub(4), at(x, 2), 'add').square() },
  { name: 'dynamicSlice', dims: { v: 8, e: 4 }, in: ['e v', '#8'], f: (x, d) => dynamicSlice(at(x, 0), dimOf(d, 'v'), scalar(at(x, 1)), like(d, 'v', 's', 4)).square() },
  { name: 'dynamicSlice, the same name', dims: { v: 8, e: 4 }, in: ['v e', '#8'], f: (x, d) => dynamicSlice(at(x, 0), dimOf(d, 'v'), scalar(at(x, 1)), dim(dimOf(d, 'v').name, 2)).square() },
  { name: 'dynamicUpdate', dims: { v: 8, e: 4 }, in: ['e v', '#8'], f: (x, d) => dynamicUpdate(at(x, 0), dimOf(d, 'v'), scalar(at(x, 1)), slice(at(x, 0), dimOf(d, 'v'), { start: 1, end: 4 }).exp()).square() },
  { name: 'sort', dims: { v: 8, e: 4 }, in: ['v e'], f: (x, d) => sort(at(x, 0), dimOf(d, 'v')).square() },
  { name: 'sort, descending', dims: { v: 8, e: 4 }, in: ['e v'], f: (x, d) => sort(at(x, 0), dimOf(d, 'v'), { descending: true }).square() },
  { name: 'sort with others', dims: { v: 8, e: 4 }, in: ['e v', 'v e'], f: (x, d) => { const [a, b] = sortWith(at(x, 0), [at(x, 1)], dimOf(d, 'v')); return at([a, b].filter(t => t !== undefined), 0).mul(at([a, b].filter(t => t !== undefined), 1)) } },
  { name: 'argsort', dims: { v: 8, e: 4 }, in: ['v e'], f: (x, d) => argsort(at(x, 0), dimOf(d, 'v')), noGradient: true },
  { name: 'sort of few values', dims: { v: 8, e: 4 }, in: ['v e#3'], f: (x, d) => argsort(at(x, 0), dimOf(d, 'v'), { descending: true }), noGradient: true },
  { name: 'argsort with NaN', dims: { v: 8, e: 4 }, in: ['v e'], f: (x, d) => argsort(at(x, 0).log(), dimOf(d, 'v')), noGradient: true },
  { name: 'argsort with NaN, descending', dims: { v: 8, e: 4 }, in: ['e v'], f: (x, d) => argsort(at(x, 0).log(), dimOf(d, 'v'), { descending: true }), noGradient: true },
  { name: 'argsort with both zeros', dims: { v: 8, e: 4 }, in: ['v e', 'v e#2'], f: (x, d) => argsort(at(x, 0).mul(at(x, 1).cast('f32')), dimOf(d, 'v')), noGradient: true },
  { name: 'sort of bf16', dims: { v: 8, e: 4 }, in: ['v e#8'], f: (x, d) => sort(at(x, 0).sub(4).cast('bf16'), dimOf(d, 'v')).cast('f32'), noGradient: true },
  { name: 'sort of f16, descending', dims: { v: 8, e: 4 }, in: ['v e#8'], f: (x, d) => sort(at(x, 0).sub(4).cast('f16'), dimOf(d, 'v'), { descending: true }).cast('f32'), noGradient: true },
  { name: 'topK with NaN', dims: { v: 8, e: 4 }, in: ['v e'], f: (x, d) => topK(at(x, 0).log(), dimOf(d, 'v'), like(d, 'v', 'k', 4)).indices, noGradient: true },
  { name: 'topK with both zeros', dims: { v: 8, e: 4 }, in: ['v e', 'v e#2'], f: (x, d) => topK(at(x, 0).mul(at(x, 1).cast('f32')), dimOf(d, 'v'), like(d, 'v', 'k', 4)).indices, noGradient: true },
  { name: 'topK', dims: { v: 8, e: 4 }, in: ['v e'], f: (x, d) => topK(at(x, 0), dimOf(d, 'v'), like(d, 'v', 'k', 2)).values.square() },
  { name: 'topK of many', dims: { v: 8, e: 4 }, in: ['e v'], f: (x, d) => topK(at(x, 0), dimOf(d, 'v'), like(d, 'v', 'k', 6)).values.square() },
  { name: 'topK indices', dims: { v: 8, e: 4 }, in: ['v e#3'], f: (x, d) => topK(at(x, 0).cast('f32'), dimOf(d, 'v'), like(d, 'v', 'k', 2)).indices, noGradient: true },
  { name: 'nth', dims: { v: 8, e: 4 }, in: ['v e'], f: (x, d) => nth(at(x, 0), dimOf(d, 'v'), 2).add(nth(at(x, 0), dimOf(d, 'v'), 0, { descending: true })) },
  { name: 'median', dims: { v: 8, e: 4 }, in: ['v e'], f: (x, d) => median(at(x, 0), dimOf(d, 'v')) },
  { name: 'oneHot', dims: { v: 8, b: 4 }, in: ['b#8'], f: (x, d) => oneHot(at(x, 0), dimOf(d, 'v')), noGradient: true },
  { name: 'permutation', dims: { v: 8 }, in: [], f: (_, d) => permutation(keyOf(full(9, [], 'i32')), dimOf(d, 'v')), noGradient: true },
  { name: 'cumsum', dims: { v: 8, e: 4 }, in: ['v e'], f: (x, d) => cumsum(at(x, 0), dimOf(d, 'v')).square() },
  { name: 'cumsum, exclusive in reverse', dims: { v: 8, e: 4 }, in: ['e v'], f: (x, d) => cumsum(at(x, 0), dimOf(d, 'v'), { exclusive: true, reverse: true }).square() },
  { name: 'cumsum of integers', dims: { v: 8, e: 4 }, in: ['e v#8'], f: (x, d) => cumsum(at(x, 0), dimOf(d, 'v')), noGradient: true },
  { name: 'cumprod', dims: { v: 8, e: 4 }, in: ['v e'], f: (x, d) => cumprod(at(x, 0).mul(2), dimOf(d, 'v')).square() },
  { name: 'cumprod in reverse', dims: { v: 4, e: 4 }, in: ['e v'], f: (x, d) => cumprod(at(x, 0).mul(2), dimOf(d, 'v'), { reverse: true }).square() },
  { name: 'cummax', dims: { v: 8, e: 4 }, in: ['v e'], f: (x, d) => cummax(at(x, 0), dimOf(d, 'v')).square() },
  { name: 'cummin, exclusive in reverse', dims: { v: 8, e: 4 }, in: ['e v'], f: (x, d) => cummin(at(x, 0), dimOf(d, 'v'), { reverse: true }).square() },
]
