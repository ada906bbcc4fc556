/** What clients may send, field by field, within bounds that are checked before anything is done. Fields that are not known are left alone. */
import { z } from 'zod'

/** A field that may be left out, or be null, as clients send it. */
type May<T> = T | null | undefined

export interface SamplingRequest {
  readonly temperature?: May<number>; readonly top_p?: May<number>; readonly top_k?: May<number>; readonly min_p?: May<number>; readonly presence_penalty?: May<number>; readonly frequency_penalty?: May<number>; readonly repetition_penalty?: May<number>
  readonly logit_bias?: May<{ readonly [id: string]: number }>; readonly seed?: May<number>; readonly n?: May<number>; readonly stop?: May<string | string[]>; readonly stop_token_ids?: May<number[]>; readonly ignore_eos?: May<boolean>; readonly min_tokens?: May<number>
  readonly stream?: May<boolean>; readonly stream_options?: May<{ readonly include_usage?: May<boolean> }>
  readonly response_format?: May<{ readonly type: 'text' } | { readonly type: 'json_object'; readonly schema?: unknown } | { readonly type: 'json_schema'; readonly json_schema: { readonly schema?: unknown } }>
  readonly guided_regex?: May<string>; readonly guided_choice?: May<string[]>; readonly guided_grammar?: May<string>; readonly guided_json?: unknown
}
export interface MessageRequest { readonly role: 'developer' | 'system' | 'user' | 'assistant' | 'tool' | 'function'; readonly content?: May<string | { readonly type: string; readonly text?: string | undefined }[]>; readonly tool_calls?: May<{ readonly id?: May<string>; readonly function: { readonly name: string; readonly arguments: string } }[]>; readonly tool_call_id?: May<string>; readonly name?: May<string> }
export interface ToolRequest { readonly type: 'function'; readonly function: { readonly name: string; readonly description?: May<string>; readonly parameters?: May<{ readonly [word: string]: unknown }>; readonly strict?: May<boolean> } }
export type ToolChoice = 'none' | 'auto' | 'required' | { readonly type: 'function'; readonly function: { readonly name: string } }
export interface ChatRequest extends SamplingRequest {
  readonly model: string; readonly messages: MessageRequest[]; readonly max_tokens?: May<number>; readonly max_completion_tokens?: May<number>; readonly logprobs?: May<boolean>; readonly top_logprobs?: May<number>
  readonly tools?: May<ToolRequest[]>; readonly tool_choice?: May<ToolChoice>; readonly parallel_tool_calls?: May<boolean>; readonly functions?: May<unknown[]>; readonly chat_template?: unknown; readonly chat_template_kwargs?: May<{ readonly [name: string]: string | number | boolean | null }>
}
export interface CompletionRequest extends SamplingRequest {
  readonly model: string; readonly prompt: string | string[] | number[] | number[][]; readonly max_tokens?: May<number>; readonly echo?: May<boolean>; readonly logprobs?: May<number>; readonly suffix?: May<string>; readonly best_of?: May<number>
}
export interface TokenizeRequest { readonly model?: May<string>; readonly prompt?: string | undefined; readonly content?: string | undefined; readonly messages?: MessageRequest[] | undefined; readonly add_special_tokens?: May<boolean> }
export interface EmbeddingRequest { readonly model: string; readonly input: string | string[] | number[] | number[][]; readonly encoding_format?: May<'float' | 'base64'>; readonly dimensions?: May<number> }
export interface LoadAdapterRequest { readonly model?: May<string>; readonly lora_name: string; readonly lora_path: string }
export interface DropAdapterRequest { readonly model?: May<string>; readonly lora_name: string }
export interface DetokenizeRequest { readonly model?: May<string>; readonly tokens: number[] }

const most = 2 ** 31 - 1
const number = (least: number, largest: number) => z.number().min(least).max(largest).nullish()
const whole = (least: number, largest: number) => z.int().min(least).max(largest).nullish()
const above = (least: number, largest: number) => z.number().gt(least).max(largest).nullish()
const flag = z.boolean().nullish()
const ids = z.array(z.int().min(0).max(most))
const stop = z.string().min(1).max(256)
/** The longest pattern or grammar that is looked at. */
const pattern = z.string().max(2 ** 16).nullish()

const sampling = {
  temperature: number(0, 2), top_p: above(0, 1), top_k: whole(-1, most), min_p: number(0, 1), presence_penalty: number(-2, 2), frequency_penalty: number(-2, 2), repetition_penalty: above(0, 10),
  logit_bias: z.record(z.string().regex(/^\d{1,9}$/, 'keys are ids of tokens'), z.number().min(-100).max(100)).nullish(), seed: z.int().nullish(), n: whole(1, 128), stop: z.union([stop, z.array(stop).max(4)]).nullish(), stop_token_ids: ids.max(16).nullish(),
  ignore_eos: flag, min_tokens: whole(0, most), stream: flag, stream_options: z.object({ include_usage: flag }).nullish(),
  response_format: z.discriminatedUnion('type', [
    z.object({ type: z.literal('text') }), z.object({ type: z.literal('json_object'), schema: z.unknown().optional() }), z.object({ type: z.literal('json_schema'), json_schema: z.object({ schema: z.unknown().optional() }) }),
  ]).nullish(),
  guided_regex: pattern, guided_choice: z.array(z.string().min(1)).min(1).max(1024).nullish(), guided_grammar: pattern, guided_json: z.unknown().optional(),
}
const message = z.object({
  role: z.enum(['developer', 'system', 'user', 'assistant', 'tool', 'function']), content: z.union([z.string(), z.array(z.object({ type: z.string(), text: z.string().optional() }))]).nullish(), tool_calls: z.array(z.object({ id: z.string().max(256).nullish(), function: z.object({ name: z.string().max(256), arguments: z.string() }) })).max(128).nullish(),
  tool_call_id: z.string().max(256).nullish(), name: z.string().max(256).nullish(),
})
const functionName = z.string().regex(/^[\w.-]{1,64}$/, 'a name has 1 to 64 letters, digits, "_", "-" and "."')
const tool = z.object({ type: z.literal('function'), function: z.object({ name: functionName, description: z.string().nullish(), parameters: z.record(z.string(), z.unknown()).nullish(), strict: flag }) })
const toolChoice = z.union([z.enum(['none', 'auto', 'required']), z.object({ type: z.literal('function'), function: z.object({ name: z.string() }) })])
const name = z.string().max(1024)

export const chatSchema: z.ZodType<ChatRequest> = z.object({
  model: name, messages: z.array(message).min(1).max(4096), max_tokens: whole(1, most), max_completion_tokens: whole(1, most), logprobs: flag, top_logprobs: whole(0, 20), tools: z.array(tool).max(128).nullish(), tool_choice: toolChoice.nullish(), parallel_tool_calls: flag,
  functions: z.array(z.unknown()).nullish(), chat_template: z.unknown().optional(), chat_template_kwargs: z.record(z.string(), z.union([z.string().max(1024), z.number(), z.boolean(), z.null()])).nullish(),
  ...sampling,
})
export const completionSchema: z.ZodType<CompletionRequest> = z.object({
  model: name, prompt: z.union([z.string(), z.array(z.string()).min(1).max(256), ids.min(1), z.array(ids.min(1)).min(1).max(256)]), max_tokens: whole(0, most), echo: flag, logprobs: whole(0, 5), suffix: z.string().nullish(), best_of: whole(1, 128), ...sampling,
})
export const embeddingSchema: z.ZodType<EmbeddingRequest> = z.object({
  model: name, input: z.union([z.string(), z.array(z.string()).min(1).max(2048), ids.min(1), z.array(ids.min(1)).min(1).max(2048)]), encoding_format: z.enum(['float', 'base64']).nullish(), dimensions: whole(1, most),
})
export const tokenizeSchema: z.ZodType<TokenizeRequest> = z.object({ model: name.nullish(), prompt: z.string().optional(), content: z.string().optional(), messages: z.array(message).optional(), add_special_tokens: flag })
export const detokenizeSchema: z.ZodType<DetokenizeRequest> = z.object({ model: name.nullish(), tokens: ids })
export const loadAdapterSchema: z.ZodType<LoadAdapterRequest> = z.object({ model: name.nullish(), lora_name: z.string().min(1).max(256), lora_path: z.string().min(1).max(4096) })
export const dropAdapterSchema: z.ZodType<DropAdapterRequest> = z.object({ model: name.nullish(), lora_name: z.string().min(1).max(256) })
