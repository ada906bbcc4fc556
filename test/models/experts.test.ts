/** Models of experts in training: 30 steps are those of one device on every mesh; what moves biases, what is counted and dropped, what is refused. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, input, leavesOf, lossAndGrads, mesh as meshOf, openBackend, plan, type Arrays, type Backend, type Layouts, type MeshArray, type Tree } from '../../src/engine/index.ts'
import { UsageError } from '../../src/core/errors.ts'
import { architectureNamed, llamaModel, t5Model, withLora, type ExpertsGiven, type LlamaGiven, type Model, type Precision } from '../../src/models/index.ts'
import { adamwCosine } from '../../src/train/optimizers.ts'
import { initialise, stateOf, trainStep } from '../../src/train/program.ts'
import { all as deep } from '../support/depth.ts'
import { draw, relativeError } from '../support/values.ts'

const sizes = { vocab: 16, seq: 8, layers: 2, embed: 8, heads: 4, kvHeads: 2, headDim: 4, hidden: 12 } satisfies LlamaGiven
const own: ExpertsGiven = { count: 4, chosen: 2, hidden: 6, shared: 4, balance: 0.05, zLoss: 0.01 }
const ids = (seed: number, n: number, below: number): Int32Array => Int32Array.from({ length: n }, (_, i) => Math.floor(draw(seed, i) * below))
const batch = { tokens: ids(1, 64, 16), targets: ids(2, 64, 16).map((t, i) => (i % 7 === 0 || i > 56 ? -100 : t)) }
const decoder = (experts: Partial<ExpertsGiven> = {}, precision?: Precision): Model<Tree, Tree> =>
  llamaModel({ ...sizes, masked: true, experts: { ...own, ...experts } }).build({ batch: 8, ...(precision === undefined ? {} : { precision }) }) as never

let backend: Backend
let pretended: Backend
beforeAll(async () => { [backend, pretended] = await Promise.all([openBackend({ plugin: 'cpu', devices: 8 }), openBackend({ plugin: 'simulate', devices: 4, cache: false })]) })
afterAll(async () => { await backend.close(); await pretended.close() })

interface Trained { readonly losses: readonly number[]; /** Of the first step's gradients. */ readonly norm: number; readonly weights: ReadonlyMap<string, readonly number[]> }
async function trained(model: Model<Tree, Tree>, sizes: { readonly [axis: string]: number }, layouts: Layouts, { steps = 30, microbatches = 1, data = batch as { readonly [name: string]: Int32Array }, on = backend } = {}): Promise<Trained> {
  const config = { optimizer: adamwCosine({ rate: 5e-3, warmup: 1 }).build({ steps: 100 }), seed: 1, remat: 'all-but-contractions', microbatches } as const
  // One device makes the first state, and it is moved.
  const init = await compile(initialise(model, config), [input('seed', [], 'i32')] as const, { mesh: meshOf({}), layout: {}, backend: on, dims: model.dims })
  const step = await compile(trainStep(model, config), [stateOf(model, config), model.batch] as const, { mesh: meshOf(sizes), ...layouts, backend: on, dims: model.dims, donate: [0] })
  let state: Arrays<Tree> = await init(7)
  const losses: number[] = []
  let norm = NaN
  for (let i = 0; i < steps; i++) {
    const result = await step(state as never, data as never)
    losses.push(await result.metrics.loss.item())
    if (i === 0) norm = await result.metrics.gradNorm.item()
    state = result.state as never
  }
  const weights = new Map<string, readonly number[]>()
  const walk = async (tree: unknown, path: string): Promise<void> => {
    if (typeof tree === 'object' && tree !== null && 'read' in tree) weights.set(path, Array.from(await (tree as MeshArray).read(), Number))
    else for (const [k, t] of Object.entries(tree as object)) await walk(t, path === '' ? k : `${path}.${k}`)
  }
  await walk((state as unknown as { params: unknown }).params, '')
  init.dispose()
  step.dispose()
  return { losses, norm, weights }
}
const furthest = (a: readonly number[], b: readonly number[]): number => a.reduce((worst, x, i) => Math.max(worst, Math.abs(x - (b[i] ?? NaN)) / Math.abs(b[i] ?? NaN)), 0)

describe('a Transformer of experts is trained as on one device', () => {
  const tensor = { batch: ['data', 'ep'], kvHeads: 'model', sharedHidden: 'model', expertHidden: 'model', vocab: 'model' } as const
  const axes = { data: 2, ep: 2, model: 2 }
  const [beside, fully]: readonly [Layouts, Layouts] = [{ layout: tensor, params: { experts: 'ep' } }, { layout: tensor, params: { experts: 'ep', embed: 'data' } }]
  test('30 steps without drops, by FSDP × experts × tensor; and where tests are deep by data × experts × tensor, and in bf16 and microbatches within 2e-2', async () => {
    const model = decoder({ balanceOver: 'groups' })
    const one = await trained(model, {}, { layout: {} })
    expect(one.losses.at(-1)).toBeLessThan((one.losses[0] ?? 0) * 0.9)
    for (const [name, layouts] of [['fully', fully], ...(deep ? [['beside', beside]] as const : [])] as const) {
      const found = await trained(model, axes, layouts)
      expect(furthest(found.losses, one.losses), name).toBeLessThan(1e-4)
      expect(furthest([found.norm], [one.norm]), name).toBeLessThan(1e-5)
      for (const [path, values] of found.weights) expect(relativeError(values, one.weights.get(path) ?? []), `${name}: ${path}`).toBeLessThan(2e-3)
    }
    if (!deep) return
    const half = await trained(decoder({ balanceOver: 'groups' }, { params: 'f32', compute: 'bf16' }), axes, beside, { microbatches: 2 })
    expect(furthest(half.losses, one.losses)).toBeLessThan(2e-2)
  })
  test('with places, in groups of the model\'s, experts over the axes of data and of tensors, and sequences in parts between', async () => {
    const model = decoder({ capacity: 1, groups: 2 })
    const product: Layouts = { layout: { batch: 'batch', kvHeads: 'model', sharedHidden: 'model' }, params: { experts: ['batch', 'model'] }, layouts: { residual: { from: 'compute', seq: 'model' } } }
    const [one, found] = [await trained(model, {}, { layout: {} }, { steps: 4, on: pretended }), await trained(model, { batch: 2, model: 2 }, product, { steps: 4, on: pretended })]
    expect(furthest(found.losses, one.losses)).toBeLessThan(1e-4)
  })
})

test('biases move by what a whole step used, the same in microbatches, with recompute and on a mesh, and no gradient moves them', async () => {
  const model = decoder({ scores: 'sigmoid', biasRate: 0.01, balance: 0, zLoss: 0, dense: 1 })
  const runs = [await trained(model, {}, { layout: {} }, { steps: 1, on: pretended }), await trained(model, { ep: 4 }, { layout: { batch: 'ep' }, params: { experts: 'ep' } }, { steps: 1, microbatches: 2, on: pretended })]
  const [bias = []] = runs.map(r => r.weights.get('blocks.routerBias'))
  expect(bias.length).toBe(4)
  expect(bias.some(b => b !== 0)).toBe(true)
  // 0.01 up, down or none.
  expect(bias.every(b => Math.abs(Math.abs(b) - 0.01) < 1e-6 || b === 0)).toBe(true)
  for (const other of runs.slice(1)) expect(relativeError(other.weights.get('blocks.routerBias') ?? [], bias)).toBeLessThan(1e-5)
  expect(runs[0]?.weights.has('first.gate')).toBe(true)
})

test('an evaluation tells what balances, what was dropped and how busy the busiest expert is', async () => {
  const model = decoder({ capacity: 0.5 })
  const loss = model.loss as (p: Tree, b: Tree) => ReturnType<typeof model.loss>
  const program = await compile((p: Tree, b: Tree) => Object.fromEntries(Object.entries(loss(p, b).metrics ?? {}).map(([k, m]) => [k, m.value])), [model.params, model.batch] as const, { mesh: meshOf({ ep: 2 }), layout: { batch: 'ep' }, params: { experts: 'ep' }, backend: pretended, dims: model.dims })
  const params = (tree: unknown, path = ''): unknown => (typeof tree === 'object' && tree !== null && 'node' in tree ? Float32Array.from({ length: (tree as unknown as { shape: { size: number }[] }).shape.reduce((n, e) => n * e.size, 1) }, (_, i) => draw(path.length, i) - 0.5) : Object.fromEntries(Object.entries(tree as object).map(([k, t]) => [k, params(t, path + k)])))
  const found = await program(params(model.params) as never, batch as never) as unknown as { readonly [name: string]: MeshArray }
  expect(Object.keys(found).sort()).toEqual(['accuracy', 'balance', 'busiest', 'dropped'])
  const [dropped = 0, busiest = 0, balanced = 0] = await Promise.all(['dropped', 'busiest', 'balance'].map(async k => Number((await (found[k] as MeshArray).read())[0])))
  // Half of an even share has places.
  expect(dropped).toBeGreaterThanOrEqual(0.5)
  expect(dropped).toBeLessThan(1)
  expect(busiest).toBeGreaterThanOrEqual(1)
  expect(balanced).toBeGreaterThanOrEqual(1.9)
  for (const a of Object.values(found)) a.dispose()
  program.dispose()
})

test('a layer of the model costs 4 all-to-alls, however deep it is', () => {
  const model = llamaModel({ vocab: 32, seq: 16, layers: 4, embed: 16, heads: 2, headDim: 8, hidden: 64, experts: { count: 4, chosen: 2, hidden: 64, capacity: 1 } }).build({ batch: 8 }) as unknown as Model<Tree, Tree>
  const loss = model.loss as (p: Tree, b: Tree) => ReturnType<typeof model.loss>
  const found = plan((p: Tree, b: Tree) => lossAndGrads((q: Tree) => loss(q, b))(p).grads, [model.params, model.batch] as const, { mesh: meshOf({ ep: 4 }), layout: { batch: 'ep' }, params: { experts: 'ep' }, dims: model.dims })
  // k·b·s·h / e in each, and nothing repeated by the recompute.
  expect(found.collectives.filter(c => c.kind === 'all-to-all').map(c => [c.elements, c.count])).toEqual(new Array(4).fill([2 * 8 * 16 * 16 / 4, 4]))
})

test('a Switch Transformer learns alike on a mesh', async () => {
  const model = t5Model({ vocab: 16, source: 6, target: 4, encoderLayers: 2, decoderLayers: 2, embed: 8, heads: 2, headDim: 4, hidden: 8, buckets: 4, farthest: 8, gated: false, activation: 'relu', experts: { count: 4, slots: 2 } }).build({ batch: 4 }) as unknown as Model<Tree, Tree>
  const data = { source: ids(5, 24, 15).map((t, i) => (i % 6 > 3 && i > 11 ? 0 : t + 1)), target: ids(6, 16, 16), labels: ids(7, 16, 16) }
  const [one, found] = [await trained(model, {}, { layout: {} }, { steps: 4, data, on: pretended }), await trained(model, { ep: 2, model: 2 }, { layout: { batch: 'ep', heads: 'model', hidden: 'model' }, params: { experts: 'ep' } }, { steps: 4, data, on: pretended })]
  expect(one.losses.at(-1)).toBeLessThan((one.losses[0] ?? 0))
  expect(furthest(found.losses, one.losses)).toBeLessThan(1e-4)
})

test('adapters are for what is no expert, and biases rest with the weights of before', () => {
  const model = withLora(decoder({ biasRate: 0.01 }) as never, { rank: 2 }) as unknown as Model<Tree, Tree>
  expect(leavesOf((model.params as unknown as { lora: Tree }).lora).map(l => l.path).filter(p => p.endsWith('.down')).sort()).toEqual(['query', 'key', 'value', 'out', 'shared.gate', 'shared.up', 'shared.down'].map(n => `blocks.${n}.down`).sort())
  const loss = model.loss as unknown as (p: Tree, b: Tree, key: Tree) => ReturnType<typeof model.loss>
  expect(loss(model.params, model.batch, input('key', [], 'u32') as never).updates).toBeUndefined()
})

describe('what no model of experts can have is refused', () => {
  const message = (f: () => unknown): string => { try { f(); return 'none' } catch (e) { return e instanceof UsageError ? e.message : String(e) } }
  test.each([
    [{ chosen: 5 }, /chosen.*at most 4/s], [{ capacity: 0 }, /capacity/], [{ count: 0 }, /count/], [{ dense: 2 }, /dense is 2/], [{ within: { groups: 3, chosen: 1, by: 'best' } }, /groups that divide count/],
    [{ within: { groups: 4, chosen: 1, by: 'best' } }, /groups as hold 2 experts/], [{ sharedGate: true, shared: 0 }, /shared expert a width/], [{ biasRate: -1 }, /biasRate/], [{ scores: 'tanh' }, /scores/],
  ] as const)('%j', (change, what) => { expect(message(() => decoder(change as never))).toMatch(what) })
  test('and layers that periods do not divide', () => {
    expect(message(() => t5Model({ vocab: 16, source: 6, target: 4, encoderLayers: 3, decoderLayers: 2, embed: 8, heads: 2, headDim: 4, hidden: 8, gated: false, experts: { count: 4, slots: 2 } }))).toMatch(/encoderEvery is 2.*divides encoderLayers, which is 3/)
  })
  test('and files of a DeepSeek whose attention is another', () => {
    expect(message(() => architectureNamed({ model_type: 'deepseek_v32' }))).toMatch(/"deepseek_v32" is not computed.*an index of its own/s)
  })
  test('and attention over latents with options that it has not', () => {
    const latent = { keyValue: 4, turned: 2, value: 4, pairs: 'halves' } as const
    for (const [change, what] of [[{ latent }, /kvHeads/], [{ latent: { ...latent, turned: 3 }, kvHeads: 4 }, /turn an even part/], [{ latent, kvHeads: 4, queryKeyNorms: 'head' }, /queryKeyNorms/]] as const) expect(message(() => llamaModel({ ...sizes, ...change }))).toMatch(what)
  })
})
