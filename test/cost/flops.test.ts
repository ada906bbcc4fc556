/** Operations of a device's program beside closed forms, also where loops end by numbers that are computed. */
import { describe, expect, test } from 'vitest'
import { localFlops } from '../../src/cost/flops.ts'
import { turnsOf } from '../../src/cost/turns.ts'
import { cond, dims, expectDims, full, input, iota, loose, mesh, plan, scan, whileLoop, type AnyTensor, type Scalar, type Tree } from '../../src/engine/index.ts'
import { gptModel } from '../../src/models/index.ts'
import { adamwCosine, defineRun, planRun } from '../../src/train/index.ts'
import type { T } from '../graph/support.ts'

const d = dims({ rows: 8, inner: 4, columns: 6, turns: 5 })
const x = input('x', [d.rows, d.inner]) as T
const w = input('w', [d.inner, d.columns]) as T
const flops = (f: (a: T, b: T) => Tree, layout = {}): number => localFlops(plan(f, [x, w], { mesh: mesh({ data: 2 }), layout }).local)
const product = 2 * 8 * 4 * 6
const scalar = (t: AnyTensor): Scalar => expectDims(t, [])
const summed = (a: T, b: T, i: AnyTensor): Scalar => scalar(loose(a).mul(loose(i).cast('f32')).dot(b, 'inner').sum('rows', 'columns'))

describe('operations', () => {
  test('of a product: two for each pair, on each device its part', () => {
    expect(flops((a, b) => a.dot(b, 'inner'))).toBe(product)
    expect(flops((a, b) => a.dot(b, 'inner'), { rows: 'data' })).toBe(product / 2)
  })
  test('a loop counts with its turns, one within it with those of both', () => {
    const once = (a: T, b: T): Scalar => scan(d.turns, scalar(full(0, [])), { i: iota(d.turns) }, (s, { i }) => [s.add(summed(a, b, i)), {}])[0]
    expect(flops(once)).toBe(5 * product)
  })
  test('a loop that ends where its index says counts with the turns that it takes', () => {
    // 0 + 1 + … + 4 turns.
    const triangle = (a: T, b: T): Scalar => scan(d.turns, scalar(full(0, [])), { i: iota(d.turns) }, (s, { i }) => {
      const { sum } = whileLoop(v => scalar(v.j.less(i)), v => ({ j: scalar(v.j.add(1)), sum: scalar(v.sum.add(summed(a, b, v.j))) }), { j: scalar(full(0, [], 'i32')), sum: s })
      return [sum, {}]
    })[0]
    expect(flops(triangle)).toBe(10 * product)
  })
  test('a loop whose end depends on what is given counts once; of a choice the branch that takes more', () => {
    const open = (a: T, b: T): Tree => whileLoop(v => scalar(v.sum.less(1)), v => ({ sum: scalar(v.sum.add(summed(a, b, full(1, [])))) }), { sum: scalar(full(0, [])) })
    expect(flops(open)).toBe(product)
    expect(flops((a, b) => cond(scalar(loose(a).max('rows', 'inner').greater(0)), () => summed(a, b, full(1, [])), () => scalar(full(0, []))))).toBe(product)
  })
  test('every op of a program is counted', () => {
    const { local } = plan((a: T, b: T) => a.dot(b, 'inner').sin(), [x, w], { mesh: mesh({ data: 2 }), layout: {} })
    expect([...turnsOf(local, () => 0)].map(([n, times]) => `${n.op} ${times}`).sort()).toEqual(['dot 1', 'input 1', 'input 1', 'unary 1'])
  })
})

describe('of a GPT', () => {
  const [vocab, layers, embed, hidden, batch] = [64, 2, 16, 32, 2]
  const weights = layers * (4 * embed * embed + 2 * embed * hidden) + vocab * embed
  const of = (seq: number, fields: object = {}): ReturnType<typeof planRun> => planRun(defineRun({
    name: 'gpt', model: gptModel({ vocab, seq, layers, embed, heads: 2, headDim: 8, hidden }), data: { batch: () => ({}) }, batch, steps: 1, optimizer: adamwCosine({ rate: 1 }), mesh: { batch: 1 }, layout: {}, ...fields,
  } as never))
  /** Of all scores with all values, once: two products. */
  const attention = (seq: number): number => 4 * batch * seq * seq * embed * layers

  test('six for each weight and token, twelve for each pair of tokens and channel', () => {
    const planned = of(32, { remat: 'nothing' })
    expect(planned.plan.perDevice.flops).toBe(6 * weights * batch * 32 + 3 * attention(32))
    expect(planned).toMatchObject({ flops: planned.plan.perDevice.flops, recomputed: 0, skipsBlocks: false })
  })
  test('what the policy computes again is named', () => {
    const planned = of(32, { remat: 'everything' })
    // All of a layer but its last product, which nothing in it is the gradient of.
    const forward = layers * (4 * embed * embed + embed * hidden) * 2 * batch * 32 + attention(32)
    expect(planned.recomputed).toBe(forward)
    expect(planned.plan.perDevice.flops).toBe(6 * weights * batch * 32 + 3 * attention(32) + forward)
  })
  test('of causal attention in blocks, those that are seen: a half and half a block more', () => {
    const [seq, block] = [1024, 256]
    const seen = (seq / block + 1) / (2 * seq / block)
    const planned = of(seq, { remat: 'nothing' })
    expect(planned.skipsBlocks).toBe(true)
    // Forward two products; backward five, as scores are made again.
    expect(planned.plan.perDevice.flops).toBe(6 * weights * batch * seq + seen * 3.5 * attention(seq))
  })
})

test.each([{ schedule: 'gpipe' }, { schedule: 'circular' }, { schedule: '1f1b' }, { schedule: '1f1b', head: 'all' }] as const)('of a pipeline, %j, each done once: those of the model without it', how => {
  const flops = (pipeline: object): number => planRun(defineRun({
    name: 'run', batch: 8, steps: 1, data: { batch: () => { throw new Error('a planned run reads no data') } }, optimizer: adamwCosine({ rate: 1e-3 }), mesh: { data: 1 }, layout: {},
    model: gptModel({ vocab: 32, seq: 8, layers: 4, embed: 16, heads: 2, headDim: 8, hidden: 32, dropout: 0, ...pipeline }),
  } as never)).flops
  expect(flops({ pipeline: { stages: 2, microbatches: 4, ...how } })).toBe(flops({}))
})
