/** GPT and the Llama family in pipelines: the numbers, first values and files of the same model without one. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, initialise, input, keyOf, leavesOf, lossAndGrads, mesh, openBackend, plan, type Backend, type Layouts, type Scalar, type Tensor, type Tree } from '../../src/engine/index.ts'
import { gptModel, llamaModel, type AnyModel, type PipelineConfig } from '../../src/models/index.ts'
import { filesOf } from '../../src/models/hugging-face/files.ts'
import type { Model } from '../../src/models/model.ts'
import { storedTensors } from '../../src/checkpoint/stored.ts'
import { placesOf, type Places } from '../../src/parallel/index.ts'
import { every } from '../support/depth.ts'
import { relativeError } from '../support/values.ts'
import { numbersByPath } from './by-path.ts'

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
afterAll(async () => { await backend.close() })

const batch = 4
const seq = 4
const shape = { vocab: 16, seq, embed: 4, heads: 2, headDim: 2, hidden: 8 }
const kinds = {
  // Nothing that rounds between the embedding and the first layer.
  plain: (layers: number, pipeline?: PipelineConfig) => gptModel({ ...shape, layers, masked: true, ...(pipeline === undefined ? {} : { pipeline }) }),
  // Tied embeddings, dropout of every kind, documents that do not see each other.
  gpt: (layers: number, pipeline?: PipelineConfig) => gptModel({ ...shape, layers, dropout: 0.2, attentionDropout: 0.2, packed: true, biases: 'all', ...(pipeline === undefined ? {} : { pipeline }) }),
  // Layers that differ: by windows, by positions, by how far they turn; capped and normed.
  llama: (layers: number, pipeline?: PipelineConfig) => llamaModel({ ...shape, layers, kvHeads: 1, dropout: 0.1, masked: true, tied: true, window: 2, unwindowed: [1], unturned: [2], localRope: { base: 100 }, queryKeyNorms: 'head', norms: 'both', ...(pipeline === undefined ? {} : { pipeline }) }),
}
type Kind = keyof typeof kinds
const built = (kind: Kind, layers: number, pipeline?: PipelineConfig, compute: 'f32' | 'bf16' = 'f32'): Model<Tree, Tree> => kinds[kind](layers, pipeline).build({ batch, precision: { params: 'f32', compute } }) as unknown as Model<Tree, Tree>

const ids = (f: (row: number, at: number) => number): Int32Array => Int32Array.from({ length: batch * seq }, (_, i) => f(Math.floor(i / seq), i % seq))
const data: { readonly [name: string]: Int32Array } = {
  tokens: ids((r, s) => (7 * r + 3 * s + 1) % 16), targets: ids((r, s) => (r === 2 ? -100 : (5 * r + s + 2) % 16)), segments: ids((r, s) => Math.floor((s + r) / 3)), positions: ids((_, s) => s % 3),
}
const given = (model: AnyModel): object => Object.fromEntries(Object.keys(model.batch as object).map(name => [name, data[name]]))

/** The loss and gradients of first values that are drawn, by paths, layers in their order; and the logits. */
async function numbersOf(model: Model<Tree, Tree>, places: Places | undefined, on: { readonly mesh: { readonly [axis: string]: number }; readonly layout: { readonly [dim: string]: string } }): Promise<ReadonlyMap<string, readonly number[]>> {
  const program = await compile((seed: Scalar, b: Tree) => {
    const params = initialise(model.params, keyOf(seed))
    const { value, grads, weight } = lossAndGrads((p: Tree) => model.loss(p, b, keyOf(seed)))(params)
    return { value, weight, params, grads, logits: (model as unknown as { logits: (p: Tree, b: Tree) => Tree }).logits(params, b) }
  }, [input('seed', [], 'i32'), model.batch] as const, { mesh: mesh(on.mesh), layout: on.layout, backend, dims: model.dims, ...(model.layouts === undefined ? {} : { uses: model.layouts }) })
  const all = await numbersByPath(await program(3, given(model) as never), places)
  program.dispose()
  return all
}

// Cotangents are f32 between stages, as they are between layers: all roundings to bf16 are those of the model without a pipeline, and what is left are orders of sums.
test.each(every<readonly [Kind, number, PipelineConfig]>(2, [
  ['plain', 2, { stages: 2, microbatches: 2, schedule: '1f1b' }], ['gpt', 4, { stages: 2, microbatches: 1 }], ['gpt', 4, { stages: 2, microbatches: 4, schedule: '1f1b' }], ['gpt', 3, { stages: [1, 2], microbatches: 2 }],
  ['llama', 4, { stages: 2, microbatches: 2, schedule: 'circular' }], ['llama', 3, { stages: [2, 1], microbatches: 4, schedule: '1f1b', remat: 'everything' }],
]))('bf16: %s of %i layers %j rounds where the model without a pipeline does', async (kind, layers, pipeline) => {
  const expected = await numbersOf(built(kind, layers, undefined, 'bf16'), undefined, { mesh: {}, layout: {} })
  const found = await numbersOf(built(kind, layers, pipeline, 'bf16'), placesOf(layers, pipeline), { mesh: {}, layout: {} })
  const far = [...expected].map(([path, values]) => [path, relativeError(found.get(path) ?? [], values)] as const).filter(([, error]) => !(error < 1e-5))
  expect(far).toEqual([])
})

const onStages = { stage: 'stage', layers: 'stage' }
const cases: readonly (readonly [Kind, number, PipelineConfig, { readonly [axis: string]: number }, { readonly [dim: string]: string }])[] = [
  ['gpt', 4, { stages: 2, microbatches: 4, schedule: '1f1b' }, { data: 2, stage: 2 }, onStages],
  ['gpt', 4, { stages: 2, microbatches: 2, schedule: 'circular' }, { model: 2, stage: 2 }, { ...onStages, heads: 'model', hidden: 'model', vocab: 'model' }],
  ['llama', 3, { stages: [2, 1], microbatches: 2 }, { stage: 2 }, onStages],
  // The vocabulary in parts of all stages, which compute the loss of each microbatch together.
  ['gpt', 4, { stages: 2, microbatches: 4, schedule: '1f1b', head: 'all' }, { model: 2, stage: 2 }, { ...onStages, heads: 'model', hidden: 'model', vocab: ['model', 'stage'] as never }],
  ['gpt', 4, { stages: 2, microbatches: 2 }, { model: 2, stage: 2 }, { ...onStages, heads: 'model', hidden: 'model', vocab: ['model', 'stage'] as never }],
  ['llama', 4, { stages: 2, microbatches: 2, schedule: '1f1b', remat: 'everything' }, { stage: 2 }, onStages],
]
describe.each(every(2, cases).map(c => [`${c[0]} of ${c[1]} layers ${JSON.stringify(c[2])}`, ...c] as const))('%s', (_, kind, layers, pipeline, sizes, layout) => {
  test('numbers', async () => {
    const expected = await numbersOf(built(kind, layers), undefined, { mesh: {}, layout: {} })
    const found = await numbersOf(built(kind, layers, pipeline), placesOf(layers, pipeline), { mesh: sizes, layout })
    expect([...found.keys()]).toEqual([...expected.keys()])
    const far = [...expected].map(([path, values]) => [path, relativeError(found.get(path) ?? [], values)] as const).filter(([, error]) => !(error < 1e-4))
    expect(far).toEqual([])
  })

  test('files', () => {
    const namesOf = (p?: PipelineConfig): readonly string[] => {
      const [part, model] = [kinds[kind](layers, p), built(kind, layers, p)]
      const files = filesOf(part as never, model)
      if (files === undefined) return leavesOf(model.params).map(l => l.path)
      expect(JSON.stringify(files.config)).not.toContain('microbatches')
      return storedTensors(files.naming, leavesOf(model.params).map(({ path, leaf }) => ({ path, value: leaf }))).map(t => `${t.name} ${t.axes.map(a => a.size).join()} ${t.pieces.length}`).sort()
    }
    expect(namesOf(pipeline)).toEqual(namesOf())
  })
})

test('no weight of a model moves, in rounds and in stages of unlike length', () => {
  for (const [layers, pipeline] of [[8, { stages: 2, microbatches: 2, schedule: 'circular' }], [5, { stages: 2, microbatches: 2, schedule: '1f1b' }], [4, { stages: 2, microbatches: 2 }]] as const) {
    const model = built('gpt', layers, pipeline)
    const { collectives } = plan((p: Tree, b: Tree) => lossAndGrads((q: Tree) => model.loss(q, b))(p).grads, [model.params, model.batch] as const, { mesh: mesh({ stage: 2 }), layout: onStages, dims: model.dims, ...(model.layouts === undefined ? {} : { uses: model.layouts }) })
    expect([...new Set(collectives.map(c => c.kind))].sort(), JSON.stringify(pipeline)).toEqual(['all-reduce', 'permute'])
  }
})

describe('tied embeddings have the sum of the gradients that untied ones have', () => {
  const model = (tied: boolean, pipeline?: PipelineConfig): Model<Tree, Tree> => llamaModel({ ...shape, layers: 4, kvHeads: 1, masked: true, tied, ...(pipeline === undefined ? {} : { pipeline }) }).build({ batch, precision: { params: 'f32', compute: 'f32' } }) as unknown as Model<Tree, Tree>
  type Ends = { readonly tokens: Tensor<string>; readonly head?: Tensor<string> }
  const where: readonly (readonly [PipelineConfig | undefined, { readonly [axis: string]: number }, Layouts])[] = [
    [undefined, { data: 2 }, { layout: { batch: 'data' }, params: { embed: 'data' } }],
    ...(['gpipe', 'circular', '1f1b'] as const).flatMap(schedule => [{}, { params: { embed: 'data' } }].map(parts => [{ stages: 2, microbatches: 2, schedule }, { data: 2, stage: 2 }, { layout: { batch: 'data', ...onStages }, ...parts }] as const)),
    [{ stages: 2, microbatches: 2, schedule: '1f1b', head: 'all' }, { model: 2, stage: 2 }, { layout: { ...onStages, vocab: ['model', 'stage'] } }],
  ]
  test.each(every(2, where).map(w => [JSON.stringify(w), ...w] as const))('%s', async (_, pipeline, sizes, layouts) => {
    const grads = async (tied: boolean): Promise<readonly number[]> => {
      const [built, first] = [model(tied, pipeline), model(true, pipeline)]
      const program = await compile((seed: Scalar, b: Tree) => {
        // The same weights at both ends, drawn once.
        const drawn = initialise(first.params, keyOf(seed)) as unknown as Ends
        const { grads } = lossAndGrads((p: Tree) => built.loss(p, b))(tied ? drawn : { ...drawn, head: drawn.tokens } as Tree)
        const { tokens, head } = grads as unknown as Ends
        if (tied !== (head === undefined)) throw new Error('one has a head of its own')
        return head === undefined ? tokens : tokens.add(head)
      }, [input('seed', [], 'i32'), built.batch] as const, { mesh: mesh(sizes), ...layouts, backend, dims: built.dims, ...(built.layouts === undefined ? {} : { uses: built.layouts }) } as never)
      const found = await program(3 as never, given(built) as never)
      program.dispose()
      return Array.from(await (found as unknown as { read: () => Promise<ArrayLike<number>> }).read(), Number)
    }
    const [tied, untied] = [await grads(true), await grads(false)]
    expect(Math.max(...tied.map(Math.abs))).toBeGreaterThan(1e-3)
    expect(relativeError(untied, tied)).toBeLessThan(1e-5)
  })
})
