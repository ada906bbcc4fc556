/** LSTM and attention, values and gradients, by the reference evaluator in f64: what PyTorch's modules compute. */
import { describe, expect, test } from 'vitest'
import { dims, expectDims, index, loose, unstack, vjp, type Tensor } from '../../src/engine/index.ts'
import { attention, causalAttention, crossAttention, lstm, lstmCell, selfAttention } from '../../src/nn/index.ts'
import { gradientError } from '../autodiff/differences.ts'
import { given, valueOfTensor, type T } from '../graph/support.ts'
import { draw } from '../support/values.ts'
import { golden } from './golden.ts'

describe('lstm', () => {
  const d = dims({ batch: 3, time: 4, inputs: 2, hidden: 3, past: 3, gates: 4 })
  const g = golden('lstm')
  const state = [d.batch, d.hidden] as const
  const all = {
    x: g.operand('x', [d.batch, d.time, d.inputs]), h0: g.operand('h0', state), c0: g.operand('c0', state), weights: g.operand('weights', [d.batch, d.time, d.hidden]),
    input: g.operand('input', [d.inputs, d.gates, d.hidden]), past: g.operand('past', [d.past, d.gates, d.hidden]), bias: g.operand('bias', [d.gates, d.hidden]),
  }
  const operands = Object.values(all)
  const x = all.x.tensor as Tensor<'batch' | 'time' | 'inputs'>
  const first = { hidden: all.h0.tensor as Tensor<'batch' | 'hidden'>, cell: all.c0.tensor as Tensor<'batch' | 'hidden'> }
  const w = { input: all.input.tensor as Tensor<'inputs' | 'gates' | 'hidden'>, past: all.past.tensor as Tensor<'past' | 'gates' | 'hidden'>, bias: all.bias.tensor as Tensor<'gates' | 'hidden'> }

  test('is PyTorch\'s, both ways along time', () => {
    const found = lstm(x, d.time, w, d, { state: first })
    g.expectAll({
      output: expectDims(found.output, [d.batch, d.time, d.hidden]), hidden: found.state.hidden, cell: found.state.cell,
      reversed: expectDims(lstm(x, d.time, w, d, { state: first, reverse: true }).output, [d.batch, d.time, d.hidden]),
    }, operands)
  })
  test('has PyTorch\'s gradients', () => {
    const { pull } = vjp((x_: typeof x, first_: typeof first, w_: typeof w) => {
      const { output, state } = lstm(x_, d.time, w_, d, { state: first_ })
      return { output, cell: state.cell }
    })(x, first, w)
    const [dx, dstate, dw] = pull({ output: all.weights.tensor as Tensor<'batch' | 'time' | 'hidden'>, cell: expectDims(loose(first.cell).mul(0).add(0.5), [d.batch, d.hidden]) })
    g.expectAll({ dx, dh0: dstate.hidden, dc0: dstate.cell, dinput: dw.input, dpast: dw.past, dbias: dw.bias }, operands)
  })
  test('steps of the cell are the sequence', () => {
    let now: typeof first = first
    for (const part of unstack(x, d.time)) now = lstmCell(expectDims(part, [d.batch, d.inputs]), now, w, d)
    g.expectAll({ hidden: now.hidden, cell: now.cell }, operands)
  })
  test('steps that are masked change nothing: a row ends where its mask does', () => {
    const mask = given([d.batch, d.time], [1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0], 'bool')
    const { output, state } = lstm(x, d.time, w, d, { state: first, mask: mask.tensor as Tensor<'batch' | 'time'> })
    const plain = valueOfTensor(expectDims(lstm(x, d.time, w, d, { state: first }).output, [d.batch, d.time, d.hidden]), ...operands)
    const last = valueOfTensor(state.hidden, ...operands, mask)
    const at = (row: number, time: number): number[] => plain.slice((row * 4 + time) * 3, (row * 4 + time) * 3 + 3)
    expect(last).toEqual([...at(0, 3), ...at(1, 1), ...at(2, 0)])
    expect(valueOfTensor(expectDims(index(output, d.time, 3), [d.batch, d.hidden]), ...operands, mask)).toEqual(last)
  })
  test('of halves keeps its cell in f32', () => {
    const { output, state } = lstm(x.cast('bf16'), d.time, { input: w.input.cast('bf16'), past: w.past.cast('bf16'), bias: w.bias.cast('bf16') }, d)
    expect([output.dtype, state.hidden.dtype, state.cell.dtype]).toEqual(['bf16', 'bf16', 'f32'])
  })
})

describe('attention', () => {
  const d = dims({ batch: 2, seq: 4, kvSeq: 4, source: 3, embed: 6, heads: 2, headDim: 3 })
  const g = golden('attention')
  const projection = [d.embed, d.heads, d.headDim] as const
  const all = {
    x: g.operand('x', [d.batch, d.seq, d.embed]), memory: g.operand('memory', [d.batch, d.source, d.embed]), query: g.operand('query', projection), key: g.operand('key', projection),
    value: g.operand('value', projection), out: g.operand('out', [d.heads, d.headDim, d.embed]), weights: g.operand('weights', [d.batch, d.seq, d.embed]),
    keep: g.operand('keep', [d.batch, d.source], 'bool'), segments: g.operand('segments', [d.batch, d.seq], 'i32'), prefix: g.operand('prefix', [d.batch, d.seq], 'bool'),
  }
  const operands = Object.values(all)
  type X = Tensor<'batch' | 'seq' | 'embed'>
  type Ids = Tensor<'batch' | 'seq'>
  type Projection = Tensor<'embed' | 'heads' | 'headDim'>
  const x = all.x.tensor as X
  const w = { query: all.query.tensor as Projection, key: all.key.tensor as Projection, value: all.value.tensor as Projection, out: all.out.tensor as Projection }
  const weights = all.weights.tensor as X
  const [segments, prefix] = [all.segments.tensor as Ids, all.prefix.tensor as Ids]

  test('to another sequence is PyTorch\'s MultiheadAttention, gradients too', () => {
    const memory = all.memory.tensor as Tensor<'batch' | 'source' | 'embed'>
    const { value, pull } = vjp((x_: X, memory_: typeof memory, w_: typeof w) => crossAttention(x_, memory_, w_, { ...d, kvSeq: d.source }, { keep: all.keep.tensor as Tensor<'batch' | 'source'> }))(x, memory, w)
    const [dx, dmemory, dw] = pull(weights)
    g.expectAll({ cross: expectDims(value, [d.batch, d.seq, d.embed]), dx, dmemory, dquery: dw.query, dkey: dw.key, dvalue: dw.value, dout: dw.out }, operands)
  })
  const ways: { readonly [name: string]: (x: X) => X } = {
    causal: x => selfAttention(x, w, d), all: x => selfAttention(x, w, d, { causal: false }), prefix: x => selfAttention(x, w, d, { prefix }),
    segments: x => selfAttention(x, w, d, { segments }), both: x => selfAttention(x, w, d, { segments, prefix }),
  }
  test.each(Object.entries(ways))('to itself, %s', (name, f) => {
    const { value, pull } = vjp(f)(x)
    g.expectAll({ [name]: expectDims(value, [d.batch, d.seq, d.embed]), [`d${name}`]: pull(weights)[0] }, operands)
  })
  test('causalAttention is the first of them', () => {
    g.expectAll({ causal: expectDims(causalAttention(x, w, d), [d.batch, d.seq, d.embed]) }, operands)
  })
  test('who sees nothing gets 0, and gives gradient 0', () => {
    const none = given([d.batch, d.source], [0, 0, 0, 1, 0, 1], 'bool')
    const memory = all.memory.tensor as Tensor<'batch' | 'source' | 'embed'>
    const { value, pull } = vjp((x_: X, m: typeof memory) => crossAttention(x_, m, w, { ...d, kvSeq: d.source }, { keep: none.tensor as Tensor<'batch' | 'source'> }))(x, memory)
    const [dx, dmemory] = pull(weights)
    const [y, rows, others] = [value, dx, dmemory].map(t => valueOfTensor(t, ...operands, none))
    expect(y?.slice(0, 24).every(n => n === 0)).toBe(true)
    expect(y?.slice(24).every(n => n !== 0)).toBe(true)
    expect([rows?.slice(0, 24), others?.slice(0, 18)].flat().every(n => n === 0)).toBe(true)
  })
  test('the gradient of what is isolated is that of what it is', () => {
    const random = (shape: Parameters<typeof given>[0], seed: number) => given(shape, Array.from({ length: shape.reduce((n, e) => n * e.size, 1) }, (_, i) => 2 * draw(seed, i) - 1))
    const seen = given([d.seq, d.kvSeq], [1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0], 'bool')
    const error = gradientError(([q, k, v, visible]) => (q === undefined || k === undefined || v === undefined || visible === undefined ? seen.tensor
      : attention(q, k, v, { headDim: 'headDim', kvSeq: 'kvSeq' }, { visible, isolate: true })),
    [random([d.batch, d.seq, d.heads, d.headDim], 1), random([d.batch, d.kvSeq, d.heads, d.headDim], 2), random([d.batch, d.kvSeq, d.heads, d.headDim], 3), seen], 7)
    expect(error).toBeLessThan(1e-6)
  })
  test('refuses what lacks the dims', () => {
    const q = x as unknown as T
    expect(() => attention(q, q, q, { headDim: 'headDim', kvSeq: 'seq' })).toThrow(/DimError\[no-such-dim\] attention: the tensor has no dim "headDim"/)
    expect(() => attention(q, q, q, { headDim: 'embed', kvSeq: 'kvSeq' })).toThrow(/DimError\[no-such-dim\] attention: the tensor has no dim "kvSeq"/)
  })
})
