/** Cases: control. */
import { accumulate, cond, expectDims, full, grad, iota, loose, named, remat, scan, valueAndGrad, whileLoop, type AnyTensor, type LossAndGrads, type Scalar } from '../../src/engine/index.ts'
import { at, dimOf, type Case, type T } from './case.ts'

const scalar = (x: AnyTensor): Scalar => expectDims(x, [])
const positive = (x: T): Scalar => scalar(loose(x.sum()).greaterEqual(0))
const layers = { l: 3, b: 4, e: 4, h: 4 }

export const control: readonly Case[] = [
  { name: 'cond that holds', dims: { b: 4, e: 4, h: 8 }, in: ['b e', 'e h', 'h e', '+'], f: ([x, up, down, p] = [], d) => {
    if (x === undefined || up === undefined || down === undefined || p === undefined) throw new Error('four operands')
    return cond(positive(p), () => x.dot(up, dimOf(d, 'e')).tanh().dot(down, dimOf(d, 'h')), () => x.square())
  } },
  { name: 'cond that does not hold', dims: { b: 4, e: 4, h: 8 }, in: ['b e', 'e h', 'h e', '+'], f: ([x, up, down, p] = [], d) => {
    if (x === undefined || up === undefined || down === undefined || p === undefined) throw new Error('four operands')
    return cond(positive(p.neg()), () => x.dot(up, dimOf(d, 'e')).tanh().dot(down, dimOf(d, 'h')), () => x.square())
  } },
  { name: 'cond of sums', dims: { b: 4, e: 4 }, in: ['b e', 'e', '+'], f: (x, d) => {
    const r = cond(positive(at(x, 2)), () => ({ sum: at(x, 0).sum(dimOf(d, 'b')), other: at(x, 1).exp() }), () => ({ sum: loose(full(0, [dimOf(d, 'e')])), other: at(x, 0).max(dimOf(d, 'b')) }))
    return loose(r.sum).mul(r.other)
  } },
  { name: 'cond in scan', dims: layers, in: ['b e', 'l e h', 'l h e'], f: (x, d) => scan(dimOf(d, 'l'), at(x, 0), { up: at(x, 1), down: at(x, 2), i: iota(dimOf(d, 'l')) }, (c: T, { up, down, i }) =>
    [cond(scalar(loose(i).equal(1)), () => c.mul(0.5), () => c.add(c.dot(up, dimOf(d, 'e')).tanh().dot(down, dimOf(d, 'h')))), {}])[0] },
  { name: 'scan in cond', dims: layers, in: ['b e', 'l e h', 'l h e', '+'], f: (x, d) => cond(positive(at(x, 3)),
    () => scan(dimOf(d, 'l'), at(x, 0), { up: at(x, 1), down: at(x, 2) }, (c: T, { up, down }) => [c.add(c.dot(up, dimOf(d, 'e')).tanh().dot(down, dimOf(d, 'h'))), {}])[0], () => at(x, 0)) },
  { name: 'scan in reverse', dims: { l: 4, b: 4, e: 4 }, in: ['b e', 'l b e', 'e'], f: (x, d) => {
    const [last, ys] = scan(dimOf(d, 'l'), at(x, 0), at(x, 1), (c: T, s: T) => { const next = c.mul(at(x, 2)).add(s).sin(); return [next, { next }] }, { reverse: true })
    return loose(ys.next).mul(last)
  } },
  { name: 'scan in scan', dims: { l: 2, m: 4, b: 4, e: 4 }, in: ['b e', 'l m e'], f: (x, d) => scan(dimOf(d, 'l'), at(x, 0), at(x, 1), (c: T, w: T) =>
    [scan(dimOf(d, 'm'), c, w, (s: T, v: T) => [s.mul(v).add(s.sin()), {}])[0], {}])[0] },
  { name: 'scan whose stacks are reduced', dims: { l: 4, b: 4, e: 4 }, in: ['l b e', 'b'], f: (x, d) => {
    const [, ys] = scan(dimOf(d, 'l'), {}, at(x, 0), (_, s: T) => [{}, { y: s.dot(at(x, 1), dimOf(d, 'b')), unread: s.exp() }])
    return ys.y
  } },
  { name: 'while', dims: { b: 4, e: 4 }, in: ['b e', 'e'], noGradient: true, f: (x, d) => {
    const out = whileLoop(({ n, sum }) => scalar(loose(n).cast('f32').maximum(loose(sum).max().mul(2)).less(7)), ({ n, sum }) => ({ n: n.add(1), sum: loose(sum).add(loose(at(x, 1)).square()).mul(1.2) }), { n: full(0, [], 'i32'), sum: at(x, 0) })
    return loose(out.sum).add(loose(out.n).cast('f32')).mul(dimOf(d, 'e').size)
  } },
  { name: 'gradient past a while', dims: { b: 4, e: 4 }, in: ['b e', 'e'], f: x => {
    const turns = whileLoop(n => scalar(loose(n).less(loose(at(x, 0).stopGradient().square().sum()))), n => n.add(1), full(0, []))
    return at(x, 0).mul(turns).mul(at(x, 1))
  } },
  { name: 'remat', dims: { b: 4, e: 4, h: 8 }, in: ['b e', 'e h', 'h e'], f: ([x, up, down] = [], d) => {
    if (x === undefined || up === undefined || down === undefined) throw new Error('three operands')
    const block = remat((x: T) => x.add(named(x.dot(up, dimOf(d, 'e')).tanh(), 'hidden').dot(down, dimOf(d, 'h'))), { keep: ['hidden'] })
    return block(block(x).sin())
  } },
  { name: 'microbatches', dims: { b: 8, e: 4, h: 4 }, in: ['b e', 'e h'], f: ([x, w] = [], d) => {
    if (x === undefined || w === undefined) throw new Error('two operands')
    const f = (p: { w: T }, { x }: { x: T }): LossAndGrads<{ w: T }> => valueAndGrad((p: { w: T }) => scalar(loose(x.dot(p.w, dimOf(d, 'e')).tanh().square().mean())))(p)
    // The second has fewer examples than there may be devices.
    const [{ value, grads }, few] = [accumulate(f, { w }, { x }, dimOf(d, 'b'), 2), accumulate(f, { w }, { x }, dimOf(d, 'b'), 4)]
    return grads.w.add(value).add(few.grads.w.mul(2))
  } },
  { name: 'gradient in cond', dims: { b: 4, e: 4 }, in: ['b e', 'e', '+'], f: x => cond(positive(at(x, 2)),
    () => grad((p: { w: T }) => scalar(loose(at(x, 0).mul(p.w).tanh().square().sum())))({ w: at(x, 1) }).w, () => at(x, 1)) },
]
