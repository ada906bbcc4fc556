/**
 * What a layer of a GPT costs by each form of parallelism: how often each kind of collective runs along each axis, and how many elements enter it on a device,
 * as the literature has it (Megatron: Narayanan et al. 2021, Korthikanti et al. 2022; ZeRO: Rajbhandari et al. 2020). Two depths are planned; what one has
 * more than the other is its layers'. What the embedding, the head, the loss and the norm cost is in test/collectives.test.ts.
 */
import { describe, expect, test } from 'vitest'
import { sizeOf } from '../../src/core/dim.ts'
import { leavesOf, mesh as meshOf, plan, type Layouts, type Remat } from '../../src/engine/index.ts'
import { gpt, type GptConfig } from '../../src/models/index.ts'
import { adamw } from '../../src/optim/index.ts'
import { all } from '../support/depth.ts'
import { stateOf, trainStep } from '../../src/train/program.ts'

interface How extends Layouts { readonly mesh: { readonly [axis: string]: number }; readonly microbatches?: number; readonly remat?: Remat }
type Size = Pick<GptConfig, 'embed' | 'seq'> & { readonly batch: number; readonly heads: number }

/** Elements that enter collectives, by `kind along axes`, and how often those run. */
type Cost = { readonly [collective: string]: { readonly elements: number; readonly count: number } }
const optimizer = adamw({ rate: 1e-3 })
const modelOf = ({ batch, embed, heads, ...size }: Size, layers: number) => gpt({ vocab: 256, layers, embed, heads, headDim: embed / heads, hidden: 4 * embed, dropout: 0, ...size } as never, batch)

function costOf(size: Size, layers: number, { mesh, microbatches = 1, remat = 'all-but-contractions', ...layouts }: How): Cost {
  const model = modelOf(size, layers)
  const step = trainStep(model, { seed: 0, remat, optimizer, microbatches })
  const found = plan(step, [stateOf(model, { optimizer }), model.batch] as const, { mesh: meshOf(mesh), dims: model.dims, ...layouts }).collectives
  const sums: { [key: string]: { elements: number; count: number } } = {}
  for (const c of found) {
    const sum = (sums[`${c.kind} along ${[...c.axes].sort().join()}`] ??= { elements: 0, count: 0 })
    sum.elements += c.count * c.elements
    sum.count += c.count
  }
  return sums
}
/** What a layer adds; of collectives as large as their axes share out, all are counted, small merged ones too. */
function perLayer(size: Size, how: How): Cost {
  const [two, four] = [costOf(size, 2, how), costOf(size, 4, how)]
  return Object.fromEntries(Object.entries(four).map(([key, { elements, count }]) => [key, { elements: (elements - (two[key]?.elements ?? 0)) / 2, count: (count - (two[key]?.count ?? 0)) / 2 }] as const)
    .filter(([, { elements, count }]) => elements > 0 || count > 0))
}
const elementsIn = (cost: Cost): { readonly [key: string]: number } => Object.fromEntries(Object.entries(cost).map(([key, { elements }]) => [key, elements]))

/** A layer's parameters: 12h² and vectors. `split` are those with dim `embed`, over which they rest in parts; `last` is the bias that nothing backward reads. */
function parametersOf(size: Size, share: (dims: readonly string[]) => number = () => 1): { readonly all: number; readonly split: number; readonly whole: number; readonly last: number } {
  const sum = (keep: (path: string, dims: readonly string[]) => boolean): number => leavesOf(modelOf(size, 1).params).filter(l => l.path.startsWith('blocks.')).map(l => ({ ...l, dims: l.leaf.shape.map(d => d.name) }))
    .filter(l => keep(l.path, l.dims)).reduce((n, l) => n + sizeOf(l.leaf.shape) / share(l.dims), 0)
  const split = sum((_, dims) => dims.includes('embed'))
  return { all: sum(() => true), split, whole: sum((_, dims) => !dims.includes('embed')), last: sum(path => path === 'blocks.downBias') }
}

// More tokens than weights on every device: of fewer, weights are met where they rest (test/partition/at-rest.test.ts).
const sizes: readonly Size[] = [{ embed: 64, seq: 32, batch: 64, heads: 8 }, { embed: 128, seq: 64, batch: 64, heads: 4 }]
const cases = sizes.flatMap((size, i) => [2, 4].filter(n => all || (i === 1 && n === 4)).map(n => ({ ...size, n, size })))
const data = { batch: 'data' }
const tensor = { heads: 'model', hidden: 'model', vocab: 'model' }
const residual = { residual: { from: 'compute', seq: 'model' } } as const
/** b·s·h of the whole batch. */
const stream = ({ batch, seq, embed }: Size): number => batch * seq * embed

describe.each(cases)('width $embed, $batch × $seq tokens, over $n', ({ size, n }) => {
  const p = parametersOf(size)
  test('data parallel: one all-reduce of P a step', () => {
    expect(perLayer(size, { mesh: { data: n }, layout: data })).toEqual({ 'all-reduce along data': { elements: p.all, count: 0 } })
    expect(elementsIn(perLayer(size, { mesh: { data: n }, layout: data, microbatches: 2 }))).toEqual({ 'all-reduce along data': p.all })
  })
  test('ZeRO-1: P reduce-scattered, and P gathered after the update; of microbatches once, too', () => {
    const expected = { 'reduce-scatter along data': p.split, 'all-gather along data': p.split / n, 'all-reduce along data': p.whole }
    for (const microbatches of [1, 2]) expect(elementsIn(perLayer(size, { mesh: { data: n }, layout: data, state: { embed: 'data' }, microbatches }))).toEqual(expected)
  })
  test('ZeRO-2: of m microbatches m P reduce-scattered, and P gathered', () => {
    for (const microbatches of [2, 4]) {
      expect(elementsIn(perLayer(size, { mesh: { data: n }, layout: data, state: { embed: 'data' }, gradients: { from: 'state' }, microbatches })))
        .toEqual({ 'reduce-scatter along data': microbatches * p.split, 'all-gather along data': p.split / n, 'all-reduce along data': p.whole })
    }
  })
  test('ZeRO-3: P gathered forward and again backward, P reduce-scattered: 3 P (n − 1) / n are received', () => {
    for (const microbatches of [1, 2]) {
      const found = elementsIn(perLayer(size, { mesh: { data: n }, layout: data, params: { embed: 'data' }, microbatches }))
      expect(found).toEqual({ 'all-gather along data': microbatches * (2 * p.split - p.last) / n, 'reduce-scatter along data': microbatches * p.split, 'all-reduce along data': p.whole })
      const received = (found['all-gather along data'] ?? 0) * (n - 1) + (found['reduce-scatter along data'] ?? 0) * (n - 1) / n
      expect(received).toBe(microbatches * (3 * p.split - p.last) * (n - 1) / n)
    }
  })
  test('ZeRO-3 gathers a layer twice, whatever is recomputed', () => {
    const [usual, everything] = (['all-but-contractions', 'everything'] as const).map(remat => elementsIn(perLayer(size, { mesh: { data: n }, layout: data, params: { embed: 'data' }, remat })))
    // Recomputing all reads the last bias again.
    expect({ ...everything, 'all-gather along data': 0 }).toEqual({ ...usual, 'all-gather along data': 0 })
    expect((everything?.['all-gather along data'] ?? 0) - (usual?.['all-gather along data'] ?? 0)).toBeLessThanOrEqual(p.last / n)
  })
  test('tensor parallel: 4 all-reduces of bsh, 8 bsh (t − 1) / t received; 5 where everything is recomputed', () => {
    expect(perLayer(size, { mesh: { model: n }, layout: tensor })).toEqual({ 'all-reduce along model': { elements: 4 * stream(size), count: 4 } })
    // Megatron repeats both of the forward pass, 12 bsh in all; but what a layer's last sum gives, nothing in its backward pass reads.
    expect(perLayer(size, { mesh: { model: n }, layout: tensor, remat: 'everything' })).toEqual({ 'all-reduce along model': { elements: 5 * stream(size), count: 5 } })
  })
  test('sequence beside tensor parallel: 4 all-gathers and 4 reduce-scatters of bsh, the same bytes', () => {
    // The gains and biases of the norms, and what is added behind the reduce-scatters, have their gradients from all devices' tokens.
    const onStream = 5 * size.embed
    expect(perLayer(size, { mesh: { model: n }, layout: tensor, layouts: residual })).toEqual({
      'all-gather along model': { elements: 4 * stream(size) / n, count: 4 }, 'reduce-scatter along model': { elements: 4 * stream(size), count: 4 },
      'all-reduce along model': { elements: onStream, count: 0 },
    })
  })
  test('hybrid: gathered and scattered among shards, a device\'s part all-reduced between replicas once a step, of any microbatches', () => {
    for (const microbatches of [1, 2]) {
      expect(elementsIn(perLayer(size, { mesh: { replica: 2, shard: n }, layout: { batch: ['replica', 'shard'] }, params: { embed: 'shard' }, microbatches }))).toEqual({
        'all-gather along shard': microbatches * (2 * p.split - p.last) / n, 'reduce-scatter along shard': microbatches * p.split,
        'all-reduce along replica': p.split / n, 'all-reduce along replica,shard': p.whole,
      })
    }
  })
  test('data × tensor: both, each of its share', () => {
    const own = parametersOf(size, dims => (dims.includes('heads') || dims.includes('hidden') ? n : 1))
    expect(elementsIn(perLayer(size, { mesh: { data: 2, model: n }, layout: { ...data, ...tensor } }))).toEqual({ 'all-reduce along data': own.all, 'all-reduce along model': 4 * stream(size) / 2 })
  })
  test('FSDP × tensor: what rests in parts is a device\'s share of the tensor split', () => {
    const own = parametersOf(size, dims => (dims.includes('heads') || dims.includes('hidden') ? n : 1))
    expect(elementsIn(perLayer(size, { mesh: { data: 2, model: n }, layout: { ...data, ...tensor }, params: { embed: 'data' } }))).toEqual({
      'all-gather along data': (2 * own.split - own.last) / 2, 'reduce-scatter along data': own.split, 'all-reduce along data': own.whole, 'all-reduce along model': 4 * stream(size) / 2,
    })
  })
  test('two-dimensional weights: each product is summed along the axis of what it contracts', () => {
    const found = elementsIn(perLayer(size, { mesh: { rows: 2, columns: n }, layout: { heads: 'columns', hidden: 'columns', vocab: 'columns', embed: 'rows' } }))
    const tokens = size.batch * size.seq
    // Rows: q, k, v and 4h forward, the cotangents of what the two other matrices read backward; and the norms' two means forward, two backward, of both norms.
    expect(found).toEqual({ 'all-reduce along rows': (3 + 4 + 1 + 4) * stream(size) / n + 2 * 4 * tokens, 'all-reduce along columns': 4 * stream(size) / 2 })
  })
})

describe('no collective is repeated by the recompute', () => {
  const size: Size = { embed: 128, seq: 32, batch: 8, heads: 8 }
  const forms: { readonly [form: string]: How } = {
    'data': { mesh: { data: 4 }, layout: data }, 'tensor': { mesh: { model: 4 }, layout: tensor }, 'data × tensor': { mesh: { data: 2, model: 2 }, layout: { ...data, ...tensor } },
    'sequence × tensor × data': { mesh: { data: 2, model: 2 }, layout: { ...data, ...tensor }, layouts: residual }, 'ZeRO-1': { mesh: { data: 4 }, layout: data, state: { embed: 'data' } },
    'two-dimensional weights': { mesh: { rows: 2, columns: 2 }, layout: { heads: 'columns', hidden: 'columns', vocab: 'columns', embed: 'rows' } },
  }
  test.each(Object.entries(forms))('%s: as many as where nothing is recomputed', (_, how) => {
    expect(elementsIn(perLayer(size, how))).toEqual(elementsIn(perLayer(size, { ...how, remat: 'nothing' })))
  })
})
