/** Chats as clients send them, as tokens. */
import type { Plain } from '../core/plain.ts'
import type { ChatTemplate, Message, Tokenizer } from '../data/index.ts'
import { encodeRendered, safeText } from '../serve/chat-prompt.ts'
import { ApiError } from './errors.ts'
import type { MessageRequest } from './schemas.ts'
import { withTools, type Offered } from './tool-calls.ts'

/** A message as it was sent. */
export type Sent = Message & { readonly calls?: MessageRequest['tool_calls'] }

/** Messages as templates know them. @throws ApiError for what is no text */
export function messagesOf(given: readonly MessageRequest[]): Sent[] {
  return given.map(({ role, content, tool_calls: calls, tool_call_id: answers, name }, i) => {
    const wrong = (message: string): ApiError => new ApiError(400, message, { param: `messages.${i}` })
    if (role === 'function') throw wrong('the role "function" is no longer used: give tool messages')
    if ((calls ?? []).length > 0 && role !== 'assistant') throw wrong('an assistant alone calls tools')
    if ((content === null || content === undefined) && (calls ?? []).length === 0) throw wrong('a message needs content')
    const text = typeof content === 'string' ? content : (content ?? []).map(part => {
      if ((part.type !== 'text' && part.type !== 'input_text' && part.type !== 'output_text') || part.text === undefined) throw wrong(`a part of type "${part.type}" is not text, which is all that this model reads`)
      return part.text
    }).join('')
    return {
      role: role === 'developer' ? 'system' : role, content: text, ...(calls === null || calls === undefined || calls.length === 0 ? {} : { calls }),
      ...(role === 'tool' && typeof answers === 'string' ? { tool_call_id: answers } : {}), ...(typeof name === 'string' ? { name } : {}),
    }
  })
}

/** Words for templates that clients may set, as long as they are no part of what a template is told by us. */
const kwargNames = /^(enable_thinking|thinking|reasoning_effort|add_vision_id|documents|date_string|custom_[a-z_]{1,40})$/
/** @throws ApiError for a name that is not on the list */
function variablesOf(kwargs: { readonly [name: string]: Plain } | null | undefined): { readonly [name: string]: Plain } | undefined {
  const odd = Object.keys(kwargs ?? {}).find(name => !kwargNames.test(name))
  if (odd !== undefined) throw new ApiError(400, `a client cannot set "${odd}" of a template`, { param: 'chat_template_kwargs' })
  return kwargs ?? undefined
}

export interface ChatText { readonly messages: readonly Sent[]; readonly offered?: Offered | undefined; readonly kwargs?: { readonly [name: string]: Plain } | null | undefined }

/** A chat in which the assistant speaks next. @throws ApiError where the template does not take it */
export function encodeMessages(tokenizer: Tokenizer, template: ChatTemplate, { messages, offered, kwargs }: ChatText): Int32Array {
  // Before they are told in words of ours, in which nothing is cut.
  const safe = messages.map(m => ({ ...safeText(tokenizer, m), role: m.role }))
  const { messages: shown, tools } = withTools(safe, offered === undefined ? undefined : { ...offered, tools: safeText(tokenizer, offered.tools) }, template.source)
  const variables = variablesOf(kwargs)
  let text: string
  try { text = template.render(shown, { prompt: 'assistant', tools, ...(variables === undefined ? {} : { variables }) }) } catch (e) {
    throw new ApiError(400, e instanceof Error ? e.message : String(e), { param: 'messages' })
  }
  return encodeRendered(tokenizer, text)
}
