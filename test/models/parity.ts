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
import type { AnyModel } from '../../src/models/index.ts'
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
const language: { readonly [name: string]: Output } = { logits: logits('batch', 'seq', 'vocab') }
export const outputsOf: { readonly [kind: string]: { readonly [name: string]: Output } } = { llama: language, gpt: language }

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
  readonly weights: ReadonlyMap<string, Numbers>
  readonly inputs: ReadonlyMap<string, Numbers>
  readonly outputs: ReadonlyMap<string, Numbers>
  readonly gradients: ReadonlyMap<string, Numbers>
}

/** Where a folder has a tensor that the model does not, or lacks one, this throws. `options` are fields of our configuration that theirs says nothing of. */
export async function loadCase(folder: string, name: string, options: object = {}): Promise<ParityCase> {
  const at = join(folder, name)
  const config = JSON.parse(readFileSync(join(at, 'config.json'), 'utf8')) as JsonObject
  const { batch, ...settings } = JSON.parse(readFileSync(join(at, 'case.json'), 'utf8')) as { readonly seq: number; readonly masked?: boolean; readonly packed?: boolean; readonly batch?: number }
  await using expected = await openFile(join(at, 'expected.safetensors'))
  await using source = await openWeights(at)
  const part = (prefix: string): Source => ({ ...expected, tensors: new Map([...expected.tensors].filter(([n]) => n.startsWith(prefix)).map(([n, t]) => [n.slice(prefix.length), t])) })
  const inputs = await numbersOf(part('input.'))
  const architecture = architectureNamed(config)
  const ours = (architecture.kind.kind.schema as Schema<unknown, unknown>).parse({ ...architecture.fromConfig(config, settings) as object, ...options })
  const model = architecture.kind.kind.build(ours as never, { batch: batch ?? [...inputs.values()][0]?.shape[0] ?? 1 })
  const parameters = leavesOf(model.params as Tree).map(({ path, leaf }) => ({ path, value: leaf }))
  const named = async (s: Source): Promise<Map<string, Numbers>> => new Map([...await numbersOf(await byPaths(s, architecture.names(ours as never), parameters, { missing: true, unexpected: true }))].map(([n, { data }]) => [n, data]))
  const whole = (all: Awaited<ReturnType<typeof numbersOf>>): Map<string, Numbers> => new Map([...all].map(([n, { data }]) => [n, data]))
  return { name, config, architecture, ours, model, weights: await named(source), inputs: whole(inputs), outputs: whole(await numbersOf(part('output.'))), gradients: await named(part('gradient.')) }
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
  const outputs = outputsOf[c.architecture.kind.kind.name] ?? {}
  const loss = model.loss as (p: Tree, b: Tree) => ReturnType<AnyModel['loss']>
  const dimsOf = (names: readonly string[]) => names.map(n => (model.dims as { readonly [name: string]: { readonly name: string; readonly size: number } })[n] ?? { name: n, size: 0 })
  const program = await compile((params: Tree, batch: Tree) => {
    const { value, grads } = lossAndGrads((p: Tree) => ({ ...loss(p, batch), metrics: {} }))(params)
    return { loss: value, grads, outputs: Object.fromEntries(Object.entries(outputs).map(([n, o]) => [n, expectDims(o.of(model, params as never, batch as never), dimsOf(o.dims))])) }
  }, [model.params as Tree, model.batch as Tree], { mesh: meshOf(sizes), layout: layoutFor(model, sizes), backend, dims: model.dims })
  const missing = (what: string): never => { throw new Error(`${c.name}: there is no ${what}`) }
  const found = await program(
    tensors.map(model.params as Tree, (_, path) => c.weights.get(path) ?? missing(path)) as never, tensors.map(model.batch as Tree, (_, path) => c.inputs.get(path) ?? missing(path)) as never,
  )
  const differences: Difference[] = []
  for (const { path, leaf } of arrays.flatten(found as never)) {
    const wanted = path.startsWith('grads.') ? c.gradients.get(path.slice('grads.'.length)) : c.outputs.get(path.replace('outputs.', ''))
    differences.push({ what: path, error: relativeError(Array.from(await leaf.read(), Number), wanted ?? missing(path)) })
  }
  // Nothing that PyTorch computed was left out.
  const unjudged = [...c.outputs.keys()].filter(n => n !== 'loss' && outputs[n] === undefined)
  if (unjudged.length > 0) missing(`way to have ${unjudged.join(', ')} of a model of kind ${c.architecture.kind.kind.name}`)
  return differences
}
