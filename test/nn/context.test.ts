/** Attention along a split sequence: every form has the plain form's values and gradients, whatever is visible and on every mesh; and refuses what it does not compute. */
import { describe, expect, test } from 'vitest'
import { dims, expectDims, full, vjp } from '../../src/engine/index.ts'
import { attention, seeing, zigzag, type AttentionOptions, type Context, type Seeing } from '../../src/nn/index.ts'
import { given, leafValues, type Operand, type T } from '../graph/support.ts'
import { draw, relativeError } from '../support/values.ts'

const d = dims({ batch: 2, seq: 8, kvSeq: 8, kvHeads: 2, group: 2, headDim: 3 })
type Shape = Parameters<typeof given>[0]
const random = (shape: Shape, seed: number, scale = 1): Operand => given(shape, Array.from({ length: shape.reduce((n, e) => n * e.size, 1) }, (_, i) => scale * (2 * draw(seed, i) - 1)))
const q = random([d.batch, d.seq, d.kvHeads, d.group, d.headDim], 1, 2)
const [k, v] = [random([d.batch, d.seq, d.kvHeads, d.headDim], 2, 2), random([d.batch, d.seq, d.kvHeads, d.headDim], 3)]
const g = random([d.batch, d.seq, d.kvHeads, d.group, d.headDim], 5)
const segments = given([d.batch, d.seq], [0, 0, 1, 1, 1, 3, 3, 3, 2, 2, 2, 2, 4, 4, 4, 4], 'i32')
const prefix = given([d.batch, d.seq], [1, 1, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1], 'bool')
const all = [q, k, v, g, segments, prefix]

/** The result and the gradients of query, key and value. */
function valuesOf(how: Seeing<string>, options: AttentionOptions<string>): number[][] {
  const order = options.context?.form === 'zigzag' ? zigzag(d.seq, options.context.blocks) : { into: (x: T) => x, back: (x: T) => x }
  const { segments, prefix, ...rest } = how
  const seen = seeing(d.seq, d.seq, { ...rest, ...(segments === undefined ? {} : { segments: order.into(segments) }), ...(prefix === undefined ? {} : { prefix: order.into(prefix) }) })
  const { value, pull } = vjp((x: readonly T[]) => {
    const [query, key, value] = x.map(y => order.into(y)) as [T, T, T]
    if (options.context !== undefined) return expectDims(order.back(attention(query, key, value, { headDim: 'headDim' as string, kvSeq: 'seq' as string }, { ...options, visible: seen }) as T), q.tensor.shape)
    const plain = seeing(d.seq, d.kvSeq, how)
    return expectDims(attention(query, key.rename('seq', 'kvSeq'), value.rename('seq', 'kvSeq'), { headDim: 'headDim' as string, kvSeq: 'kvSeq' as string }, { ...options, visible: plain }), q.tensor.shape)
  })([q.tensor, k.tensor, v.tensor])
  return leafValues([value, ...pull(value.cos())[0] as readonly T[]], ...all)
}
const cases: { readonly [name: string]: readonly [Seeing<string>, AttentionOptions<string>] } = {
  all: [{ causal: false }, {}],
  causal: [{}, {}],
  'a window': [{ window: 3 }, {}],
  'a window to both sides': [{ causal: false, window: 2 }, {}],
  'a window that the program knows': [{ window: full(2, [], 'i32') }, {}],
  'a prefix': [{ prefix: prefix.tensor }, {}],
  documents: [{ segments: segments.tensor }, { softCap: 1.5, scale: 0.7 }],
  'documents seen from both sides': [{ causal: false, segments: segments.tensor }, {}],
  'documents with a window': [{ segments: segments.tensor, window: 2 }, {}],
}
const contexts: readonly Context[] = [{ form: 'ring', blocks: 1 }, { form: 'ring', blocks: 2 }, { form: 'ring', blocks: 4 }, { form: 'gather', blocks: 2 }, { form: 'ulysses' }, { form: 'zigzag', blocks: 1 }, { form: 'zigzag', blocks: 2 }, { form: 'zigzag', blocks: 4 }]
describe.each(Object.entries(cases))('%s', (_, [how, options]) => {
  const plain = valuesOf(how, options)
  test.each(contexts.filter(c => c.form !== 'zigzag' || (how.causal !== false && how.prefix === undefined)))('by $form of $blocks', context => {
    for (const block of context.blocks === 2 ? [1, 2] : [undefined]) {
      const found = valuesOf(how, { ...options, context, ...(block === undefined ? {} : { block }) })
      found.forEach((values, i) => { expect(relativeError(values, plain[i] ?? []), `${i} in blocks of ${block}`).toBeLessThan(1e-12) })
    }
  })
})
