/** What clients may send to /v1/responses: the part of it that keeps nothing. */
import { z } from 'zod'
import { ApiError } from './errors.ts'
import type { MessageRequest, ToolChoice, ToolRequest } from './schemas.ts'

type May<T> = T | null | undefined
type TextPart = { readonly type: string; readonly text?: string | undefined }
export type ItemRequest =
  | { readonly type?: 'message' | undefined; readonly role: 'user' | 'assistant' | 'system' | 'developer'; readonly content: string | TextPart[] }
  | { readonly type: 'function_call'; readonly call_id: string; readonly name: string; readonly arguments: string }
  | { readonly type: 'function_call_output'; readonly call_id: string; readonly output: string | TextPart[] }
  | { readonly type: 'reasoning' }
type FunctionTool = { readonly type: 'function'; readonly name: string; readonly description?: May<string>; readonly parameters?: May<{ readonly [word: string]: unknown }>; readonly strict?: May<boolean> }
type TextFormat = { readonly type: 'text' } | { readonly type: 'json_object' } | { readonly type: 'json_schema'; readonly name?: string | undefined; readonly schema?: unknown; readonly strict?: May<boolean>; readonly description?: May<string> }
export interface ResponseRequest {
  readonly model: string; readonly input: string | ItemRequest[]; readonly instructions?: May<string>; readonly max_output_tokens?: May<number>; readonly temperature?: May<number>; readonly top_p?: May<number>; readonly top_logprobs?: May<number>
  readonly presence_penalty?: May<number>; readonly frequency_penalty?: May<number>; readonly stream?: May<boolean>; readonly store?: May<boolean>; readonly previous_response_id?: May<string>; readonly conversation?: unknown; readonly background?: May<boolean>
  readonly truncation?: May<'auto' | 'disabled'>; readonly tools?: May<FunctionTool[]>; readonly tool_choice?: May<'none' | 'auto' | 'required' | { readonly type: 'function'; readonly name: string }>; readonly parallel_tool_calls?: May<boolean>
  readonly text?: May<{ readonly format?: May<TextFormat> }>; readonly metadata?: May<{ readonly [key: string]: string }>; readonly include?: May<string[]>
}

const flag = z.boolean().nullish()
const number = (least: number, largest: number) => z.number().min(least).max(largest).nullish()
const content = z.union([z.string(), z.array(z.object({ type: z.string(), text: z.string().optional() }))])
const item = z.union([
  z.object({ type: z.literal('function_call'), call_id: z.string().max(256), name: z.string().max(256), arguments: z.string() }), z.object({ type: z.literal('function_call_output'), call_id: z.string().max(256), output: content }), z.object({ type: z.literal('reasoning') }),
  z.object({ type: z.literal('message').optional(), role: z.enum(['user', 'assistant', 'system', 'developer']), content }),
])
export const responseSchema: z.ZodType<ResponseRequest> = z.object({
  model: z.string().max(1024), input: z.union([z.string().min(1), z.array(item).min(1).max(4096)]), instructions: z.string().nullish(), max_output_tokens: z.int().min(1).max(2 ** 31 - 1).nullish(), temperature: number(0, 2), top_p: z.number().gt(0).max(1).nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(), presence_penalty: number(-2, 2), frequency_penalty: number(-2, 2), stream: flag, store: flag, previous_response_id: z.string().nullish(), conversation: z.unknown().optional(), background: flag, truncation: z.enum(['auto', 'disabled']).nullish(),
  tools: z.array(z.object({ type: z.literal('function', 'functions alone are tools here'), name: z.string().regex(/^[\w.-]{1,64}$/), description: z.string().nullish(), parameters: z.record(z.string(), z.unknown()).nullish(), strict: flag })).max(128).nullish(),
  tool_choice: z.union([z.enum(['none', 'auto', 'required']), z.object({ type: z.literal('function'), name: z.string() })]).nullish(), parallel_tool_calls: flag,
  text: z.object({ format: z.discriminatedUnion('type', [
    z.object({ type: z.literal('text') }), z.object({ type: z.literal('json_object') }), z.object({ type: z.literal('json_schema'), name: z.string().max(256).optional(), schema: z.unknown().optional(), strict: flag, description: z.string().nullish() }),
  ]).nullish() }).nullish(),
  metadata: z.record(z.string().max(64), z.string().max(512)).nullish(), include: z.array(z.string()).max(32).nullish(),
})

/** What is known and cannot be honoured is refused. @throws ApiError */
export function refuseState({ previous_response_id: previous, conversation, background, truncation, include }: ResponseRequest): void {
  const refused = (param: string, message: string): ApiError => new ApiError(400, message, { param })
  if (typeof previous === 'string') throw refused('previous_response_id', 'this server keeps no responses: send what came before as input')
  if (conversation !== undefined && conversation !== null) throw refused('conversation', 'this server keeps no conversations: send what came before as input')
  if (background === true) throw refused('background', 'this server answers at once: leave background out')
  if (truncation === 'auto') throw refused('truncation', 'this server cuts no input: leave truncation out')
  const odd = include?.find(i => i !== 'message.output_text.logprobs' && i !== 'reasoning.encrypted_content')
  if (odd !== undefined) throw refused('include', `there is no "${odd}" to include`)
}

/** Input as messages of a chat: calls that follow one another are one assistant's turn. */
export function messagesIn({ input, instructions }: ResponseRequest): MessageRequest[] {
  const messages: MessageRequest[] = typeof instructions === 'string' && instructions !== '' ? [{ role: 'system', content: instructions }] : []
  if (typeof input === 'string') return [...messages, { role: 'user', content: input }]
  for (const found of input) {
    if (found.type === 'reasoning') continue
    if (found.type === 'function_call_output') messages.push({ role: 'tool', tool_call_id: found.call_id, content: found.output as MessageRequest['content'] })
    else if (found.type === 'function_call') {
      const own = { id: found.call_id, function: { name: found.name, arguments: found.arguments } }
      const last = messages.at(-1)
      if (last?.role === 'assistant') messages[messages.length - 1] = { ...last, tool_calls: [...last.tool_calls ?? [], own] }
      else messages.push({ role: 'assistant', content: null, tool_calls: [own] })
    } else messages.push({ role: found.role, content: found.content as MessageRequest['content'] })
  }
  return messages
}
export const toolsIn = ({ tools, tool_choice: choice, parallel_tool_calls }: ResponseRequest): { readonly tools: readonly ToolRequest[]; readonly tool_choice: ToolChoice | null | undefined; readonly parallel_tool_calls: May<boolean> } => ({
  tools: (tools ?? []).map(({ type, ...own }) => ({ type, function: own })), tool_choice: typeof choice === 'object' && choice !== null ? { type: 'function', function: { name: choice.name } } : choice, parallel_tool_calls,
})
