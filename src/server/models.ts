/** What a server answers with: models that write, and models that embed. */
import type { ChatTemplate, Tokenizer } from '../data/index.ts'
import type { Answering, Load } from '../serve/asking.ts'
import type { EmbeddingQueue } from '../serve/embedding-queue.ts'
import { ApiError } from './errors.ts'

interface Named {
  readonly name: string
  /** Seconds since 1970 at which it was made. */
  readonly created: number
  readonly tokenizer: Tokenizer
}
/** A model that writes, as it is or with an adapter of its own. */
export interface WritingModel extends Named {
  readonly answering: Answering
  readonly template: ChatTemplate | undefined
  /** The name under which `answering` knows the adapter, and that of the model it belongs to. */
  readonly adapter?: string | undefined
  readonly parent?: string | undefined
  /** What loads and drops adapters of it while it answers. */
  readonly adapters?: AdapterPlace | undefined
}
/** Where clients may have adapters loaded from: folders under one of the server's. */
export interface AdapterPlace {
  /** @throws ApiError, MeshworkError where there is none that fits */
  load(name: string, path: string): Promise<void>
  drop(name: string): boolean
}
export interface EmbeddingModel extends Named { readonly embedding: EmbeddingQueue }
export type ServedModel = WritingModel | EmbeddingModel

/** Models, and each of their adapters as one more. */
export const withAdaptersOf = (models: readonly ServedModel[]): readonly ServedModel[] => models.flatMap((m): ServedModel[] => (isWriter(m) ? [m, ...m.answering.adapters.map((adapter): WritingModel => ({ ...m, name: adapter, adapter, parent: m.name }))] : [m]))

/** @throws ApiError where there is none of that name */
export function modelNamed(models: readonly ServedModel[], name: string): ServedModel {
  const found = models.find(m => m.name === name)
  if (found === undefined) throw new ApiError(404, `there is no model "${name}": this server has ${models.map(m => `"${m.name}"`).join(', ')}`, { param: 'model', code: 'model_not_found' })
  return found
}
export const isWriter = (model: ServedModel): model is WritingModel => 'answering' in model
/** @throws ApiError for a model that embeds */
export function writerOf(model: ServedModel): WritingModel {
  if (!isWriter(model)) throw new ApiError(400, `the model "${model.name}" makes vectors: use /v1/embeddings`, { param: 'model' })
  return model
}
/** @throws ApiError for a model that writes */
export function embedderOf(model: ServedModel): EmbeddingModel {
  if (isWriter(model)) throw new ApiError(400, `the model "${model.name}" writes, and makes no vectors: use /v1/chat/completions or /v1/completions`, { param: 'model' })
  return model
}
/** What a model is doing. */
export const loadOf = (model: ServedModel): Load => (isWriter(model) ? model.answering : model.embedding).load()
export const modelObject = (model: ServedModel): object => ({ id: model.name, object: 'model', created: model.created, owned_by: 'meshwork', ...(isWriter(model) && model.parent !== undefined ? { parent: model.parent } : {}) })
