/** What Meshwork computes for a case on one mesh: the loss, every gradient, and the weights after a few steps. */
import { mesh } from '../../src/core/mesh.ts'
import { treeOps } from '../../src/core/tree.ts'
import {
  compile, input, leavesOf, MeshArray, valueAndGrad, type AnyTensor, type Backend, type Given, type Tree,
} from '../../src/engine/index.ts'
import { isTensor } from '../../src/graph/tensor.ts'
import { gpt, type GptBatch, type GptParams } from '../../src/models/index.ts'
import { initialise, stateOf, trainStep, type TrainState } from '../../src/train/program.ts'
import { batchOf, optimizerOf, type Case } from './cases.ts'
import type { Arrays, HostArray } from './exchange.ts'

const layout = { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' } as const

export interface Ours {
  readonly loss: number
  readonly grads: Arrays
  /** Loss and gradient norm of each training step. */
  readonly losses: readonly number[]
  readonly norms: readonly number[]
  readonly trained: Arrays
}

const tensors = treeOps((x): x is AnyTensor => isTensor(x), 'a tensor')
const arrays = treeOps((x): x is MeshArray => x instanceof MeshArray, 'an array')

/** A tree like `tree` whose leaves are host data by path. */
const hostTree = <T extends Tree>(tree: T, data: (path: string, leaf: AnyTensor) => HostArray['data']): Given<T> =>
  tensors.map(tree, (leaf, path) => data(path, leaf)) as Given<T>

async function readTree(tree: unknown): Promise<Map<string, HostArray>> {
  const read = new Map<string, HostArray>()
  for (const { path, leaf } of arrays.flatten(tree)) {
    read.set(path, { shape: leaf.shape.map(d => d.size), data: await leaf.read() as Float32Array })
    leaf.dispose()
  }
  return read
}

/** The weights of a model as its own initialisation draws them. */
export async function initialWeights(c: Case, backend: Backend): Promise<Map<string, HostArray>> {
  const model = gpt(c.config, c.batch)
  const where = { mesh: mesh({ batch: 1, model: 1 }), layout, backend, dims: model.dims }
  const init = await compile(initialise(model, { optimizer: optimizerOf(c.optimizer) }), [input('seed', [], 'i32')] as const, where)
  const state = await init(7)
  const weights = await readTree(state.params)
  await readTree([state.slots, state.step])
  init.dispose()
  return weights
}

/** `weights` in, numbers out, on a mesh of batch × model devices. */
export async function compute(c: Case, weights: Arrays, batch: number, model: number, backend: Backend): Promise<Ours> {
  const net = gpt(c.config, c.batch)
  const where = { mesh: mesh({ batch, model }), layout, backend, dims: net.dims }
  const given = hostTree(net.params, path => found(weights, path))
  const windows = (step: number): Given<GptBatch> => {
    const { tokens, targets } = batchOf(c, step)
    return { tokens: tokens.data, targets: targets.data } as Given<GptBatch>
  }

  const lossAndGrads = (p: GptParams, b: GptBatch) => valueAndGrad((q: GptParams) => net.loss(q, b).loss)(p)
  const gradient = await compile(lossAndGrads, [net.params, net.batch] as const, where)
  const { value, grads } = await gradient(given, windows(0))
  const loss = await value.item()
  value.dispose()
  const gradients = await readTree(grads)
  gradient.dispose()

  const config = { optimizer: optimizerOf(c.optimizer), seed: 0, remat: 'all-but-contractions' } as const
  const state = stateOf(net, config)
  const step = await compile(trainStep(net, config), [state, net.batch] as const, { ...where, donate: [0] })
  const sizes = new Map(leavesOf(state).map(({ path, leaf }) => [path, leaf.shape.reduce((n, d) => n * d.size, 1)]))
  const start = hostTree(state, path => path === 'step' ? new Int32Array(1)
    : path.startsWith('params.') ? found(weights, path.slice('params.'.length)) : new Float32Array(sizes.get(path) ?? 0))
  let at: Given<TrainState<GptParams>> = start
  const [losses, norms]: [number[], number[]] = [[], []]
  let trained: Arrays = new Map()
  for (let i = 0; i < c.steps; i++) {
    const { state: next, metrics } = await step(at, windows(i))
    losses.push(await metrics.loss.item())
    norms.push(await metrics.gradNorm.item())
    for (const m of Object.values(metrics)) m.dispose()
    at = next as Given<TrainState<GptParams>>
    if (i === c.steps - 1) {
      trained = await readTree(next.params)
      await readTree([next.slots, next.step])
    }
  }
  step.dispose()
  return { loss, grads: gradients, losses, norms, trained }
}

function found(weights: Arrays, path: string): HostArray['data'] {
  const w = weights.get(path)
  if (w === undefined) throw new Error(`there is no weight ${path}`)
  return w.data
}
