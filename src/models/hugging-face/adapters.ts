/** Adapters of low rank as `peft` has them: their tensors' names, their configuration, and what of a base's tensors they change. */
import { UsageError } from '../../core/errors.ts'
import { indexed, nameAt, storedAs, type Change, type Naming, type StoredAs } from '../../core/naming.ts'
import { leavesOf } from '../../graph/tensor.ts'
import type { LoraOptions } from '../lora.ts'
import type { AnyModel } from '../model.ts'
import type { AnyArchitecture, JsonObject } from './architecture.ts'

/** What `peft` puts before the names of a model that has adapters. */
const wrapped = 'base_model.model.'

interface Adapted { readonly path: string; readonly down: StoredAs; readonly up: StoredAs; readonly base: StoredAs; /** What the base's tensor is called, without `.weight`. */ readonly stem: string }

/** The adapted layers of a model with adapters: how its base lies in files, and so the adapters. */
function adaptedIn(naming: Naming, { params }: Pick<AnyModel, 'params'>): Adapted[] {
  const shapes = new Map(leavesOf(params).map(({ path, leaf }) => [path, leaf.shape.map(d => d.name)]))
  return [...shapes].flatMap(([at, dims]): Adapted[] => {
    const [, path] = /^lora\.(.*)\.down$/.exec(at) ?? []
    const given = path === undefined ? undefined : naming.parameters[path]
    if (path === undefined || given === undefined) return []
    const base = storedAs(given)
    const stem = base.name.replace(/\.weight$/, '')
    const own = (names: readonly string[]): string[] => names.filter(n => n !== 'rank').slice(indexed.test(stem) ? 1 : 0)
    // What is a part of a tensor has an adapter of its own.
    const name = `${wrapped}${stem}${base.part === undefined ? '' : `.${path.split('.').at(-1) ?? ''}`}`
    return [{ path, base, stem, down: { name: `${name}.lora_A.weight`, axes: [['rank'], own(dims)] }, up: { name: `${name}.lora_B.weight`, axes: [own(shapes.get(`lora.${path}.up`) ?? []), ['rank']] } }]
  })
}

/** The base's names, and those of the adapters: `….lora_A.weight` [rank, inputs], `….lora_B.weight` [outputs, rank]. */
export function adaptedNaming(naming: Naming, model: Pick<AnyModel, 'params'>): Naming {
  const base = Object.fromEntries(Object.entries(naming.parameters).map(([path, stored]) => [`base.${path}`, stored]))
  const lora = Object.fromEntries(adaptedIn(naming, model).flatMap(({ path, down, up }) => [[`lora.${path}.down`, down], [`lora.${path}.up`, up]]))
  return { ...naming, parameters: { ...base, ...lora } }
}

/** Layers by names that people have for them: what other tools call so (`q_proj`) becomes the paths here; other names stay as they are. `model` is the base. */
export function layersCalled(names: readonly string[], { parameters }: Naming, { linear = {} }: Pick<AnyModel, 'linear'>): readonly string[] {
  const paths = Object.keys(linear)
  const moduleOf = (path: string): string | undefined => { const stored = parameters[path]; return stored === undefined ? undefined : storedAs(stored).name.replace(/\.weight$/, '').split('.').at(-1) }
  return names.flatMap(name => {
    const theirs = paths.filter(path => moduleOf(path) === name)
    return theirs.length === 0 || paths.some(path => path === name || path.endsWith(`.${name}`)) ? [name] : theirs
  })
}

/** The kind that a folder of adapters says it is where `peft` cannot have them: on parts of a tensor. */
const ownKind = 'MESHWORK_LORA'
/** Of a classifier none: `peft` would look for a head among the adapters, which here is one of the base's frozen weights. */
const tasks: readonly (readonly [RegExp, string])[] = [[/ForCausalLM$|LMHeadModel$/, 'CAUSAL_LM'], [/ForConditionalGeneration$/, 'SEQ_2_SEQ_LM'], [/Model$/, 'FEATURE_EXTRACTION']]

/** `adapter_config.json`, but for where the base is. `model` has adapters on it. */
export function adapterConfig({ classes: [name = ''] }: Pick<AnyArchitecture, 'classes'>, naming: Naming, model: Pick<AnyModel, 'params' | 'linear'>, { rank, alpha = 2 * rank }: LoraOptions): JsonObject {
  const found = adaptedIn(naming, model)
  const layers = new Map(leavesOf(model.params).map(({ path, leaf }) => [path, leaf.shape]))
  // One of a name for each layer.
  const modules = (path: string, stem: string): string[] => {
    const [, by] = indexed.exec(stem) ?? []
    return by === undefined ? [stem] : Array.from({ length: layers.get(`base.${path}`)?.find(d => d.name === by)?.size ?? 1 }, (_, i) => nameAt(stem, i))
  }
  const chosen = new Set(found.flatMap(a => modules(a.path, a.stem)))
  const all = Object.entries(naming.parameters).flatMap(([path, given]) => (model.linear?.[path] === undefined ? [] : modules(path, storedAs(given).name.replace(/\.weight$/, ''))))
  const ends = [...new Set([...chosen].map(m => m.split('.').at(-1) ?? m))]
  // Short names mean every layer that is called so.
  const short = all.every(m => chosen.has(m) || !ends.some(end => m === end || m.endsWith(`.${end}`)))
  return {
    peft_type: found.some(a => a.base.part !== undefined) ? ownKind : 'LORA', task_type: tasks.find(([ending]) => ending.test(name))?.[1] ?? null,
    r: rank, lora_alpha: alpha, target_modules: short ? ends : [...chosen], lora_dropout: 0, bias: 'none', fan_in_fan_out: name.startsWith('GPT2'),
    inference_mode: true, init_lora_weights: true, modules_to_save: null, rank_pattern: {}, alpha_pattern: {}, use_rslora: false, use_dora: false,
  }
}

/** Options of `peft` that change what is computed, with the values that they have where they change nothing. */
const unused: { readonly [key: string]: readonly unknown[] } = {
  bias: ['none'], use_rslora: [false], use_dora: [false], modules_to_save: [], rank_pattern: [], alpha_pattern: [], layers_to_transform: [], layers_pattern: [], layer_replication: [], megatron_config: [], trainable_token_indices: [],
  use_qalora: [false], lora_bias: [false], alora_invocation_tokens: [], target_parameters: [], exclude_modules: [],
}
const isEmpty = (x: unknown): boolean => x === null || x === undefined || (typeof x === 'object' && Object.keys(x).length === 0)

/**
 * The adapters that a folder holds, of its `adapter_config.json` and the names of its tensors. `model` is the base with adapters on every linear layer.
 * @throws UsageError that names the option which is not computed
 */
export function adaptersOf(config: JsonObject, names: readonly string[], naming: Naming, model: Pick<AnyModel, 'params'>): LoraOptions {
  const wrong = (what: string, fix: string): UsageError => new UsageError({ code: 'adapter-config', what: `adapter_config.json: ${what}`, fix })
  const { peft_type: kind, r: rank, lora_alpha: alpha } = config
  if (kind !== 'LORA' && kind !== ownKind) throw wrong(`peft_type is ${JSON.stringify(kind ?? null)}`, 'only LORA is computed')
  if (typeof rank !== 'number' || !Number.isSafeInteger(rank) || rank < 1) throw wrong(`r is ${JSON.stringify(rank ?? null)}`, 'give it a whole number above 0')
  if (typeof alpha !== 'number' || !(alpha > 0)) throw wrong(`lora_alpha is ${JSON.stringify(alpha ?? null)}`, 'give it a number above 0')
  const odd = Object.entries(unused).find(([key, values]) => !isEmpty(config[key]) && !values.includes(config[key]))
  if (odd !== undefined) throw wrong(`${odd[0]} is ${JSON.stringify(config[odd[0]]).slice(0, 80)}`, 'this option is not computed: merge the adapters with the tool that made them')
  const all = adaptedIn(naming, model)
  const known = all.map(a => ({ ...a, is: new RegExp(`^${a.down.name.replace(/[.]/g, '\\.').replace(indexed, '\\d+')}$`) }))
  const left = names.find(n => n.endsWith('.lora_A.weight') && !known.some(a => a.is.test(n)))
  if (left !== undefined) throw wrong(`the tensor ${left} changes no linear layer of the base`, 'use the base that the adapters were made for')
  return { rank, alpha, on: known.filter(a => names.some(n => a.is.test(n))).map(a => a.path) }
}

/** All changes that a model with adapters makes to the tensors of its base. */
export function changesOf(naming: Naming, model: Pick<AnyModel, 'params' | 'linear'>, { rank, alpha = 2 * rank }: LoraOptions): Change[] {
  const shapes = new Map(leavesOf(model.params).map(({ path, leaf }) => [path, leaf.shape]))
  return adaptedIn(naming, model).flatMap(({ path, base, down, up }) => {
    const shape = shapes.get(`base.${path}`) ?? []
    const [, by] = indexed.exec(base.name) ?? []
    const axes = base.axes ?? shape.filter(d => d.name !== by).map(d => [d.name])
    const over = new Set(model.linear?.[path])
    const contracted = axes.findIndex(dims => dims.length > 0 && dims.every(d => over.has(d)))
    if (axes.length !== 2 || (contracted !== 0 && contracted !== 1)) throw new UsageError({ code: 'not-merged', what: `the change of "${path}" cannot be added to ${base.name}: it is no matrix of what is contracted and what is given`, fix: 'adapt other layers' })
    const sizes = axes.map(dims => dims.reduce((n, name) => n * (shape.find(d => d.name === name)?.size ?? 1), 1))
    const part = base.part === undefined ? undefined : { axis: base.part.axis, from: base.part.from, size: sizes[base.part.axis] ?? 0 }
    const layers = by === undefined ? 1 : shape.find(d => d.name === by)?.size ?? 1
    return Array.from({ length: layers }, (_, i): Change => {
      const at = (stored: StoredAs): string => nameAt(stored.name, i)
      return { tensor: at(base), down: at(down), up: at(up), scale: alpha / rank, contracted, part }
    })
  })
}
