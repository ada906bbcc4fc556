/** Models that embed sentences as sentence-transformers lays them out: how tokens' vectors become a text's, and what their texts are cut to. */
import { UsageError } from '../../core/errors.ts'
import { shown } from '../../core/shown.ts'
import type { AnyArchitecture, Json, JsonObject } from './architecture.ts'
import { architectureNamed, architectures } from './registry.ts'

/** How the vectors of a text's tokens become its own: their mean or the largest of each number, the first token's, that through BERT's pooler, or the last token's; and whether it is made 1 long. */
export interface Pooling { readonly pooling: 'mean' | 'max' | 'cls' | 'pooler' | 'last'; readonly normalised: boolean }

/** The architecture that gives a model's vectors: a `BertForMaskedLM`'s are its encoder's, and a decoder without a head is one with. @throws UsageError as `architectureNamed` */
export function sentenceArchitecture(config: JsonObject): AnyArchitecture {
  const { model_type: type } = config
  const found = architectures.filter(a => a.modelType === type)
  return found.find(a => a.kind.kind.name === 'bert-embedder') ?? found[0] ?? architectureNamed(config)
}

/** A configuration of ours as far as vectors hang on it: pooled as said, without what only other uses need. @throws UsageError for a pooling that such a model has not */
export function sentenceConfig({ kind, modelType }: AnyArchitecture, config: object, { pooling, normalised }: Pooling): object {
  const encoder = kind.kind.name === 'bert-embedder'
  if (encoder ? pooling === 'last' : pooling !== 'last' && pooling !== 'mean') throw wrong(`pooling by "${pooling}" is not computed for a model of type ${modelType}`, encoder ? 'pool by mean, max, cls or pooler' : 'pool by mean, or the last token')
  if (encoder) return { ...config, pooling, normalised, pooler: pooling === 'pooler' }
  // The states are those of the same model with its head tied.
  return kind.kind.name === 'llama' ? { ...config, tied: true } : config
}

const modes: { readonly [key: string]: Pooling['pooling'] } = {
  pooling_mode_mean_tokens: 'mean', pooling_mode_max_tokens: 'max', pooling_mode_cls_token: 'cls', pooling_mode_lasttoken: 'last',
}
const wrong = (what: string, fix: string): UsageError => new UsageError({ code: 'pooling', what, fix })
const isObject = (x: unknown): x is JsonObject => typeof x === 'object' && x !== null && !Array.isArray(x)

/**
 * What `modules.json` and `1_Pooling/config.json` say, as sentence-transformers reads them: the mean where there is nothing about pooling, and vectors are made 1 long where a module
 * `Normalize` says so. Whatever of the two is not there is undefined.
 * @throws UsageError for a module or a pooling that is not computed
 */
export function poolingFrom(modules: Json | undefined, pooling: Json | undefined): Pooling {
  const kinds = modules === undefined ? [] : Array.isArray(modules) ? modules.map((m: Json) => String(isObject(m) ? m['type'] ?? '' : '').split('.').at(-1) ?? '') : undefined
  if (kinds === undefined) throw wrong('modules.json is no list', 'copy the model\'s own there')
  const odd = kinds.find(kind => !['Transformer', 'Pooling', 'Normalize'].includes(kind))
  if (odd !== undefined) throw wrong(`modules.json: a module ${shown(odd)} is not computed`, 'use a model of a Transformer, Pooling and Normalize')
  const normalised = kinds.includes('Normalize')
  if (pooling === undefined) return { pooling: 'mean', normalised }
  if (!isObject(pooling)) throw wrong('1_Pooling/config.json is no object', 'copy the model\'s own there')
  const named = pooling['pooling_mode']
  const set = typeof named === 'string' ? [`pooling_mode_${named.replace(/^(cls)$/, '$1_token').replace(/^(mean|max)$/, '$1_tokens')}`] : Object.keys(pooling).filter(key => key.startsWith('pooling_mode_') && pooling[key] === true)
  const [mode, ...others] = set
  const found = mode === undefined ? undefined : modes[mode]
  if (found === undefined || others.length > 0) throw wrong(`1_Pooling/config.json: ${set.length === 0 ? 'no pooling' : set.join(' with ')} is not computed`, `pool by one of ${Object.keys(modes).join(', ')}`)
  return { pooling: found, normalised }
}
