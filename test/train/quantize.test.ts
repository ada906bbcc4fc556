/** Weights of few bits: near to what they were, the same on every mesh, and as small as they are said to be. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sizeOf } from '../../src/core/dim.ts'
import { dtypes } from '../../src/core/dtype.ts'
import { DimError } from '../../src/core/errors.ts'
import { treeOps } from '../../src/core/tree.ts'
import { compile, dims, full, initialise, keyOf, leavesOf, mesh as meshOf, openBackend, type Backend, type Layout, type Tensor, type Tree } from '../../src/engine/index.ts'
import { isTensor } from '../../src/graph/tensor.ts'
import { gpt } from '../../src/models/index.ts'
import { dequantize, quantize, type Quantize } from '../../src/nn/index.ts'
import { given, leafValues } from '../graph/support.ts'
import { all } from '../support/depth.ts'
import { relativeError } from '../support/values.ts'

const { vocab, embed } = dims({ vocab: 6, embed: 64 })
const x = given([vocab, embed], Array.from({ length: 6 * 64 }, (_, i) => Math.sin(i * i) * (i < 64 ? 1e-3 : 1)))
const weights = x.tensor as Tensor<'vocab' | 'embed'>

describe('by the reference', () => {
  test.each([[8, 32, 0.005], [8, 64, 0.006], [8, 1, 0.005], [4, 32, 0.1], [4, 64, 0.12]] as const)('%i bits in groups of %i', (bits, group, limit) => {
    const q = quantize(weights, embed, { bits, group })
    expect([q.values.dtype, sizeOf(q.values.shape), sizeOf(q.scale.shape)]).toEqual([bits === 8 ? 'i8' : 'u8', 6 * 64 * bits / 8, 6 * 64 / group])
    const [back = []] = leafValues({ y: dequantize(q, embed) }, x)
    // Each row has its own scales: small ones are as near as large ones.
    for (const from of [0, 64, 320]) expect(relativeError(back.slice(from, from + 64), Array.from(x.data).slice(from, from + 64))).toBeLessThan(limit)
  })
  test('zeros stay zeros', () => {
    const zero = given([vocab, embed], Array.from({ length: 6 * 64 }, () => 0))
    for (const bits of [8, 4] as const) expect(leafValues({ y: dequantize(quantize(zero.tensor as typeof weights, embed, { bits }), embed) }, zero)[0]).toEqual(zero.data)
  })
  test('errors', () => {
    const problem = (how: Quantize, dim: 'embed' | 'vocab' = 'embed', of = weights): string => {
      try { quantize(of, dim, how) } catch (e) { if (e instanceof DimError) return e.problem.what }
      return 'none'
    }
    expect(problem({ bits: 8, group: 5 })).toBe('quantize along "embed" of size 64: groups of 5 do not divide it')
    expect(problem({ bits: 3 as 4 })).toBe('quantize along "embed" of size 64: bits is 3')
    expect(problem({ bits: 4, group: 1 }, 'vocab', given([dims({ vocab: 7 }).vocab, embed], []).tensor as typeof weights)).toBe('quantize along "vocab" of size 7: numbers of 4 bits lie in pairs')
    expect(problem({ bits: 8 }, 'embd' as 'embed')).toBe('quantize: the tensor has no dim "embd"')
    expect(problem({ bits: 8 }, 'embed', weights.cast('i32'))).toContain('floats')
  })
})

describe('a GPT', () => {
  const config = { vocab: 64, seq: 8, layers: 2, embed: 64, heads: 4, headDim: 16, hidden: 128, dropout: 0 }
  const model = gpt(config, 4)
  const tokens = Int32Array.from({ length: 32 }, (_, i) => (i * i * 7) % 64)
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin: 'cpu', devices: 4, cache: false }) })
  afterAll(async () => { await backend.close() })

  // Drawn once by the reference: XLA compiles the drawing for longer than all the rest.
  const drawn = leafValues(initialise(model.params, keyOf(full(1, [], 'i32')))).values()
  const weights = treeOps(isTensor, 'a tensor').map(model.params, () => Float32Array.from(drawn.next().value ?? [])) as never

  async function logits(how: Quantize | undefined, sizes: { readonly [axis: string]: number }, layout: Layout): Promise<number[]> {
    const program = await compile((params: typeof model.params, ids: typeof model.batch.tokens) => model.logits(how === undefined ? params : model.quantized(params, how), { tokens: ids }).mul(10),
      [model.params, model.batch.tokens], { mesh: meshOf(sizes), backend, layout, dims: model.dims })
    using result = await program(weights, tokens)
    const read = Array.from(await result.read(), Number)
    program.dispose()
    return read
  }
  const split: Layout = { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' }

  // On one device, once for all tests.
  const single = new Map<number, Promise<number[]>>()
  const onOne = (bits?: 8 | 4): Promise<number[]> => {
    const found = single.get(bits ?? 32) ?? logits(bits === undefined ? undefined : { bits }, { batch: 1 }, {})
    single.set(bits ?? 32, found)
    return found
  }

  test.each([[8, 0.02], [4, 0.3]] as const)('of %i bits is near the whole one', async (bits, limit) => {
    const error = relativeError(await onOne(bits), await onOne())
    expect(error).toBeLessThan(limit)
    expect(error).toBeGreaterThan(1e-4)
  })
  const splits = ([8, 4] as const).flatMap((bits, i) => [{ batch: 2, model: 2 }, { batch: 1, model: 4 }].filter((_, k) => all || k === i).map(sizes => [bits, sizes] as const))
  test.each(splits)('of %i bits is the same on %j', async (bits, sizes) => {
    expect(relativeError(await logits({ bits }, sizes, split), await onOne(bits))).toBeLessThan(1e-5)
  })
  test('is as small as its bits', () => {
    const bytes = (tree: Tree): number => leavesOf(tree).reduce((n, { leaf }) => n + sizeOf(leaf.shape) * dtypes[leaf.dtype].bytes, 0)
    const { tokens: t, blocks: { query, key, value, out, up, down } } = model.params
    const contracted = bytes([t, query, key, value, out, up, down])
    for (const [bits, share] of [[8, 8.5 / 32], [4, 4.5 / 32]] as const) {
      const { tokens: t, blocks: { query, key, value, out, up, down } } = model.quantized(model.params, { bits, group: 16 })
      expect(bytes([t, query, key, value, out, up, down] as never) / contracted).toBeLessThan(share + 0.02)
    }
  })
})
