/** What each small program costs: its collectives, one by one, and no more. */
import { describe, expect, test } from 'vitest'
import { crossEntropy, layerNorm, logsumexp, softmax } from '../../src/nn/index.ts'
import { dims, full, grad, input, loose, mesh, param, plan, totals, type AnyTensor, type Layouts, type Scalar, type Tensor, type Tree } from '../../src/engine/index.ts'
import { globalNorm } from '../../src/optim/index.ts'

type T = Tensor<string>
const d = dims({ batch: 8, seq: 4, kvSeq: 4, embed: 16, hidden: 32, heads: 2, vocab: 64 })
const { batch, seq, kvSeq, embed, hidden, heads, vocab } = d
const grid = mesh({ batch: 2, model: 2 })
const x = input('x', [batch, seq, embed]) as T
const h = input('h', [batch, hidden]) as T
const w = param('w', [embed, hidden]) as T
const v = param('v', [hidden, embed]) as T
const tensorParallel: Layouts = { layout: { batch: 'batch', hidden: 'model', heads: 'model', vocab: 'model' } }
const dataParallel: Layouts = { layout: { batch: 'batch' } }

/** `all-reduce model 256`: kind, axes, elements that enter on each device, with a factor where it runs more than once. */
const costOf = (f: (...args: readonly T[]) => Tree, args: readonly T[], layouts: Layouts, sizes = grid): string[] =>
  plan(f, args, { mesh: sizes, ...layouts, dims: d }).collectives.map(c => `${c.kind} ${c.axes.join()} ${c.elements}${c.count === 1 ? '' : ` × ${c.count}`}`)
const loss = (x: AnyTensor): Scalar => loose(x).square().sum() as unknown as Scalar
const one = (f: (x: T) => Tree) => (...x: readonly T[]): Tree => f(x[0] ?? full(0, []) as unknown as T)
const two = (f: (x: T, y: T) => Tree) => (...x: readonly T[]): Tree => f(x[0] as T, x[1] as T)
const three = (f: (x: T, y: T, z: T) => Tree) => (...x: readonly T[]): Tree => f(x[0] as T, x[1] as T, x[2] as T)

describe('partial sums', () => {
  const partial = (h: T, v: T): T => h.dot(v, hidden) // batch embed, partial over model
  test('nothing is reduced before it must be', () => {
    expect(costOf(two(partial), [h, v], tensorParallel)).toEqual(['all-reduce model 64'])
    expect(costOf(two((h, v) => partial(h, v).mul(2).neg().div(3)), [h, v], tensorParallel)).toEqual(['all-reduce model 64'])
    expect(costOf(two((h, v) => partial(h, v).add(partial(h.mul(2), v))), [h, v], tensorParallel)).toEqual(['all-reduce model 64'])
    expect(costOf(two((h, v) => partial(h, v).sub(partial(h.exp(), v)).sum(embed)), [h, v], tensorParallel)).toEqual(['all-reduce model 4'])
    expect(costOf(two((h, v) => partial(h, v).rename(embed, 'other')), [h, v], tensorParallel)).toEqual(['all-reduce model 64'])
  })
  test('what is not linear needs the value', () => {
    expect(costOf(two((h, v) => partial(h, v).exp().sum(embed)), [h, v], tensorParallel)).toEqual(['all-reduce model 64'])
    expect(costOf(two((h, v) => partial(h, v).mul(partial(h, v))), [h, v], tensorParallel)).toEqual(['all-reduce model 64'])
    expect(costOf(two((h, v) => partial(h, v).max(embed)), [h, v], tensorParallel)).toEqual(['all-reduce model 64'])
  })
  test('what one user needs reduced is reduced once for all', () => {
    expect(costOf(two((h, v) => { const p = partial(h, v); return [p.mul(2), p.exp(), p.sum(embed)] }), [h, v], tensorParallel)).toEqual(['all-reduce model 64'])
  })
  test('a whole tensor beside a partial one forces it, a whole scalar does not', () => {
    expect(costOf(three((h, v, y) => partial(h, v).add(y).sum()), [h, v, input('y', [batch, embed]) as T], { layout: { hidden: 'model' } })).toEqual(['all-reduce model 128'])
    expect(costOf(two((h, v) => partial(h, v).sum().add(v.mean('embed').exp().mul(0).sum())), [h, v], { layout: { hidden: 'model' } })).toEqual(['all-reduce model 1'])
    expect(costOf(two((h, w) => h.sum().add(w.sum())), [h, w], tensorParallel)).toEqual(['all-reduce batch,model 1'])
  })
  test('a maximum is reduced as one', () => {
    const text = plan((h: T) => h.max(hidden), [h], { mesh: grid, ...tensorParallel, dims: d }).text
    expect(text).toMatch(/all_reduce[^]*?"stablehlo\.maximum"/)
    expect(costOf(one(h => h.max(hidden).max(batch)), [h], tensorParallel)).toEqual(['all-reduce model,batch 1'])
    expect(costOf(one(h => h.max(hidden).min(batch)), [h], tensorParallel)).toEqual(['all-reduce model 4', 'all-reduce batch 1'])
    expect(costOf(one(h => h.max(hidden).neg()), [h], tensorParallel)).toEqual(['all-reduce model 4'])
  })
  test('addends of halves are f32: where they are added must not be seen', () => {
    const half = [input('h', [batch, hidden], 'bf16') as T, param('v', [hidden, embed], 'bf16') as T]
    const bytes = (dtype: 'f32' | 'bf16'): number[] => plan((h: T, v: T) => partial(h, v).cast(dtype), [half[0] as T, half[1] as T], { mesh: grid, ...tensorParallel, dims: d }).collectives.map(c => c.bytes)
    expect(bytes('f32')).toEqual([64 * 4])
    expect(bytes('bf16')).toEqual([64 * 4])
  })
})

describe('gradients', () => {
  test('of q, k and v flow back through one reduction', () => {
    const weights = ['q', 'k', 'v'].map(name => param(name, [embed, heads, hidden]) as T)
    const f = (...[x, q, k, v]: readonly T[]): Tree => {
      const project = (w: T | undefined): T => (x as T).dot(w as T, embed)
      return grad((p: { x: T }) => loss(p.x.dot(q as T, embed).mul(p.x.dot(k as T, embed)).mul(p.x.dot(v as T, embed)).add(project(q).mul(0))))({ x: x as T })
    }
    expect(costOf(f, [x, ...weights], { layout: { heads: 'model' } })).toEqual(['all-reduce model 512'])
  })
  test('data parallel: one all-reduce a parameter, whatever uses it', () => {
    const f = two((x, w) => grad((p: { w: T }) => loss(x.dot(p.w, embed).tanh().add(x.exp().dot(p.w, embed))))({ w }))
    expect(costOf(f, [x, w], dataParallel)).toEqual([`all-reduce batch ${16 * 32}`])
  })
  test('tensor parallel: two layers cost one reduction forward and one for the input\'s gradient', () => {
    const layers = (x: T, w: T, v: T): T => x.dot(w, embed).tanh().dot(v, hidden)
    expect(costOf(three(layers), [x, w, v], tensorParallel)).toEqual(['all-reduce model 256'])
    expect(costOf(three((x, w, v) => grad((p: { x: T }) => loss(layers(p.x, w, v)))({ x })), [x, w, v], tensorParallel)).toEqual(['all-reduce model 256', 'all-reduce model 256'])
  })
})

describe('layouts at rest', () => {
  const fsdp: Layouts = { layout: { batch: 'batch' }, params: { embed: 'batch' } }
  test('a parameter is gathered once for all its uses', () => {
    expect(costOf(two((x, w) => [x.dot(w, embed), x.exp().dot(w, embed)]), [x, w], fsdp)).toEqual(['all-gather batch 256'])
  })
  test('and not at all where it is used as it rests', () => {
    expect(costOf(one(w => w.relayout('params').mul(2)), [w], fsdp)).toEqual([])
    expect(costOf(one(w => w.relayout('params').square().sum()), [w], fsdp)).toEqual(['all-reduce batch 1'])
  })
  test('its gradient is reduce-scattered where it rests', () => {
    const f = two((x, w) => grad((p: { w: T }) => loss(x.dot(p.w, embed)))({ w }).w.relayout('params'))
    expect(costOf(f, [x, w], fsdp)).toEqual(['all-gather batch 256', 'reduce-scatter batch 512'])
  })
  test('a parameter that rests as it is used costs nothing', () => {
    expect(costOf(two((x, w) => x.dot(w, embed)), [x, w], tensorParallel)).toEqual([])
  })
})

describe('relayouts', () => {
  const move = (to: { readonly [dim: string]: string | readonly string[] }, layout: Layouts, f = (x: T) => x): string[] => costOf(one(x => f(x).relayout(to)), [x], layout)
  test('to the same, to a part, to the whole', () => {
    expect(move({ batch: 'batch' }, dataParallel)).toEqual([])
    expect(move({ batch: 'batch', seq: 'model' }, dataParallel)).toEqual([])
    expect(move({}, dataParallel)).toEqual(['all-gather batch 256'])
    expect(move({}, { layout: { batch: ['batch', 'model'] } })).toEqual(['all-gather batch,model 128'])
    expect(move({ batch: 'batch' }, { layout: { batch: ['batch', 'model'] } })).toEqual(['all-gather model 128'])
  })
  test('of a partial sum to a part of it: a reduce-scatter', () => {
    expect(costOf(two((h, v) => h.dot(v, hidden).relayout({ embed: 'model' })), [h, v], { layout: { hidden: 'model' } })).toEqual(['reduce-scatter model 128'])
  })
  test('of what is the same everywhere: nothing', () => {
    expect(costOf(() => full(1, [batch, embed]).relayout({ batch: 'batch' }), [], dataParallel)).toEqual([])
  })
  test('a new name is laid out by its own rule', () => {
    expect(costOf(one(x => x.rename(seq, kvSeq)), [x], { layout: { kvSeq: 'model' } })).toEqual([])
    expect(costOf(one(x => x.rename(seq, kvSeq)), [x], { layout: { seq: 'model' } })).toEqual(['all-gather model 256'])
    expect(costOf(one(x => x.rename(seq, kvSeq)), [x], { layout: { seq: 'model', kvSeq: 'model' } })).toEqual([])
  })
})

describe('over a sharding dim', () => {
  const scores = input('scores', [batch, kvSeq]) as T
  const logits = input('logits', [batch, vocab]) as T
  const sharding: Layouts = { layout: { batch: 'batch', kvSeq: 'model', vocab: 'model', embed: 'model' } }
  test('softmax, logsumexp, layer norm and cross-entropy reduce a row at a time, never the rows', () => {
    expect(costOf(one(s => softmax(s, kvSeq)), [scores], sharding)).toEqual(['all-reduce model 4', 'all-reduce model 4'])
    expect(costOf(one(s => logsumexp(s, kvSeq)), [scores], sharding)).toEqual(['all-reduce model 4', 'all-reduce model 4'])
    expect(costOf(one(x => layerNorm(x, embed, full(1, [embed]) as never, full(0, [embed]) as never)), [x], sharding)).toEqual(['all-reduce model 16', 'all-reduce model 16'])
    expect(costOf(two((l, t) => crossEntropy(l, vocab, t as never)), [logits, input('t', [batch], 'i32') as T], sharding)).toEqual(['all-reduce model 4', 'all-reduce model 4', 'all-reduce model 4'])
  })
  test('rows of a sharding table: one all-reduce of what was looked up, none for its gradient', () => {
    const table = param('table', [vocab, embed]) as T
    const ids = input('ids', [batch], 'i32') as T
    const rows: Layouts = { layout: { vocab: 'model' } }
    expect(costOf(two((t, ids) => t.take(vocab, ids)), [table, ids], rows)).toEqual(['all-reduce model 128'])
    expect(costOf(two((t, ids) => grad((p: { t: T }) => p.t.take(vocab, ids).sum() as unknown as Scalar)({ t })), [table, ids], rows)).toEqual([])
  })
  test('rows and indices along one axis: the indices are gathered, the rows scattered', () => {
    const table = param('table', [vocab, embed]) as T
    const ids = input('ids', [batch], 'i32') as T
    expect(costOf(two((t, ids) => t.take(vocab, ids)), [table, ids], { layout: { vocab: 'model', batch: 'model' } })).toEqual(['all-gather model 4', 'reduce-scatter model 128'])
  })
  test('the norm of all gradients: one scalar', () => {
    expect(costOf(three((a, b, c) => globalNorm([a, b, c])), [w, v, param('bias', [embed]) as T], tensorParallel)).toEqual(['all-reduce model 1'])
  })
})

test('totals sum by kind and axes', () => {
  const p = plan((h: T, v: T) => [h.dot(v, hidden), h.exp().dot(v, hidden).sum(batch)], [h, v], { mesh: grid, ...tensorParallel, dims: d })
  expect(totals(p.collectives)).toEqual([
    { kind: 'all-reduce', axes: ['model'], count: 1, bytes: 256 }, { kind: 'all-reduce', axes: ['model', 'batch'], count: 1, bytes: 64 },
  ])
})
