/** What the server can be asked, as an OpenAPI 3.1 document: made of the schemas that requests are checked by. */
import { z } from 'zod'
import { version } from '../io/version.ts'

type Schema = { readonly [word: string]: unknown }
const string: Schema = { type: 'string' }
const integer: Schema = { type: 'integer' }
const list = (items: Schema): Schema => ({ type: 'array', items })
const object = (properties: { readonly [name: string]: Schema }, required: readonly string[] = Object.keys(properties)): Schema => ({ type: 'object', properties, required })
const maybe = (schema: Schema): Schema => ({ anyOf: [schema, { type: 'null' }] })
const fixed = (value: string): Schema => ({ const: value })

const usage = object({ prompt_tokens: integer, completion_tokens: integer, total_tokens: integer, prompt_tokens_details: object({ cached_tokens: integer }) })
const finish = { enum: ['stop', 'length', 'tool_calls'] }
const model = object({ id: string, object: fixed('model'), created: integer, owned_by: string, parent: string }, ['id', 'object', 'created', 'owned_by'])
const call = object({ id: string, type: fixed('function'), function: object({ name: string, arguments: string }) })
/** A route as clients see it. */
export interface RouteOutline {
  readonly method: 'get' | 'post'
  readonly path: string
  /** Nobody needs a key for it. */
  readonly open?: true
  readonly what: string
  readonly body?: z.ZodType
  readonly answers?: AnswerName
  /** Whether it may answer with events. */
  readonly streams?: true
  /** The type of what it answers, where that is no JSON. */
  readonly text?: string
}
export type AnswerName = 'status' | 'models' | 'model' | 'chat' | 'completion' | 'response' | 'embeddings' | 'tokens' | 'prompt' | 'tokenizer' | 'adapter' | 'document'
/** What is answered, by name. */
const answerSchemas: { readonly [N in AnswerName]: Schema } = {
  status: object({ status: string }),
  models: object({ object: fixed('list'), data: list(model) }), model,
  chat: object({
    id: string, object: fixed('chat.completion'), created: integer, model: string, usage, training_step: integer,
    choices: list(object({ index: integer, message: object({ role: fixed('assistant'), content: maybe(string), refusal: { type: 'null' }, annotations: list({}), tool_calls: list(call) }, ['role', 'content', 'refusal']), logprobs: maybe({ type: 'object' }), finish_reason: finish })),
  }, ['id', 'object', 'created', 'model', 'usage', 'choices']),
  completion: object({ id: string, object: fixed('text_completion'), created: integer, model: string, usage, training_step: integer, choices: list(object({ index: integer, text: string, logprobs: maybe({ type: 'object' }), finish_reason: finish })) }, ['id', 'object', 'created', 'model', 'usage', 'choices']),
  response: object({ id: string, object: fixed('response'), created_at: integer, status: { enum: ['completed', 'incomplete', 'in_progress', 'failed'] }, model: string, output: list({ type: 'object' }), usage: maybe({ type: 'object' }) }),
  embeddings: object({ object: fixed('list'), model: string, data: list(object({ object: fixed('embedding'), index: integer, embedding: { anyOf: [list({ type: 'number' }), string] } })), usage: object({ prompt_tokens: integer, total_tokens: integer }) }),
  tokens: object({ tokens: list(integer), count: integer, max_model_len: integer, token_strs: list(string) }),
  prompt: object({ prompt: string }),
  tokenizer: object({ tokenizer_class: string, vocab_size: integer, model_max_length: integer, eos_token: maybe(string) }),
  adapter: object({ id: string, object: fixed('model'), parent: string }, ['id']),
  document: { type: 'object' },
}

const errorObject = object({ error: object({ message: string, type: string, param: maybe(string), code: maybe(string) }) })
const refusals: { readonly [status: string]: string } = {
  400: 'The request is not as it must be, or asks for what cannot be honoured.', 401: 'A key is wanted.', 403: 'Asked under another name, or by a page of another site.', 404: 'There is no such model or route.', 413: 'The body is too long.', 429: 'The queue is full: come again after Retry-After seconds.',
  499: 'The client closed the request.', 500: 'The server failed.', 503: 'The server is about to end.', 504: 'The answer took longer than this server gives one.',
}
const json = (schema: Schema): Schema => ({ 'application/json': { schema } })

/** Its events are no one text, and what they are OpenAPI 3.1 has no way to say. */
const events = 'text/event-stream'

/** @param routes that there are */
export function openApi(routes: readonly RouteOutline[]): object {
  const paths: { [path: string]: { [method: string]: object } } = {}
  for (const { method, path, open, what, body, answers, streams, text } of routes) {
    const named = [...path.matchAll(/:(\w+)(?:\{[^}]*\})?/g)].map(m => m[1] as string)
    const at = path.replace(/:(\w+)(?:\{[^}]*\})?/g, '{$1}')
    const content = text === undefined ? { ...(answers === undefined ? {} : json({ $ref: `#/components/schemas/${answers}` })), ...(streams === true ? { [events]: {} } : {}) } : { [text]: text === events ? {} : { schema: string } }
    const failures = Object.entries(refusals).filter(([status]) => open !== true || status === '403' || status === '503' || (status === '404' && text !== undefined)).filter(([status]) => method === 'post' || !['413', '429', '499'].includes(status))
    ;(paths[at] ??= {})[method] = {
      summary: what, operationId: `${method}${at.replace(/[^A-Za-z0-9]+(\w?)/g, (_, c: string) => c.toUpperCase())}`, security: open === true ? [] : [{ key: [] }, {}],
      ...(named.length === 0 ? {} : { parameters: named.map(name => ({ name, in: 'path', required: true, schema: string })) }),
      ...(body === undefined ? {} : { requestBody: { required: true, content: json(z.toJSONSchema(body, { io: 'input', unrepresentable: 'any' }) as Schema) } }),
      responses: { 200: { description: what, content }, ...Object.fromEntries(failures.map(([status, description]) => [status, { description, content: json(status === '503' && open === true ? { $ref: '#/components/schemas/status' } : { $ref: '#/components/schemas/error' }) }])) },
    }
  }
  return {
    openapi: '3.1.0', info: { title: 'Meshwork', version, description: 'Models that are split over devices, answering as OpenAI\'s API has it.', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } }, paths,
    components: { schemas: { ...answerSchemas, error: errorObject }, securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
  }
}
