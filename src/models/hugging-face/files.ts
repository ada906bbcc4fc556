/** How a recipe's model lies in files that other tools open: under which names its weights, and with which `config.json`. */
import type { Part } from '../../core/configurable.ts'
import { indexed, storedAs, type Naming, type StoredAs } from '../../core/naming.ts'
import { leavesOf } from '../../graph/tensor.ts'
import type { Tree } from '../../graph/types.ts'
import { loraName, type LoraConfig } from '../lora-model.ts'
import type { AnyModel } from '../model.ts'
import { preferenceName, type PreferenceConfig } from '../preference-model.ts'
import type { ReferenceParams } from '../preference.ts'
import type { JsonObject } from './architecture.ts'
import { architectureFor } from './registry.ts'

export interface ModelFiles {
  readonly naming: Naming
  /** What other tools build the model from; undefined where they would build another than this one. */
  readonly config: JsonObject | undefined
}

type AnyPart = Pick<Part<unknown, never>, 'kind' | 'config'> & { readonly base?: AnyPart }

/** `model` is what the part makes. Undefined where no other tool has such a model: then weights lie under their own paths. */
export function filesOf(part: AnyPart, model: Pick<AnyModel, 'params' | 'linear'>): ModelFiles | undefined {
  if (part.kind.name === preferenceName && part.base !== undefined) return filesOfPolicy({ ...part.base, config: (part.config as PreferenceConfig).base }, model)
  if (part.kind.name === loraName && part.base !== undefined) {
    const base = filesOf({ ...part.base, config: (part.config as LoraConfig).base }, model)
    // Whoever read the base's configuration would leave the adapters out, and say nothing of it.
    return base === undefined ? undefined : { config: undefined, naming: adaptedNaming(base.naming, model) }
  }
  const architecture = architectureFor(part.kind.name, part.config)
  return architecture === undefined ? undefined : { naming: architecture.names(part.config as never), config: architecture.toConfig(part.config as never) }
}

/** The base's names, and those that `peft` has for its adapters: `….lora_A.weight` [rank, inputs], `….lora_B.weight` [outputs, rank]. */
function adaptedNaming(naming: Naming, { params }: Pick<AnyModel, 'params'>): Naming {
  const parameters: { [path: string]: StoredAs | string } = Object.fromEntries(Object.entries(naming.parameters).map(([path, stored]) => [`base.${path}`, stored]))
  for (const { path, leaf } of leavesOf(params)) {
    const [, of, which] = /^lora\.(.*)\.(down|up)$/.exec(path) ?? []
    const given = of === undefined ? undefined : naming.parameters[of]
    if (of === undefined || given === undefined) continue
    const stored = storedAs(given)
    const stem = stored.name.replace(/\.weight$/, '')
    const dims = leaf.shape.map(d => d.name).filter(n => n !== 'rank').slice(indexed.test(stem) ? 1 : 0)
    // What is a part of a tensor has an adapter of its own.
    const own = stored.part === undefined ? stem : `${stem}.${of.split('.').at(-1) ?? ''}`
    parameters[path] = which === 'down' ? { name: `${own}.lora_A.weight`, axes: [['rank'], dims] } : { name: `${own}.lora_B.weight`, axes: [dims, ['rank']] }
  }
  return { ...naming, parameters }
}

/** Those of the model that learns from pairs. What it is compared with, where that is a copy, has the same names behind a word, and is in no file of weights alone. */
function filesOfPolicy(part: AnyPart, { params, linear = {} }: Pick<AnyModel, 'params' | 'linear'>): ModelFiles | undefined {
  if (!('policy' in params)) return filesOf(part, { params, linear })
  const { policy } = params as ReferenceParams<Tree>
  const files = filesOf(part, { params: policy, linear: Object.fromEntries(Object.entries(linear).map(([path, over]) => [path.replace(/^policy\./, ''), over])) })
  if (files === undefined) return undefined
  const copies = 'reference.'
  const parameters = Object.entries(files.naming.parameters).flatMap(([path, given]) => {
    const stored = storedAs(given)
    return [[`policy.${path}`, stored], [`reference.${path}`, { ...stored, name: `${copies}${stored.name}` }]] as const
  })
  return { ...files, naming: { ...files.naming, parameters: Object.fromEntries(parameters), copies } }
}
