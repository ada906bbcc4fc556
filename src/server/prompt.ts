/** Chats as tokens: by the model's template, in which what people have typed is never more than text. */
import { randomBytes } from 'node:crypto'
import type { Plain } from '../core/plain.ts'
import type { ChatTemplate, Message, Tokenizer } from '../data/index.ts'
import { ApiError } from './errors.ts'
import type { MessageRequest } from './schemas.ts'
import { withTools, type Offered } from './tool-calls.ts'

/** Cuts a text where no token may be found across: characters that Unicode keeps free for private use, in an order that nobody can guess. */
const cut = `\uf8f0${[...randomBytes(8)].map(b => String.fromCharCode(0xe100 + b)).join('')}\uf8f1`

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

/** Strings that stand for tokens of their own in a text. */
const markupOf = ({ added, tokens }: Tokenizer): readonly string[] => added.map(t => ({ text: tokens[t.id] ?? '', special: t.special })).filter(t => t.text.length > 1 && (t.special || /^<.+>$|^\[.+\]$/.test(t.text))).map(t => t.text)

/** All texts of a value. */
function inTexts<T>(value: T, change: (text: string) => string): T {
  if (typeof value === 'string') return change(value) as T
  if (Array.isArray(value)) return value.map((v: unknown) => inTexts(v, change)) as T
  if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).map(([k, v]) => [change(k), inTexts<unknown>(v, change)])) as T
  return value
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

/**
 * A chat in which the assistant speaks next. What people have typed that is spelt like a token of the template's is cut behind its first character, so that it is text
 * like any other. @throws ApiError where the template does not take it
 */
export function encodeMessages(tokenizer: Tokenizer, template: ChatTemplate, { messages, offered, kwargs }: ChatText): Int32Array {
  const markup = markupOf(tokenizer)
  const plain = (text: string): string => markup.reduce((t, s) => t.replaceAll(s, `${s[0]}${cut}${s.slice(1)}`), text)
  const changed = (text: string): string => (markup.some(s => text.includes(s)) ? plain(text) : text)
  const safe = messages.map(m => ({ ...inTexts(m, changed), role: m.role }))
  const { messages: shown, tools } = withTools(safe, offered === undefined ? undefined : { ...offered, tools: inTexts(offered.tools, changed) }, template.source)
  const variables = variablesOf(kwargs)
  let text: string
  try { text = template.render(shown, { prompt: 'assistant', tools, ...(variables === undefined ? {} : { variables }) }) } catch (e) {
    throw new ApiError(400, e instanceof Error ? e.message : String(e), { param: 'messages' })
  }
  const pieces = text.split(cut)
  return pieces.length === 1 ? tokenizer.encode(text) : Int32Array.from(pieces.flatMap(piece => [...tokenizer.encode(piece)]))
}
