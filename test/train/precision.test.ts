/** Training in other dtypes than f32: exact in f64, close in bf16, and in f16 with a loss scale that finds its place. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sizeOf } from '../../src/core/dim.ts'
import { compile, leavesOf, mesh as meshOf, openBackend, plan, type Backend, type MeshArray, type Tree } from '../../src/engine/index.ts'
import { evaluate } from '../../src/graph/reference/evaluate.ts'
import { valueOf } from '../../src/graph/reference/values.ts'
import { typeOf } from '../../src/graph/node.ts'
import { configurable } from '../../src/models/configurable.ts'
import { gpt, gptModel, type Precision } from '../../src/models/index.ts'
import { withStateDtype } from '../../src/optim/index.ts'
import { adamwCosine } from '../../src/train/optimizers.ts'
import { stateOf, trainStep, type TrainerConfig } from '../../src/train/program.ts'
import { train } from '../../src/train/train.ts'
import { defineRun } from '../../src/train/run.ts'
import { all } from '../support/depth.ts'
import { dry } from '../support/parallel-runs.ts'
import { draw, relativeError } from '../support/values.ts'

const config = { vocab: 64, seq: 8, layers: 2, embed: 16, heads: 4, headDim: 4, hidden: 32, dropout: 0 }
const optimizer = adamwCosine({ rate: 1e-3, warmup: 1 }).build({ steps: 10 })
const layout = { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' }

/** One step's inputs, in the order of its arguments' leaves: weights, moments, step, tokens. */
function given(leaves: readonly { readonly path: string; readonly leaf: { readonly shape: readonly { readonly name: string; readonly size: number }[]; readonly dtype: string } }[]): { readonly [path: string]: readonly number[] } {
  return Object.fromEntries(leaves.map(({ path, leaf }, i) => [path, Array.from({ length: sizeOf(leaf.shape) }, (_, k) => {
    const x = draw(i + 1, k)
    return leaf.dtype === 'i32' ? (path.includes('step') ? 3 : Math.floor(x * 64)) : path.includes('second') ? 1e-4 * x : path.endsWith('gain') ? 1 + 0.1 * x : 0.2 * x - 0.1
  })]))
}

describe('a step', () => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin: 'cpu', devices: 4, cache: false }) })
  afterAll(async () => { await backend.close() })

  async function worst(precision: Precision, how: Partial<TrainerConfig>, mesh: { readonly batch: number; readonly model: number }, more: object = {}): Promise<number> {
    const model = gpt(config, 4, precision)
    const trainer = { seed: 0, remat: 'all-but-contractions', optimizer, ...how } as const
    const step = trainStep(model, trainer)
    const args = [stateOf(model, trainer), model.batch] as const
    const leaves = leavesOf(args as unknown as Tree)
    const data = given(leaves)
    const program = await compile(step, args, { mesh: meshOf(mesh), backend, layout, ...more, dims: model.dims })
    const filled = (tree: object, path: string): unknown => Object.fromEntries(Object.entries(tree).map(([k, v]: [string, object]) => {
      const at = `${path}.${k}`
      const leaf = leaves.find(l => l.path === at)?.leaf
      const numbers = data[at] ?? []
      return [k, leaf === undefined ? filled(v, at) : leaf.dtype === 'i32' ? Int32Array.from(numbers) : leaf.dtype === 'f64' ? Float64Array.from(numbers) : Float32Array.from(numbers)]
    }))
    const result = await program(filled(args[0], '0') as never, filled(args[1], '1') as never)
    const nodes = leaves.map(l => l.leaf.node).filter(n => n.op === 'input')
    const outputs = leavesOf(step(...args) as unknown as Tree)
    const expected = evaluate({ inputs: nodes, outputs: outputs.map(o => o.leaf.node) }, nodes.map((n, i) => valueOf(typeOf(n), data[leaves[i]?.path ?? ''] ?? [])))
    const arrays = outputs.map(({ path }) => path.split('.').reduce<unknown>((tree, key) => (tree as { [k: string]: unknown })[key], result) as MeshArray)
    const errors = await Promise.all(arrays.map(async (a, i) => relativeError(Array.from(await a.read(), Number), expected[i]?.data ?? [])))
    for (const a of arrays) a.dispose()
    program.dispose()
    return Math.max(...errors)
  }

  const grids = [{ batch: 1, model: 1 }, { batch: 2, model: 2 }] as const
  // A step compiles for seconds: in `npm test` one mesh of each.
  const [one, four] = [all ? grids : grids.slice(0, 1), all ? grids : grids.slice(1)]
  test.each(one)('in f64 is what the reference computes: %j', async mesh => {
    expect(await worst({ params: 'f64', compute: 'f64' }, {}, mesh)).toBeLessThan(1e-11)
  })
  test.each(four)('in f64, in two microbatches of split parameters: %j', async mesh => {
    expect(await worst({ params: 'f64', compute: 'f64' }, { microbatches: 2 }, mesh, { params: { embed: 'batch' } })).toBeLessThan(1e-11)
  })
  test.each(([
    [{ params: 'f32', compute: 'bf16' }, 0.05], [{ params: 'bf16', compute: 'bf16' }, 0.05], [{ params: 'f32', compute: 'f16' }, 0.01],
  ] as const).flatMap(([precision, limit], i) => (i % 2 === 0 ? four : one).map(mesh => [precision, mesh, limit] as const)))('%j on %j comes close to it', async (precision, mesh, limit) => {
    expect(await worst(precision, { optimizer: withStateDtype(optimizer, 'f32') }, mesh)).toBeLessThan(limit)
  })
})

describe('collectives of bf16', () => {
  const bytesOf = (compute: 'f32' | 'bf16', layouts: object, kind: string): number => {
    const model = gpt(config, 4, { params: 'f32', compute })
    return plan(trainStep(model, { seed: 0, remat: 'all-but-contractions', optimizer }), [stateOf(model, { optimizer }), model.batch] as const, { mesh: meshOf({ batch: 4, model: 1 }), layout, ...layouts, dims: model.dims })
      .collectives.filter(c => c.kind === kind && c.bytes > 1000).reduce((n, c) => n + c.bytes * c.count, 0)
  }
  test('weights that rest in parts are gathered as halves, gradients reduced in f32', () => {
    const fsdp = { params: { embed: 'batch' } }
    expect(bytesOf('bf16', fsdp, 'all-gather') / bytesOf('f32', fsdp, 'all-gather')).toBeLessThan(0.8)
    expect(bytesOf('bf16', {}, 'all-reduce')).toBe(bytesOf('f32', {}, 'all-reduce'))
  })
})

describe('f16', () => {
  /** The loss times 2¹²: few of a gradient's numbers are halves on their way, and those of the loss itself are too small to overflow. */
  const steep = configurable({ ...gptModel.kind, build: (config, options) => {
    const made = gptModel.kind.build(config, options)
    return { ...made, loss: (...given: Parameters<typeof made.loss>) => { const found = made.loss(...given); return { ...found, loss: found.loss.mul(2 ** 12) } } }
  } })(gptModel({ vocab: 272, seq: 16, layers: 2, embed: 16, heads: 4, headDim: 4, hidden: 32 }).config) as unknown as typeof dry.model
  const run = (lossScale: { readonly initial?: number; readonly growEvery?: number }) => defineRun({
    name: 'scaled', batch: 8, steps: 12, seed: 3, mesh: { batch: 2 }, layout: { batch: 'batch' }, model: steep, data: dry.data, optimizer: dry.optimizer, precision: { compute: 'f16', lossScale },
  })

  test('steps whose gradients overflow are left out until the scale fits', async () => {
    const backend = await openBackend({ plugin: 'cpu', devices: 2, cache: false })
    const skipped: number[] = []
    const scales: number[] = []
    const { losses } = await train(run({ initial: 2 ** 24, growEvery: 4 }), {
      backend, onEvent: e => { if (e.type === 'skipped') skipped.push(e.step); if (e.type === 'step') scales.push(e.lossScale ?? NaN) },
    })
    await backend.close()
    expect(skipped[0]).toBe(0)
    // Each one halves it, and four in a row that did not overflow double it.
    let [scale, since] = [2 ** 24, 0]
    expect(scales).toEqual(scales.map((_, step) => {
      [scale, since] = skipped.includes(step) ? [scale / 2, 0] : since === 3 ? [scale * 2, 0] : [scale, since + 1]
      return scale
    }))
    expect(scales.some((s, i) => s > (scales[i - 1] ?? Infinity))).toBe(true)
    // What is left out changes nothing but the data.
    expect(losses.every(Number.isFinite)).toBe(true)
    expect(losses.at(-1)).toBeLessThan(losses[0] ?? 0)
  })
})
