/** POST /v1/chat/completions. */
import type { Told, Written } from '../serve/asking.ts'
import { idOf, seconds, usageOf, whole } from './answers.ts'
import { askedFrom } from './asked.ts'
import type { Call } from './call.ts'
import { ApiError } from './errors.ts'
import { modelNamed } from './models.ts'
import { encodeMessages, messagesOf } from './prompt.ts'
import { chatSchema, type ChatRequest } from './schemas.ts'
import { eventStream } from './sse.ts'
import { chatLogprob } from './tokens.ts'

/** What is known and cannot be honoured is refused: nobody should think that it was. */
function checkTools({ tools, tool_choice: choice, functions }: ChatRequest): void {
  if ((tools ?? []).length > 0 && choice !== 'none') throw new ApiError(400, 'this server offers no tools: leave them out, or give tool_choice "none"', { param: 'tools' })
  if ((functions ?? []).length > 0) throw new ApiError(400, 'this server offers no functions: leave them out', { param: 'functions' })
  if (choice !== undefined && choice !== null && choice !== 'none' && choice !== 'auto') throw new ApiError(400, 'there are no tools to choose from', { param: 'tool_choice' })
}

export async function chatCompletions(call: Call): Promise<Response> {
  const request = await call.read(chatSchema)
  const model = modelNamed(call.models, request.model)
  checkTools(request)
  if (request.logprobs !== true && (request.top_logprobs ?? 0) > 0) throw new ApiError(400, 'top_logprobs needs logprobs: true', { param: 'top_logprobs' })
  const { tokenizer, template, answering } = model
  if (template === undefined) throw new ApiError(400, `the model "${model.name}" has no chat template: use /v1/completions`, { param: 'model' })
  const prompt = encodeMessages(tokenizer, template, messagesOf(request.messages))
  const asked = askedFrom(request, { prompt, maxTokens: request.max_completion_tokens ?? request.max_tokens ?? undefined, logprobs: request.logprobs === true ? request.top_logprobs ?? 0 : undefined }, { vocab: tokenizer.vocab, scope: call.scope })
  const told = call.ask(model, asked, 'messages')
  const head = { id: idOf('chatcmpl'), created: seconds(), model: model.name, ...(answering.load().step === undefined ? {} : { training_step: answering.load().step }) }
  const logprobsOf = (tokens: readonly Written[]): object | null => (asked.logprobs === undefined ? null : { content: tokens.map(t => chatLogprob(tokenizer, t)), refusal: null })
  if (request.stream !== true) {
    const { answers, usage } = await whole(told, asked.choices)
    call.requireConnected()
    return call.json({
      ...head, object: 'chat.completion', usage, system_fingerprint: null,
      choices: answers.map(({ text, tokens, reason }, index) => ({ index, message: { role: 'assistant', content: text, refusal: null, annotations: [] }, logprobs: logprobsOf(tokens), finish_reason: reason })),
    })
  }
  return eventStream(chunks(told), call.abort, call.failed)

  async function* chunks(all: AsyncIterable<Told>): AsyncGenerator<object> {
    const wantsUsage = request.stream_options?.include_usage === true
    const chunk = (index: number, delta: object, more: object = {}): object => ({ ...head, object: 'chat.completion.chunk', choices: [{ index, delta, logprobs: null, finish_reason: null, ...more }], ...(wantsUsage ? { usage: null } : {}) })
    let [read, cached, written] = [prompt.length, 0, 0]
    for (let index = 0; index < asked.choices; index++) yield chunk(index, { role: 'assistant', content: '' })
    for await (const t of all) {
      if (t.type === 'prompt') [read, cached] = [t.tokens, t.cached]
      else if (t.type === 'more') {
        written += t.tokens.length
        if (t.text !== '' || asked.logprobs !== undefined) yield chunk(t.choice, { content: t.text }, { logprobs: logprobsOf(t.tokens) })
      } else yield chunk(t.choice, {}, { finish_reason: t.reason })
    }
    if (wantsUsage) yield { ...head, object: 'chat.completion.chunk', choices: [], usage: usageOf(read, written, cached) }
  }
}
