/** Models held to transformers: a folder of `test/oracle/models` (a configuration, weights, and what PyTorch makes of them) computed by ours, on any mesh. */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { byPaths, openWeights, type Source } from '../../src/checkpoint/index.ts'
import { openFile } from '../../src/checkpoint/source.ts'
import type { Schema } from '../../src/core/configurable.ts'
import { treeOps } from '../../src/core/tree.ts'
import { compile, expectDims, leavesOf, lossAndGrads, mesh as meshOf, type AnyTensor, type Backend, type Layout, type MeshArray, type Tree } from '../../src/engine/index.ts'
import { isTensor } from '../../src/graph/tensor.ts'
import { trainedOf } from '../../src/graph/param.ts'
import { withLora, withPreference, type AnyModel, type LoraOptions, type PreferenceOptions } from '../../src/models/index.ts'
import { architectureNamed } from '../../src/models/hugging-face/registry.ts'
import type { AnyArchitecture, JsonObject } from '../../src/models/hugging-face/architecture.ts'
import { splitOfHeads } from '../../src/models/llama-params.ts'
import { relativeError } from '../support/values.ts'

export const fixtures: string = fileURLToPath(new URL('fixtures', import.meta.url))
export const cases = (folder: string): readonly string[] => readdirSync(folder, { withFileTypes: true }).filter(e => e.isDirectory()).map(e => e.name).sort()

/** How outputs that are judged are had of a model, by their names in `expected.safetensors`; and their dims, in the order of theirs. Of a model of a kind that is not here: its logits. */
interface Output { readonly of: (model: AnyModel, params: never, batch: never) => AnyTensor; readonly dims: readonly string[] }
type WithLogits = AnyModel & { readonly logits: (params: never, batch: never) => AnyTensor }
const logits = (...dims: readonly string[]): Output => ({ of: (model, params, batch) => (model as WithLogits).logits(params, batch), dims })
type WithVectors = AnyModel & { readonly vectors: (params: never, batch: never) => AnyTensor }
const classes: { readonly [name: string]: Output } = { logits: logits('batch', 'classes') }
const language: { readonly [name: string]: Output } = { logits: logits('batch', 'seq', 'vocab') }
export const outputsOf: { readonly [kind: string]: { readonly [name: string]: Output } } = {
  llama: language, gpt: language, bert: language, 'bert-classifier': classes, 'bert-embedder': { vectors: { of: (model, params, batch) => (model as WithVectors).vectors(params, batch), dims: ['batch', 'embed'] } },
  t5: { logits: logits('batch', 'target', 'vocab') }, vit: classes, resnet: classes,
}
/** Of a model that learns from pairs the metrics of its loss. */
const pairs: { readonly [name: string]: Output } = Object.fromEntries(['accuracy', 'margin', 'chosenReward', 'rejectedReward'].map(name =>
  [name, { of: (model: AnyModel, params: never, batch: never) => model.loss(params, batch).metrics?.[name]?.value as AnyTensor, dims: [] }]))

type Numbers = Float32Array | Int32Array
/** All of a source's tensors, as numbers; those that are read whole are small. */
async function numbersOf(source: Source): Promise<Map<string, { readonly shape: readonly number[]; readonly data: Numbers }>> {
  const found = new Map<string, { readonly shape: readonly number[]; readonly data: Numbers }>()
  for (const [name, tensor] of source.tensors) {
    const bytes = new Uint8Array(4 * tensor.shape.reduce((n, s) => n * s, 1))
    if (tensor.tag !== 'F32' && tensor.tag !== 'I32') throw new Error(`${name} is ${tensor.tag}`)
    await tensor.read(bytes, 0)
    found.set(name, { shape: tensor.shape, data: tensor.tag === 'F32' ? new Float32Array(bytes.buffer) : new Int32Array(bytes.buffer) })
  }
  return found
}

export interface ParityCase {
  readonly name: string
  readonly config: JsonObject
  readonly architecture: AnyArchitecture
  /** Ours of theirs, whole. */
  readonly ours: unknown
  readonly model: AnyModel
  /** What is judged of it beside its loss and gradients. */
  readonly judged: { readonly [name: string]: Output }
  readonly weights: ReadonlyMap<string, Numbers>
  readonly inputs: ReadonlyMap<string, Numbers>
  readonly outputs: ReadonlyMap<string, Numbers>
  readonly gradients: ReadonlyMap<string, Numbers>
}

interface Settings { readonly seq: number; readonly masked?: boolean; readonly packed?: boolean; readonly batch?: number; readonly options?: object; readonly preference?: PreferenceOptions; readonly lora?: LoraOptions }

/** Where a folder has a tensor that the model does not, or lacks one, this throws. `options` are fields of our configuration that theirs says nothing of. */
export async function loadCase(folder: string, name: string, options: object = {}): Promise<ParityCase> {
  const at = join(folder, name)
  const config = JSON.parse(readFileSync(join(at, 'config.json'), 'utf8')) as JsonObject
  const { batch, options: own = {}, preference, lora, ...settings } = JSON.parse(readFileSync(join(at, 'case.json'), 'utf8')) as Settings
  await using expected = await openFile(join(at, 'expected.safetensors'))
  await using source = await openWeights(at)
  const part = (prefix: string): Source => ({ ...expected, tensors: new Map([...expected.tensors].filter(([n]) => n.startsWith(prefix)).map(([n, t]) => [n.slice(prefix.length), t])) })
  const inputs = await numbersOf(part('input.'))
  const architecture = architectureNamed(config)
  const ours = (architecture.kind.kind.schema as Schema<unknown, unknown>).parse({ ...architecture.fromConfig(config, settings) as object, ...own, ...options })
  const plain = architecture.kind.kind.build(ours as never, { batch: batch ?? [...inputs.values()][0]?.shape[0] ?? 1 })
  const parameters = leavesOf(plain.params as Tree).map(({ path, leaf }) => ({ path, value: leaf }))
  const whole = (all: Awaited<ReturnType<typeof numbersOf>>, under = ''): [string, Numbers][] => [...all].map(([n, { data }]) => [under + n, data])
  /** By the model's own paths; `under` is where the model has them. */
  const named = async (s: Source, under = ''): Promise<[string, Numbers][]> => whole(await numbersOf(await byPaths(s, architecture.names(ours as never), parameters, { missing: true, unexpected: true })), under)
  const asTheyAre = async (prefix: string): Promise<[string, Numbers][]> => whole(await numbersOf(part(prefix)), 'lora.')
  const common = { name, config, architecture, ours, inputs: new Map(whole(inputs)), outputs: new Map(whole(await numbersOf(part('output.')))) }
  if (preference === undefined) return { ...common, model: plain, judged: outputsOf[architecture.kind.kind.name] ?? {}, weights: new Map(await named(source)), gradients: new Map(await named(part('gradient.'))) }
  const pairModel = (model: AnyModel, weights: [string, Numbers][], gradients: [string, Numbers][]): ParityCase => ({ ...common, model, judged: pairs, weights: new Map(weights), gradients: new Map(gradients) })
  if (lora !== undefined) return pairModel(withPreference(withLora(plain as never, lora) as never, preference), [...await named(source, 'base.'), ...await asTheyAre('lora.')], await asTheyAre('gradient.lora.'))
  return pairModel(withPreference(plain as never, preference), [...await named(source, 'policy.'), ...await named(part('reference.'), 'reference.')], await named(part('gradient.'), 'policy.'))
}

/** The rules of the usual layout that so many devices can follow. */
export function layoutFor(model: AnyModel, sizes: { readonly batch: number; readonly model: number }): Layout {
  const dims: { readonly [name: string]: { readonly size: number } | undefined } = model.dims
  const { kvHeads, group } = dims
  const heads = kvHeads !== undefined && group !== undefined ? splitOfHeads(dims as never, sizes.model) : 'heads'
  const rules = [['batch', 'batch', sizes.batch] as const, ...[heads, 'hidden', 'vocab'].map(name => [name, 'model', sizes.model] as const)]
  return Object.fromEntries(rules.flatMap(([name, axis, size]) => (name !== undefined && dims[name] !== undefined && dims[name].size % size === 0 ? [[name, axis]] : [])))
}

export interface Difference { readonly what: string; readonly error: number }
const tensors = treeOps(isTensor, 'a tensor')
const arrays = treeOps((x): x is MeshArray => typeof x === 'object' && x !== null && 'read' in x, 'an array')

/** How far each output, the loss and each parameter's gradient are from transformers', relative to their size. */
export async function compared(c: ParityCase, backend: Backend, sizes: { readonly batch: number; readonly model: number }): Promise<Difference[]> {
  const { model } = c
  const outputs = c.judged
  const loss = model.loss as (p: Tree, b: Tree) => ReturnType<AnyModel['loss']>
  const dimsOf = (names: readonly string[]) => names.map(n => (model.dims as { readonly [name: string]: { readonly name: string; readonly size: number } })[n] ?? { name: n, size: 0 })
  const trained = trainedOf(model.params as Tree)
  const program = await compile((params: Tree, batch: Tree) => {
    const { value, grads } = lossAndGrads((p: Tree) => ({ ...loss(trained.into(params, p), batch), metrics: {} }))(trained.of(params))
    return { loss: value, grads, outputs: Object.fromEntries(Object.entries(outputs).map(([n, o]) => [n, expectDims(o.of(model, params as never, batch as never), dimsOf(o.dims))])) }
  }, [model.params as Tree, model.batch as Tree], { mesh: meshOf(sizes), layout: layoutFor(model, sizes), backend, dims: model.dims })
  const missing = (what: string): never => { throw new Error(`${c.name}: there is no ${what}`) }
  const found = await program(
    tensors.map(model.params as Tree, (_, path) => c.weights.get(path) ?? missing(path)) as never, tensors.map(model.batch as Tree, (leaf, path) => (leaf.dtype === 'i32' ? c.inputs.get(path) : Uint8Array.from(c.inputs.get(path) ?? [])) ?? missing(path)) as never,
  )
  const differences: Difference[] = []
  for (const { path, leaf } of arrays.flatten(found as never)) {
    const wanted = path.startsWith('grads.') ? c.gradients.get(path.slice('grads.'.length)) : c.outputs.get(path.replace('outputs.', ''))
    differences.push({ what: path, error: relativeError(Array.from(await leaf.read(), Number), wanted ?? missing(path)) })
    leaf.dispose()
  }
  program.dispose()
  // Nothing that PyTorch computed was left out.
  const unjudged = [...c.outputs.keys()].filter(n => n !== 'loss' && outputs[n] === undefined)
  if (unjudged.length > 0) missing(`way to have ${unjudged.join(', ')} of a model of kind ${c.architecture.kind.kind.name}`)
  return differences
}
