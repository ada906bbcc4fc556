/** POST /v1/chat/completions. */
import type { Told, Written } from '../serve/asking.ts'
import { idOf, madeBy, seconds, usageOf, whole, type Made } from './answers.ts'
import { askedFrom } from './asked.ts'
import type { Call } from './call.ts'
import { ApiError } from './errors.ts'
import { modelNamed, writerOf } from './models.ts'
import { encodeMessages, messagesOf } from './prompt.ts'
import { chatSchema } from './schemas.ts'
import { eventStream } from './sse.ts'
import { CallReader, callObjects, offeredBy, type Piece } from './tool-calls.ts'
import { chatLogprob } from './tokens.ts'

const deltaOf = (piece: Piece): object => (piece.type === 'content' ? { content: piece.text }
  : { tool_calls: [{ index: piece.index, ...(piece.type === 'call' ? { id: piece.call.id, type: 'function', function: { name: piece.call.name, arguments: '' } } : { function: { arguments: piece.text } }) }] })

export async function chatCompletions(call: Call): Promise<Response> {
  const request = await call.read(chatSchema)
  const model = writerOf(modelNamed(call.models, request.model))
  if ((request.functions ?? []).length > 0) throw new ApiError(400, 'functions are no longer used: give tools', { param: 'functions' })
  if (request.chat_template !== undefined && request.chat_template !== null) throw new ApiError(400, 'the model\'s own template is used: leave chat_template out', { param: 'chat_template' })
  if (request.logprobs !== true && (request.top_logprobs ?? 0) > 0) throw new ApiError(400, 'top_logprobs needs logprobs: true', { param: 'top_logprobs' })
  const { tokenizer, template } = model
  if (template === undefined) throw new ApiError(400, `the model "${model.name}" has no chat template: use /v1/completions`, { param: 'model' })
  const offered = offeredBy(request)
  const prompt = encodeMessages(tokenizer, template, { messages: messagesOf(request.messages), offered, kwargs: request.chat_template_kwargs })
  const asked = askedFrom(request, {
    prompt, maxTokens: request.max_completion_tokens ?? request.max_tokens ?? undefined, logprobs: request.logprobs === true ? request.top_logprobs ?? 0 : undefined, constraint: offered?.constraint,
  }, { vocab: tokenizer.vocab, scope: call.scope, adapter: model.adapter })
  await call.know(model, asked)
  const told = call.ask(model, asked, 'messages')
  const head = { id: idOf('chatcmpl'), created: seconds(), model: model.name }
  const logprobsOf = (tokens: readonly Written[]): object | null => (asked.logprobs === undefined ? null : { content: tokens.map(t => chatLogprob(tokenizer, t)), refusal: null })
  if (request.stream !== true) {
    const { answers, usage, made } = await whole(told, asked.choices)
    call.requireConnected()
    return call.json({
      ...head, ...made, object: 'chat.completion', usage,
      choices: answers.map(({ text, tokens, reason }, index) => {
        const reader = new CallReader()
        const content = offered === undefined ? text : reader.push(text, true).map(p => (p.type === 'content' ? p.text : '')).join('')
        const called = reader.calls.length > 0
        return {
          index, message: { role: 'assistant', content: called && content === '' ? null : content, refusal: null, annotations: [], ...(called ? { tool_calls: callObjects(reader.calls) } : {}) },
          logprobs: logprobsOf(tokens), finish_reason: called && reason === 'stop' ? 'tool_calls' : reason,
        }
      }),
    })
  }
  return eventStream(chunks(told), { left: call.abort, failed: call.failed })

  async function* chunks(all: AsyncIterable<Told>): AsyncGenerator<object> {
    const wantsUsage = request.stream_options?.include_usage === true
    const chunk = (index: number, delta: object, more: object = {}): object => ({ ...head, ...made, object: 'chat.completion.chunk', choices: [{ index, delta, logprobs: null, finish_reason: null, ...more }], ...(wantsUsage ? { usage: null } : {}) })
    const readers = Array.from({ length: asked.choices }, () => new CallReader())
    // Tokens whose text is still held back are told of with the next piece.
    const untold: Written[][] = readers.map(() => [])
    let [read, cached, written, made]: [number, number, number, Made] = [prompt.length, 0, 0, {}]
    for await (const t of all) {
      if (t.type === 'prompt') {
        [read, cached, made] = [t.tokens, t.cached, madeBy(t.step)]
        for (let index = 0; index < asked.choices; index++) yield chunk(index, { role: 'assistant', content: '' })
        continue
      }
      const [reader, tokens] = [readers[t.choice] as CallReader, untold[t.choice] as Written[]]
      if (t.type === 'more') {
        written += t.tokens.length
        tokens.push(...t.tokens)
      }
      const pieces: Piece[] = offered === undefined ? t.type === 'more' && (t.text !== '' || asked.logprobs !== undefined) ? [{ type: 'content', text: t.text }] : [] : reader.push(t.type === 'more' ? t.text : '', t.type === 'end')
      for (const piece of pieces) yield chunk(t.choice, deltaOf(piece), { logprobs: logprobsOf(tokens.splice(0)) })
      if (t.type === 'end') yield chunk(t.choice, {}, { finish_reason: reader.calls.length > 0 && t.reason === 'stop' ? 'tool_calls' : t.reason, ...(tokens.length > 0 ? { logprobs: logprobsOf(tokens.splice(0)) } : {}) })
    }
    if (wantsUsage) yield { ...head, ...made, object: 'chat.completion.chunk', choices: [], usage: usageOf(read, written, cached) }
  }
}
