/** POST /v1/responses: one that keeps nothing, so all that came before is sent with each request. */
import { randomUUID } from 'node:crypto'
import type { Ending, Told, Written } from '../serve/asking.ts'
import { madeBy, seconds, type Made } from './answers.ts'
import { askedFrom } from './asked.ts'
import type { Call } from './call.ts'
import { ApiError } from './errors.ts'
import { modelNamed, writerOf } from './models.ts'
import { encodeMessages, messagesOf } from './prompt.ts'
import { messagesIn, refuseState, responseSchema, toolsIn, type ResponseRequest } from './response-schema.ts'
import { eventStream } from './sse.ts'
import { CallReader, offeredBy, type Piece } from './tool-calls.ts'
import { chatLogprob } from './tokens.ts'

const idOf = (kind: string): string => `${kind}_${randomUUID().replaceAll('-', '')}`
type Event = { readonly type: string } & { readonly [field: string]: unknown }
type Part = { type: 'output_text'; text: string; annotations: readonly []; logprobs: object[] }
type Item = { type: 'message'; id: string; status: string; role: 'assistant'; content: Part[] } | { type: 'function_call'; id: string; call_id: string; name: string; arguments: string; status: string }

/** Builds the items of a response out of what is told, and says with which events clients hear of them. */
class Output {
  readonly items: Item[] = []
  #open: Item | undefined

  /** A piece of text, or of a call. */
  *piece(piece: Piece, logprobs: object[]): Generator<Event> {
    if (piece.type === 'content') {
      if (this.#open?.type !== 'message') {
        yield* this.close('completed')
        const item = yield* this.#begin({ type: 'message', id: idOf('msg'), status: 'in_progress', role: 'assistant', content: [] })
        const part: Part = { type: 'output_text', text: '', annotations: [], logprobs: [] }
        yield { type: 'response.content_part.added', item_id: item.id, output_index: this.items.length - 1, content_index: 0, part: { ...part } }
        ;(item as Extract<Item, { readonly type: 'message' }>).content.push(part)
      }
      const item = this.#open as Extract<Item, { readonly type: 'message' }>
      const part = item.content[0] as Part
      part.text += piece.text
      part.logprobs.push(...logprobs)
      yield { type: 'response.output_text.delta', item_id: item.id, output_index: this.items.length - 1, content_index: 0, delta: piece.text, logprobs }
    } else if (piece.type === 'call') {
      yield* this.close('completed')
      yield* this.#begin({ type: 'function_call', id: idOf('fc'), call_id: piece.call.id, name: piece.call.name, arguments: '', status: 'in_progress' })
    } else {
      const item = this.#open as Extract<Item, { readonly type: 'function_call' }>
      item.arguments += piece.text
      yield { type: 'response.function_call_arguments.delta', item_id: item.id, output_index: this.items.length - 1, delta: piece.text }
    }
  }

  /** What is open is done. */
  *close(status: 'completed' | 'incomplete'): Generator<Event> {
    const item = this.#open
    if (item === undefined) return
    this.#open = undefined
    const at = { item_id: item.id, output_index: this.items.length - 1 }
    item.status = status
    if (item.type === 'message') {
      const part = item.content[0] as Part
      yield { type: 'response.output_text.done', ...at, content_index: 0, text: part.text, logprobs: part.logprobs }
      yield { type: 'response.content_part.done', ...at, content_index: 0, part }
    } else yield { type: 'response.function_call_arguments.done', ...at, name: item.name, arguments: item.arguments }
    yield { type: 'response.output_item.done', output_index: at.output_index, item }
  }

  *#begin(item: Item): Generator<Event, Item> {
    this.items.push(item)
    this.#open = item
    yield { type: 'response.output_item.added', output_index: this.items.length - 1, item: { ...item, ...(item.type === 'message' ? { content: [] } : {}) } }
    return item
  }
}

interface State { readonly status: 'in_progress' | 'completed' | 'incomplete'; readonly output: readonly Item[]; readonly usage: object | null; readonly completed: number | null }
const responseObject = (request: ResponseRequest, head: object, { status, output, usage, completed }: State): object => ({
  ...head, status, output, usage, completed_at: completed, error: null, incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null, instructions: request.instructions ?? null, max_output_tokens: request.max_output_tokens ?? null, max_tool_calls: null,
  parallel_tool_calls: request.parallel_tool_calls ?? true, previous_response_id: null, reasoning: { effort: null, summary: null }, store: false, background: false, temperature: request.temperature ?? 1, top_p: request.top_p ?? 1, top_logprobs: request.top_logprobs ?? 0,
  presence_penalty: request.presence_penalty ?? 0, frequency_penalty: request.frequency_penalty ?? 0, text: { format: request.text?.format ?? { type: 'text' } }, tool_choice: request.tool_choice ?? 'auto', tools: (request.tools ?? []).map(tool => ({ ...tool, description: tool.description ?? null, parameters: tool.parameters ?? null, strict: tool.strict ?? true })), truncation: 'disabled', service_tier: 'default',
  safety_identifier: null, prompt_cache_key: null, metadata: request.metadata ?? {}, user: null,
})

export async function responses(call: Call): Promise<Response> {
  const request = await call.read(responseSchema)
  const model = writerOf(modelNamed(call.models, request.model))
  refuseState(request)
  const { tokenizer, template } = model
  if (template === undefined) throw new ApiError(400, `the model "${model.name}" has no chat template: use /v1/completions`, { param: 'model' })
  const offered = offeredBy(toolsIn(request))
  const prompt = encodeMessages(tokenizer, template, { messages: messagesOf(messagesIn(request)), offered })
  const format = request.text?.format
  const wantsLogprobs = (request.top_logprobs ?? 0) > 0 || request.include?.includes('message.output_text.logprobs') === true
  const asked = askedFrom({
    temperature: request.temperature, top_p: request.top_p, presence_penalty: request.presence_penalty, frequency_penalty: request.frequency_penalty, ...(format?.type === 'json_schema' ? { response_format: { type: 'json_schema', json_schema: { schema: format.schema } } } : format === null || format === undefined ? {} : { response_format: format }),
  }, { prompt, maxTokens: request.max_output_tokens ?? undefined, logprobs: wantsLogprobs ? request.top_logprobs ?? 0 : undefined, constraint: offered?.constraint }, { vocab: tokenizer.vocab, scope: call.scope, adapter: model.adapter })
  await call.know(model, asked)
  const told = call.ask(model, asked, 'input')
  const head = { id: idOf('resp'), object: 'response', created_at: seconds(), model: model.name }
  if (request.stream === true) return eventStream(numbered(events(told)), { left: call.abort, failed: call.failed, named: true })
  let last: object = {}
  for await (const { response } of events(told)) if (response !== undefined) last = response as object
  call.requireConnected()
  return call.json(last)

  async function* events(all: AsyncIterable<Told>): AsyncGenerator<Event> {
    const begun = responseObject(request, head, { status: 'in_progress', output: [], usage: null, completed: null })
    yield { type: 'response.created', response: begun }
    yield { type: 'response.in_progress', response: begun }
    const [output, reader] = [new Output(), new CallReader()]
    const untold: Written[] = []
    let [read, cached, written, reason, made]: [number, number, number, Ending, Made] = [prompt.length, 0, 0, 'stop', {}]
    for await (const t of all) {
      if (t.type === 'prompt') {
        [read, cached, made] = [t.tokens, t.cached, madeBy(t.step)]
        continue
      }
      if (t.type === 'more') {
        written += t.tokens.length
        untold.push(...t.tokens)
      } else reason = t.reason
      const text = t.type === 'more' ? t.text : ''
      const pieces: Piece[] = offered === undefined ? text === '' ? [] : [{ type: 'content', text }] : reader.push(text, t.type === 'end')
      for (const piece of pieces) yield* output.piece(piece, wantsLogprobs ? untold.splice(0).map(w => chatLogprob(tokenizer, w)) : [])
    }
    const status = reason === 'length' ? 'incomplete' : 'completed'
    // An answer without a word is an empty message, not none.
    if (output.items.length === 0) yield* output.piece({ type: 'content', text: '' }, [])
    yield* output.close(status)
    const usage = { input_tokens: read, input_tokens_details: { cached_tokens: cached }, output_tokens: written, output_tokens_details: { reasoning_tokens: 0 }, total_tokens: read + written }
    yield { type: `response.${status}`, response: responseObject(request, { ...head, ...made }, { status, output: output.items, usage, completed: seconds() }) }
  }
}

async function* numbered(events: AsyncIterable<Event>): AsyncGenerator<Event> {
  let sequence_number = 0
  for await (const { type, ...rest } of events) yield { type, sequence_number: sequence_number++, ...rest }
}
