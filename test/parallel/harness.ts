/** A model trained for some steps on a mesh: what every form of parallelism must leave as it is on one device. */
import type { Layouts } from '../../src/core/layout.ts'
import { compile, initialise, input, keyOf, mapTree, mesh as meshOf, type Backend, type CompileOptions, type MeshArray, type Remat, type Scalar, type Tree } from '../../src/engine/index.ts'
import { blockOf } from '../../src/engine/blocks.ts'
import { inFull, type AnyModel, type Model, type Precision } from '../../src/models/model.ts'
import { adamw, chain, clipByGlobalNorm, type Optimizer } from '../../src/optim/index.ts'
import { stateOf, trainStep, type Where } from '../../src/train/program.ts'
import type { Places } from '../../src/parallel/index.ts'
import { relativeError } from '../support/values.ts'

/** What is trained: a model, and the batch of each step as host data of the form of `model.batch`. */
export interface Subject {
  readonly build: (precision: Precision) => AnyModel
  readonly data: (step: number) => object
  /** Where the layers of `blocks` lie, if not in their order: of each place its layer. */
  readonly places?: Places
}

/** A form of parallelism, said as a recipe says it. */
export interface Form extends Layouts, Pick<CompileOptions, 'wire'> {
  readonly mesh: { readonly [axis: string]: number }
  readonly microbatches?: number
  readonly remat?: Remat
  readonly compute?: 'bf16'
  /** Trained instead of what the table trains; the same object for one device. */
  readonly subject?: Subject
  /** How it is trained on one device to be compared with, where not as one whole batch in the same dtype: say why. */
  readonly against?: Partial<Form>
  /** Largest difference of losses, norms and weights, where it is another than the usual one: say why. */
  readonly within?: number
}

export interface Trained {
  readonly losses: readonly number[]
  readonly gradNorms: readonly number[]
  readonly weights: { readonly [path: string]: readonly number[] }
  /** Weights of which devices that hold the same block hold different bits. */
  readonly unlike: readonly string[]
}

export const steps = 30
const seed = 5

/** Weights whose copies are not equal, bit for bit. */
async function unlike(arrays: readonly { readonly path: string; readonly leaf: MeshArray }[]): Promise<string[]> {
  const found: string[] = []
  for (const { path, leaf } of arrays) {
    const blocks = new Map<string, Buffer>()
    for (const [device, piece] of leaf.pieces) {
      const data = await piece.read()
      const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
      const key = blockOf(leaf.shape, leaf.sharding, leaf.mesh, device).starts.join()
      const other = blocks.get(key)
      if (other === undefined) blocks.set(key, bytes)
      else if (!other.equals(bytes)) found.push(path)
    }
  }
  return [...new Set(found)]
}

const arraysIn = (tree: unknown): { readonly path: string; readonly leaf: MeshArray }[] => {
  const walk = (x: unknown, path: string): { readonly path: string; readonly leaf: MeshArray }[] => {
    if (typeof x !== 'object' || x === null) return []
    if ('pieces' in x) return [{ path, leaf: x as MeshArray }]
    return Object.entries(x).flatMap(([k, v]) => walk(v, path === '' ? k : `${path}.${k}`))
  }
  return walk(tree, '')
}

/** Of numbers in places those of the layers in their order. */
function inOrder(values: readonly number[], places: Places | undefined): readonly number[] {
  if (places === undefined) return values
  const size = values.length / places.length
  const layers = places.flatMap((layer, i) => (layer === undefined ? [] : [{ layer, i }])).sort((a, b) => a.layer - b.layer)
  return layers.flatMap(({ i }) => values.slice(i * size, (i + 1) * size))
}

/** Norm-clipped AdamW: what is clipped tells whether the norm is that of one device. */
export const optimizer: Optimizer = chain(clipByGlobalNorm(1), adamw({ rate: 2e-3, epsilon: 1e-6 })) as Optimizer

export async function trained(backend: Backend, subject: Subject, form: Form, count: number = steps): Promise<Trained> {
  const model = subject.build(form.compute === undefined ? inFull : { params: 'f32', compute: form.compute }) as unknown as Model<Tree, Tree>
  const where: Where = {
    mesh: meshOf(form.mesh), backend, dims: model.dims, layout: form.layout, ...(form.params === undefined ? {} : { params: form.params }), ...(form.state === undefined ? {} : { state: form.state }),
    ...(form.gradients === undefined ? {} : { gradients: form.gradients }), ...(form.wire === undefined ? {} : { wire: form.wire }), ...(form.layouts === undefined ? {} : { layouts: form.layouts }), ...(model.layouts === undefined ? {} : { uses: model.layouts }),
  }
  const config = { optimizer, seed, remat: form.remat ?? 'all-but-contractions' as const, ...(form.microbatches === undefined ? {} : { microbatches: form.microbatches }) }
  using init = await compile((s: Scalar) => {
    const params = mapTree(initialise(model.params, keyOf(s)), p => p.relayout('params'))
    return { params, slots: optimizer.init(params), step: s.mul(0) }
  }, [input('seed', [], 'i32')] as const, where)
  using step = await compile(trainStep(model, config), [stateOf(model, config), model.batch] as const, { ...where, donate: [0] })
  let state = await init(seed)
  const [losses, gradNorms]: [number[], number[]] = [[], []]
  for (let i = 0; i < count; i++) {
    const result = await step(state as never, subject.data(i) as never)
    state = result.state as typeof state
    losses.push(await result.metrics.loss.item())
    gradNorms.push(await result.metrics.gradNorm.item())
    for (const { leaf } of arraysIn(result.metrics)) leaf.dispose()
  }
  const arrays = arraysIn(state.params)
  const weights = Object.fromEntries(await Promise.all(arrays.map(async ({ path, leaf }) => [path, inOrder(Array.from(await leaf.read(), Number), path.startsWith('blocks.') ? subject.places : undefined)] as const)))
  const differing = await unlike(arrays)
  for (const { leaf } of arraysIn(state)) leaf.dispose()
  return { losses, gradNorms, weights, unlike: differing }
}

/** The largest relative difference of two runs: of losses, of the first step's gradient norm and of all, of final weights; and the weight that it is. */
export function difference(found: Trained, expected: Trained): { readonly loss: number; readonly firstNorm: number; readonly norm: number; readonly weight: number; readonly worst: string } {
  const most = (a: readonly number[], b: readonly number[]): number => Math.max(...b.map((x, i) => Math.abs((a[i] ?? NaN) - x) / Math.abs(x)))
  const weights = Object.entries(expected.weights).map(([path, w]) => ({ path, error: relativeError(found.weights[path] ?? [], w) })).sort((a, b) => b.error - a.error)
  return {
    loss: most(found.losses, expected.losses), firstNorm: most(found.gradNorms.slice(0, 1), expected.gradNorms.slice(0, 1)), norm: most(found.gradNorms, expected.gradNorms),
    weight: weights[0]?.error ?? NaN, worst: weights[0]?.path ?? '',
  }
}

