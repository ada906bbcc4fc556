/** Cases: attention, recurrence and weighted means. */
import { expectDims, lossAndGrads, loose, type Tensor } from '../../src/engine/index.ts'
import { chunkedEntropy } from '../../src/nn/chunked-entropy.ts'
import { attention, crossAttention, lstm, lstmCell, selfAttention, weightedMean } from '../../src/nn/index.ts'
import { at, dimOf, type Case, type Dims, type T } from './case.ts'

const heads = { b: 2, s: 4, t: 4, e: 4, h: 2, k: 2 }
const four = 'e h k'
const dimsOf = (d: Dims) => ({ seq: dimOf(d, 's'), kvSeq: dimOf(d, 't'), embed: dimOf(d, 'e'), heads: dimOf(d, 'h'), headDim: dimOf(d, 'k') })
const weightsOf = (x: readonly T[], from: number) => ({ query: at(x, from), key: at(x, from + 1), value: at(x, from + 2), out: at(x, from + 3) })
const cells = { b: 2, s: 3, i: 2, h: 4, r: 4, g: 4 }
const recurrent = (d: Dims) => ({ inputs: dimOf(d, 'i'), hidden: dimOf(d, 'h'), past: dimOf(d, 'r'), gates: dimOf(d, 'g') })
const gates = (x: readonly T[], from: number) => ({ input: at(x, from), past: at(x, from + 1), bias: at(x, from + 2) })

const inChunks = (x: readonly T[], d: Dims, chunks: number, ignore?: number): Tensor<never> =>
  chunkedEntropy(at(x, 0), at(x, 1), at(x, 2), { over: dimOf(d, 'e'), classes: dimOf(d, 'c'), along: dimOf(d, 's'), chunks, ...(ignore === undefined ? {} : { ignore }) }).value

export const nn: readonly Case[] = [
  { name: 'attention', dims: { ...heads, s: 2 }, in: ['b s h k', 'b t h k', 'b t h k'], f: (x, d) => attention(at(x, 0), at(x, 1), at(x, 2), { headDim: dimOf(d, 'k').name, kvSeq: dimOf(d, 't').name }) },
  { name: 'attention to what is visible', dims: { ...heads, s: 2 }, in: ['b s h k', 'b t h k', 'b t h k', 's t'], f: (x, d) =>
    attention(at(x, 0), at(x, 1), at(x, 2), { headDim: dimOf(d, 'k').name, kvSeq: dimOf(d, 't').name }, { visible: at(x, 3).greater(-0.3) }) },
  { name: 'attention, isolated', dims: { ...heads, s: 2 }, in: ['b s h k', 'b t h k', 'b t h k', 'b s t'], f: (x, d) =>
    attention(at(x, 0), at(x, 1), at(x, 2), { headDim: dimOf(d, 'k').name, kvSeq: dimOf(d, 't').name }, { visible: at(x, 3).greater(0.1), isolate: true }) },
  { name: 'self-attention', dims: heads, in: ['b s e', four, four, four, 'h k e'], f: (x, d) => selfAttention(at(x, 0), weightsOf(x, 1), dimsOf(d)) },
  { name: 'self-attention of documents, with prefixes', dims: heads, in: ['b s e', four, four, four, 'h k e', 'b s#2', 'b s#2'], f: (x, d) =>
    selfAttention(at(x, 0), weightsOf(x, 1), dimsOf(d), { segments: at(x, 5), prefix: at(x, 6).equal(1) }) },
  { name: 'cross-attention', dims: { ...heads, t: 2 }, in: ['b s e', four, four, four, 'h k e', 'b t e', 'b t#4'], f: (x, d) =>
    crossAttention(at(x, 0), at(x, 5), weightsOf(x, 1), dimsOf(d), { keep: at(x, 6).greater(0) }) },
  { name: 'cross-entropy in chunks', dims: { a: 4, s: 4, e: 2, c: 8 }, in: ['a s e', 'c e', 'a s#8'], f: (x, d) => inChunks(x, d, 2) },
  { name: 'cross-entropy of some, in chunks', dims: { a: 2, s: 4, e: 2, c: 4 }, in: ['s a e', 'e c', 'a s#4'], f: (x, d) => inChunks(x, d, 4, 3) },
  { name: 'lstm', dims: cells, in: ['b s i', 'i g h', 'r g h', 'g h'], f: (x, d) => {
    const { output, state } = lstm(at(x, 0), dimOf(d, 's'), gates(x, 1), recurrent(d))
    return loose(output).add(loose(state.cell))
  } },
  { name: 'lstm of some steps, in reverse', dims: cells, in: ['b s i', 'i g h', 'r g h', 'g h', 'b s#3', 'b h'], f: (x, d) =>
    lstm(at(x, 0), dimOf(d, 's'), gates(x, 1), recurrent(d), { reverse: true, mask: at(x, 4).greater(0), state: { hidden: at(x, 5), cell: at(x, 5).mul(2) } }).output },
  { name: 'lstm, one step', dims: cells, in: ['b i', 'i g h', 'r g h', 'g h', 'b h', 'b h'], f: (x, d) => {
    const { hidden, cell } = lstmCell(at(x, 0), { hidden: at(x, 4), cell: at(x, 5) }, gates(x, 1), recurrent(d))
    return loose(hidden).mul(loose(cell))
  } },
  { name: 'weighted mean', dims: { a: 4, b: 8 }, in: ['a b', 'a b#3'], f: x => { const { value, weight } = weightedMean(at(x, 0), at(x, 1)); return value.add(weight.mul(0.125)) } },
  { name: 'loss and gradients, scaled by what is summed', dims: { a: 4, b: 8 }, in: ['a b', 'b', 'a#3'], f: (x, d) => {
    const { value, weight, grads } = lossAndGrads((p: { readonly w: T }) => {
      const { value, weight } = weightedMean(at(x, 0).dot(p.w, dimOf(d, 'b')).tanh(), at(x, 2))
      return { loss: value, weight }
    })({ w: at(x, 1) })
    // Partial sums times a scalar that every device has, then their sum.
    return grads.w.mul(expectDims(weight, []) as Tensor<never>).add(value)
  } },
]
