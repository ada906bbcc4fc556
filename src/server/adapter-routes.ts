/** Adapters that are loaded and dropped while a model answers, by the names that vLLM's routes have. */
import { MeshworkError } from '../core/errors.ts'
import type { Call } from './call.ts'
import { ApiError } from './errors.ts'
import { isWriter, modelNamed, writerOf, type AdapterPlace, type ServedModel, type WritingModel } from './models.ts'
import { dropAdapterSchema, loadAdapterSchema } from './schemas.ts'

/** The model that is named, or the first that may have adapters. @throws ApiError */
function placeOf(models: readonly ServedModel[], name: string | null | undefined): { readonly model: WritingModel; readonly place: AdapterPlace } {
  const model = name === undefined || name === null ? models.find(m => isWriter(m) && m.adapters !== undefined) ?? models.find(isWriter) : modelNamed(models, name)
  if (model === undefined) throw new ApiError(400, 'none of the models writes', { param: 'model' })
  const { adapters } = writerOf(model)
  if (adapters === undefined || writerOf(model).parent !== undefined) throw new ApiError(403, 'this server loads no adapters for clients: begin it with --adapter-root', { type: 'permission_error', code: 'adapters' })
  return { model: writerOf(model), place: adapters }
}

/** POST /v1/load_lora_adapter. */
export async function loadAdapter(call: Call): Promise<Response> {
  const { model: name, lora_name: adapter, lora_path: path } = await call.read(loadAdapterSchema)
  const { model, place } = placeOf(call.models, name)
  const other = call.models.find(m => m.name === adapter)
  if (other !== undefined && !(isWriter(other) && other.parent === model.name)) throw new ApiError(400, `"${adapter}" is the name of a model`, { param: 'lora_name' })
  try { await place.load(adapter, path) } catch (e) {
    if (e instanceof MeshworkError) throw new ApiError(400, `${e.problem.what}${e.problem.fix === undefined ? '' : `: ${e.problem.fix}`}`, { param: 'lora_path' })
    throw e
  }
  return call.json({ id: adapter, object: 'model', parent: model.name })
}

/** POST /v1/unload_lora_adapter. */
export async function dropAdapter(call: Call): Promise<Response> {
  const { model: name, lora_name: adapter } = await call.read(dropAdapterSchema)
  const { model, place } = placeOf(call.models, name)
  if (!place.drop(adapter)) throw new ApiError(404, `"${model.name}" has no adapter "${adapter}"`, { param: 'lora_name', code: 'model_not_found' })
  return call.json({ id: adapter })
}
