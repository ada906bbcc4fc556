/** What a server answers with. */
import type { ChatTemplate, Tokenizer } from '../data/index.ts'
import type { Answering } from '../serve/asking.ts'
import { ApiError } from './errors.ts'

export interface ServedModel {
  readonly name: string
  /** Seconds since 1970 at which it was made. */
  readonly created: number
  readonly answering: Answering
  readonly tokenizer: Tokenizer
  readonly template: ChatTemplate | undefined
}

/** @throws ApiError where there is none of that name */
export function modelNamed(models: readonly ServedModel[], name: string): ServedModel {
  const found = models.find(m => m.name === name)
  if (found === undefined) throw new ApiError(404, `there is no model "${name}": this server has ${models.map(m => `"${m.name}"`).join(', ')}`, { param: 'model', code: 'model_not_found' })
  return found
}
export const modelObject = ({ name, created }: ServedModel): object => ({ id: name, object: 'model', created, owned_by: 'meshwork' })
