/** The architectures that models come in and go out as, by the `model_type` of their `config.json`. */
import { UsageError } from '../../core/errors.ts'
import { didYouMean } from '../../core/nearest.ts'
import { shown } from '../../core/shown.ts'
import type { AnyArchitecture, JsonObject } from './architecture.ts'
import { bertClassifierArchitecture, bertEmbedderArchitecture, bertMaskedArchitecture } from './bert.ts'
import { deepseek2Architecture, deepseek3Architecture, dots1Architecture, mixtralArchitecture, olmoeArchitecture, qwen2MoeArchitecture, qwen3MoeArchitecture } from './experts.ts'
import { gemma2Architecture, gemma3Architecture } from './gemma.ts'
import { gpt2Architecture } from './gpt2.ts'
import { llamaArchitecture, mistralArchitecture, olmo2Architecture, qwen2Architecture, qwen3Architecture, smollm3Architecture } from './llama.ts'
import { phi3Architecture } from './phi3.ts'
import { resnetArchitecture } from './resnet.ts'
import { robertaClassifierArchitecture, robertaEmbedderArchitecture, robertaMaskedArchitecture } from './roberta.ts'
import { switchArchitecture } from './switch.ts'
import { t5Architecture } from './t5.ts'
import { vitArchitecture } from './vit.ts'

export type { AnyArchitecture, Architecture, Json, JsonObject, Wanted } from './architecture.ts'

/** Where a configuration of ours is of several, the first is what it is written as. */
export const architectures: readonly AnyArchitecture[] = [
  llamaArchitecture, mistralArchitecture, qwen2Architecture, qwen3Architecture, smollm3Architecture, phi3Architecture, olmo2Architecture, gemma2Architecture, gemma3Architecture, mixtralArchitecture, qwen3MoeArchitecture, qwen2MoeArchitecture, olmoeArchitecture, dots1Architecture, deepseek3Architecture, deepseek2Architecture, gpt2Architecture,
  bertMaskedArchitecture, bertClassifierArchitecture, bertEmbedderArchitecture, robertaMaskedArchitecture, robertaClassifierArchitecture, robertaEmbedderArchitecture, t5Architecture, switchArchitecture, vitArchitecture, resnetArchitecture,
]

/** Types of which a part is known, and why the whole is not. */
const notComputed: { readonly [type: string]: string } = { deepseek_v32: 'its attention chooses what it sees by an index of its own' }

/** The architecture of a `config.json`: of its `model_type`, and where there are several of the first of its `architectures` that is one. @throws UsageError that names the ones there are */
export function architectureNamed(config: JsonObject): AnyArchitecture {
  const { model_type: type, architectures: classes, architecture: own } = config
  const mine = type === undefined && typeof own === 'string' ? ownArchitecture(own) : undefined
  if (mine !== undefined) return mine
  const known = [...new Set(architectures.map(a => a.modelType))]
  const wrong = (what: string, fix: string): UsageError => new UsageError({ code: 'architecture', what: `config.json: ${what}`, fix })
  if (typeof type !== 'string') throw wrong(`model_type is ${type === undefined || type === null ? 'missing' : shown(type)}`, `it says what the model is: one of ${known.join(', ')}`)
  if (Object.hasOwn(notComputed, type)) throw wrong(`a model of type "${type}" is not computed`, `${notComputed[type]}; deepseek_v3 is`)
  const found = architectures.filter(a => a.modelType === type)
  const [first] = found
  if (first === undefined) throw wrong(`a model of type "${type}" is not known`, didYouMean(type, known))
  const named = Array.isArray(classes) ? classes.filter((c): c is string => typeof c === 'string') : []
  const match = named.length === 0 ? first : found.find(a => a.classes.some(c => named.includes(c)))
  if (match === undefined) throw wrong(`the model is ${named.join(', ')}`, `of type "${type}" there are ${found.flatMap(a => a.classes).join(', ')}`)
  return match
}

/** The architecture as which a configured model goes out: the first that has a word for all of its options; undefined where none has. */
export const architectureFor = (kind: string, config: unknown): AnyArchitecture | undefined => architectures.find(a => a.kind.kind.name === kind && (a.isOf?.(config as never) ?? true))

/** A kind of ours with options that no other tool has a word for: its `config.json` holds them as they are, and its weights lie under their own paths. */
function ownArchitecture(name: string): AnyArchitecture | undefined {
  const kind = architectures.find(a => a.kind.kind.name === name)?.kind
  return kind === undefined ? undefined : { modelType: name, classes: [], kind, fromConfig: ({ architecture: _, ...config }) => config, toConfig: config => ({ architecture: name, ...config as object }), names: () => ({ parameters: {} }) }
}
