/** A model trained for some steps on a mesh: what every form of parallelism must leave as it is on one device. */
import type { Layouts } from '../../src/core/layout.ts'
import { compile, input, mesh as meshOf, type Backend, type CompileOptions, type MeshArray, type Remat, type Tree } from '../../src/engine/index.ts'
import { blockOf } from '../../src/engine/blocks.ts'
import { inFull, type AnyModel, type Model, type Precision } from '../../src/models/model.ts'
import { adamw, chain, clipByGlobalNorm, type Optimizer } from '../../src/optim/index.ts'
import { initialise, stateOf, trainStep, type Where } from '../../src/train/program.ts'
import type { Places } from '../../src/parallel/index.ts'
import { relativeError } from '../support/values.ts'
import { inOrder } from './by-path.ts'

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

/** Norm-clipped AdamW: what is clipped tells whether the norm is that of one device. */
export const optimizer: Optimizer = chain(clipByGlobalNorm(1), adamw({ rate: 2e-3, epsilon: 1e-6 })) as Optimizer

/** By one form after another, in equal shares of the steps: between two, the state is on the host, as a checkpoint has it. */
export async function trained(backend: Backend, subject: Subject, form: Form, { count = steps, then = [] }: { readonly count?: number; readonly then?: readonly Form[] } = {}): Promise<Trained> {
  const [losses, gradNorms]: [number[], number[]] = [[], []]
  const forms = [form, ...then]
  let last: { readonly weights: Trained['weights']; readonly unlike: readonly string[]; readonly state: object } | undefined
  for (const [i, next] of forms.entries()) {
    const part = count / forms.length
    last = await trainedBy(backend, subject, next, { from: i * part, to: (i + 1) * part, state: last?.state }, m => { losses.push(m.loss); gradNorms.push(m.gradNorm) })
  }
  return { losses, gradNorms, weights: last?.weights ?? {}, unlike: last?.unlike ?? [] }
}

async function trainedBy(
  backend: Backend, subject: Subject, form: Form, { from, to, state: given }: { readonly from: number; readonly to: number; readonly state: object | undefined },
  tell: (metrics: { readonly loss: number; readonly gradNorm: number }) => void,
): Promise<{ readonly weights: Trained['weights']; readonly unlike: readonly string[]; readonly state: object }> {
  const model = subject.build(form.compute === undefined ? inFull : { params: 'f32', compute: form.compute }) as unknown as Model<Tree, Tree>
  const { mesh, microbatches = 1, remat = 'all-but-contractions', compute: _, subject: __, against: ___, within: ____, ...layouts } = form
  const where: Where = { mesh: meshOf(mesh), backend, dims: model.dims, ...layouts, ...(model.layouts === undefined ? {} : { uses: model.layouts }) }
  const config = { optimizer, seed, remat, microbatches }
  using step = await compile(trainStep(model, config), [stateOf(model, config), model.batch] as const, { ...where, donate: [0] })
  let state: unknown = given
  if (given === undefined) {
    using init = await compile(initialise(model, config), [input('seed', [], 'i32')] as const, where)
    state = await init(seed)
  }
  for (let i = from; i < to; i++) {
    const { state: next, metrics } = await step(state as never, subject.data(i) as never)
    state = next
    tell({ loss: await metrics.loss.item(), gradNorm: await metrics.gradNorm.item() })
    for (const { leaf } of arraysIn(metrics)) leaf.dispose()
  }
  const arrays = arraysIn(state)
  const params = arraysIn((state as { readonly params: unknown }).params)
  const values = new Map(await Promise.all(arrays.map(async ({ leaf }) => [leaf, await leaf.read()] as const)))
  const differing = await unlike(params)
  const onHost = (x: unknown): unknown => (values.has(x as MeshArray) ? values.get(x as MeshArray) : Array.isArray(x) ? x.map(onHost) : Object.fromEntries(Object.entries(x as object).map(([k, v]) => [k, onHost(v)])))
  const result = { weights: Object.fromEntries(params.map(({ path, leaf }) => [path, inOrder(Array.from(values.get(leaf) ?? [], Number), path.startsWith('blocks.') ? subject.places : undefined)])), unlike: differing, state: onHost(state) as object }
  for (const { leaf } of arrays) leaf.dispose()
  return result
}

/** The run on one device that a form is compared with. */
export const aloneOf = ({ subject: own, compute, against: { subject, ...against } = {} }: Form, usual: Subject): { readonly subject: Subject; readonly form: Form } =>
  ({ subject: subject ?? own ?? usual, form: { mesh: {}, layout: {}, ...(compute === undefined ? {} : { compute }), ...against } })

/** What a run's losses, norms and weights are off by, beside what they may be: nothing where they are equal. */
export function farOff(found: Trained, expected: Trained, form: Form): string {
  const { loss, firstNorm, norm, weight, worst } = difference(found, expected)
  const within = form.within ?? (form.compute === 'bf16' ? 2e-2 : 1e-4)
  const equal = loss < within && norm < 10 * within && firstNorm < Math.max(1e-5, within / 10) && weight < within && found.unlike.length === 0
  return equal ? '' : `loss ${loss}, norms ${firstNorm} and ${norm}, ${worst} ${weight}, unlike copies of ${found.unlike.join(', ') || 'nothing'}`
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

