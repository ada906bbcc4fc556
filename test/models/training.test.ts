/** The models learn: a few steps of `trainStep` on each, and on a mesh that splits what each is meant to be split along, the same losses. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, dims, fold, initialise, input, keyOf, mesh as meshOf, openBackend, param, initialisers, type Arrays, type Backend, type Layout, type Scalar, type Tree } from '../../src/engine/index.ts'
import { UsageError } from '../../src/core/errors.ts'
import { configurable, convNet, convNetModel, gpt, gptModel, lstmModel, mlp, seq2seqModel, type Model } from '../../src/models/index.ts'
import { adamwCosine } from '../../src/train/optimizers.ts'
import { initialise as initialState, stateOf, trainStep } from '../../src/train/program.ts'
import { draw } from '../support/values.ts'
import { z } from 'zod'

type Data = { readonly [name: string]: Uint8Array | Int32Array | Float32Array }
interface Trial { readonly model: Model<Tree, Tree>; readonly batch: Data; readonly meshes: readonly (readonly [{ readonly [axis: string]: number }, Layout])[]; readonly microbatches?: number; readonly rate?: number }
const ids = (seed: number, n: number, below: number, from = 0): Int32Array => Int32Array.from({ length: n }, (_, i) => from + Math.floor(draw(seed, i) * (below - from)))
const some = (x: Int32Array, every: number): Int32Array => x.map((t, i) => (i % every === 0 ? -100 : t))

const trials: { readonly [name: string]: Trial } = {
  'a convolutional net, over the batch and the height': {
    model: convNetModel({ height: 8, width: 8, features: [4, 6], hidden: 16, classes: 3, dropout: 0.1 }).build({ batch: 8 }) as never,
    batch: { images: Uint8Array.from(ids(1, 8 * 64, 256)), labels: some(ids(2, 8, 3), 5) },
    meshes: [[{ batch: 2, line: 2 }, { batch: 'batch', height: 'line' }], [{ line: 4 }, { height: 'line', hidden: 'line' }]],
  },
  'an LSTM, over the batch and its state': {
    model: lstmModel({ vocab: 16, seq: 5, layers: 2, embed: 8, dropout: 0.1 }).build({ batch: 4 }) as never,
    batch: { tokens: ids(3, 20, 16), targets: some(ids(4, 20, 16), 7) },
    meshes: [[{ batch: 2, model: 2 }, { batch: 'batch', hidden: 'model', vocab: 'model' }]], rate: 3e-2,
  },
  'a sequence-to-sequence Transformer, over the batch and heads': {
    model: seq2seqModel({ vocab: 16, source: 6, target: 4, encoderLayers: 1, decoderLayers: 2, embed: 8, heads: 2, headDim: 4, hidden: 16, dropout: 0.1 }).build({ batch: 4 }) as never,
    batch: { source: ids(5, 24, 16, 1).map((t, i) => (i % 6 > 3 && i > 11 ? 0 : t)), target: ids(6, 16, 16), labels: some(ids(7, 16, 16), 5) },
    meshes: [[{ batch: 2, model: 2 }, { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' }]], microbatches: 2,
  },
  'a GPT of packed documents with prefixes, along the sequence': {
    model: gptModel({ vocab: 16, seq: 8, layers: 1, embed: 8, heads: 2, headDim: 4, hidden: 16, packed: true, attention: 'prefix' }).build({ batch: 2 }) as never,
    batch: { tokens: ids(8, 16, 16), targets: some(ids(9, 16, 16), 4), segments: Int32Array.from({ length: 16 }, (_, i) => Number(i % 8 > 2)), positions: Int32Array.from({ length: 16 }, (_, i) => (i % 8 > 2 ? i % 8 - 3 : i % 8)), prefix: Uint8Array.from({ length: 16 }, (_, i) => Number(i % 8 === 1)) },
    meshes: [[{ line: 2, model: 2 }, { seq: 'line', hidden: 'model', vocab: 'model' }]],
  },
}

describe.each(Object.entries(trials))('%s', (_, { model, batch, meshes, microbatches = 1, rate = 1e-2 }) => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
  afterAll(async () => { await backend.close() })

  async function losses(sizes: { readonly [axis: string]: number }, layout: Layout): Promise<number[]> {
    const where = { mesh: meshOf(sizes), layout, backend, dims: model.dims, ...(model.layouts === undefined ? {} : { uses: model.layouts }) }
    const config = { optimizer: adamwCosine({ rate, warmup: 1 }).build({ steps: 100 }), seed: 1, remat: 'all-but-contractions', microbatches } as const
    const init = await compile(initialState(model, config), [input('seed', [], 'i32')] as const, where)
    const step = await compile(trainStep(model, config), [stateOf(model, config), model.batch] as const, { ...where, donate: [0] })
    let state: Arrays<Tree> = await init(7)
    const found: number[] = []
    for (let i = 0; i < 8; i++) {
      const result = await step(state as never, batch as never)
      found.push(await result.metrics.loss.item())
      state = result.state as never
    }
    return found
  }
  test('learns, and no mesh changes its losses', async () => {
    const expected = await losses({}, {})
    expect(expected.at(-1)).toBeLessThan((expected[0] ?? 0) * 0.95)
    for (const [sizes, layout] of meshes) {
      for (const [i, loss] of (await losses(sizes, layout)).entries()) expect(Math.abs(loss - (expected[i] ?? NaN)) / (expected[i] ?? NaN), `step ${i} on ${JSON.stringify(sizes)}`).toBeLessThan(1e-4)
    }
  })
})

describe('a configuration', () => {
  test('is checked by its model\'s schema, has its defaults, and another field set makes another model', () => {
    const small = gptModel({ vocab: 64, seq: 8, layers: 2, embed: 8, heads: 2, headDim: 4, hidden: 16 })
    expect(small.config).toMatchObject({ dropout: 0, attention: 'causal', packed: false })
    expect(small.kind.name).toBe('gpt')
    const deep = small.with({ ...small.config, layers: 6 })
    expect([small.build({ batch: 2 }).dims.layers.size, deep.build({ batch: 2 }).dims.layers.size]).toEqual([2, 6])
    expect(deep.build({ batch: 2, precision: { params: 'bf16', compute: 'f32' } }).params.tokens.dtype).toBe('bf16')
    expect(() => small.with({ ...small.config, layers: 0 })).toThrow(UsageError)
    expect(() => small.with({ ...small.config, layer: 1 })).toThrow(UsageError)
    expect(() => convNetModel({ features: [] })).toThrow(UsageError)
  })
  test('of a model of one\'s own', () => {
    const schema = z.strictObject({ width: z.int().min(1).default(4) })
    const own = configurable({ name: 'line', schema, build: ({ width }, { batch }) => {
      const d = dims({ batch, width })
      const params = { w: param('w', [d.width], { init: initialisers.normal(1) }) }
      return { params, batch: { x: input('x', [d.batch, d.width]) }, dims: d, itemsPerBatch: batch, loss: (p: typeof params, b: { x: ReturnType<typeof input<[typeof d.batch, typeof d.width]>> }) => ({ loss: b.x.dot(p.w, d.width).square().mean() }) }
    } })
    const model = own({}).build({ batch: 3 })
    expect(model.loss(model.params, model.batch).loss.shape).toEqual([])
    expect(own.kind.schema.parse({ width: 7 })).toEqual({ width: 7 })
    expect(initialise(model.params, fold(keyOf(input('s', [], 'i32') as Scalar), 1)).w.shape).toEqual([{ name: 'width', size: 4 }])
  })
  test('items and tokens are counted by what the model is of', () => {
    const counted = [mlp({ inputs: 2, hidden: 2, outputs: 1 }, 5), convNet(convNetModel({}).config, 6), gpt({ vocab: 8, seq: 4, layers: 1, embed: 2, heads: 1, headDim: 2, hidden: 2, dropout: 0 }, 3), seq2seqModel({ vocab: 8, source: 5, target: 2, encoderLayers: 1, decoderLayers: 1, embed: 2, heads: 1, headDim: 2, hidden: 2 }).build({ batch: 2 })]
    expect(counted.map(m => [m.itemsPerBatch, m.tokensPerBatch])).toEqual([[5, undefined], [6, undefined], [3, 12], [2, 14]])
  })
})
