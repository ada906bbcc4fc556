/** How a recipe's model lies in files that other tools open: under which names its weights, and with which `config.json`. */
import type { Part } from '../../core/configurable.ts'
import { storedAs, type Naming } from '../../core/naming.ts'
import type { Tree } from '../../graph/types.ts'
import { loraName, type LoraConfig } from '../lora-model.ts'
import type { AnyModel } from '../model.ts'
import { placesIn, type MayPipeline } from '../pipelined.ts'
import { preferenceName, type PreferenceConfig } from '../preference-model.ts'
import type { ReferenceParams } from '../preference.ts'
import { adaptedNaming, adapterConfig } from './adapters.ts'
import type { JsonObject } from './architecture.ts'
import { architectureFor } from './registry.ts'

export interface ModelFiles {
  readonly naming: Naming
  /** What other tools build the model from: of a model with adapters its base. */
  readonly config: JsonObject
  /** Of a model with adapters what `peft` reads of them, but for where the base is. */
  readonly adapter?: JsonObject
}

type AnyPart = Pick<Part<unknown, never>, 'kind' | 'config'> & { readonly base?: AnyPart }

/** `model` is what the part makes. Undefined where no other tool has such a model: then weights lie under their own paths. */
export function filesOf(part: AnyPart, model: Pick<AnyModel, 'params' | 'linear'>): ModelFiles | undefined {
  if (part.kind.name === preferenceName && part.base !== undefined) return filesOfPolicy({ ...part.base, config: (part.config as PreferenceConfig).base }, model)
  if (part.kind.name === loraName && part.base !== undefined) {
    const { base: config, lora } = part.config as LoraConfig
    const base = filesOf({ ...part.base, config }, model)
    const architecture = architectureFor(part.base.kind.name, config)
    return base === undefined || architecture === undefined ? undefined : { config: base.config, naming: adaptedNaming(base.naming, model), adapter: adapterConfig(architecture, base.naming, model, lora) }
  }
  const architecture = architectureFor(part.kind.name, part.config)
  return architecture === undefined ? undefined : { naming: inOrder(architecture.names(part.config as never), part.config), config: architecture.toConfig(part.config as never) }
}

/** Layers that lie in the places of a pipeline have in files the numbers that they have without one. */
function inOrder(naming: Naming, config: unknown): Naming {
  const places = placesIn(config as MayPipeline)
  return places === undefined ? naming : { ...naming, order: { ...naming.order, layers: places } }
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
