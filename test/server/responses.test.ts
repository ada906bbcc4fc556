/** /v1/responses: whole, streamed, with tools, and nothing kept. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { templateOf } from '../../src/data/index.ts'
import { bytes, served, type Served } from './support.ts'

const template = templateOf({ jinja: '{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}' })
let open: Served
beforeAll(async () => { open = await served({}, {}, { tokenizer: bytes, template }) })
afterAll(async () => { await open.server.close() })
interface Item { readonly type: string; readonly content?: readonly { readonly text: string; readonly logprobs: readonly unknown[] }[]; readonly name?: string; readonly arguments?: string; readonly call_id?: string }
interface Answer { readonly status: string; readonly output: readonly Item[]; readonly usage: { readonly output_tokens: number }; readonly tools: readonly object[]; readonly error: { readonly param: string } }
const body = { model: 'org/letters', input: 'abc', temperature: 0, max_output_tokens: 6 }
const answer = async (more: object = {}): Promise<Answer> => await (await open.ask('/v1/responses', { ...body, ...more })).json() as Answer
const stream = async (more: object = {}): Promise<readonly { readonly type: string; readonly sequence_number: number; readonly delta?: string; readonly response?: Answer; readonly item?: Item }[]> => {
  const text = await (await open.ask('/v1/responses', { ...body, ...more, stream: true })).text()
  const events = text.split('\n\n').filter(e => e !== '' && e !== 'data: [DONE]').map(e => { const [name, data] = e.split('\n') as [string, string]; return { name: name.slice('event: '.length), data: JSON.parse(data.slice('data: '.length)) as { readonly type: string; readonly sequence_number: number } } })
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
  // Each event has its type for a name, and they are numbered.
  expect(events.map(e => e.name)).toEqual(events.map(e => e.data.type))
  expect(events.map(e => e.data.sequence_number)).toEqual(events.map((_, i) => i))
  return events.map(e => e.data)
}

test('a whole one', async () => {
  expect(await answer({ instructions: 'Say it.', metadata: { a: 'b' } })).toMatchObject({
    object: 'response', status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' }, store: false, previous_response_id: null, metadata: { a: 'b' }, instructions: 'Say it.', usage: { output_tokens: 6 },
    output: [{ type: 'message', role: 'assistant', status: 'incomplete', content: [{ type: 'output_text', annotations: [] }] }],
  })
  // The same as a chat of the same messages.
  const chat = await (await open.ask('/v1/chat/completions', { model: body.model, messages: [{ role: 'system', content: 'Say it.' }, { role: 'user', content: 'abc' }], temperature: 0, max_tokens: 6 })).json() as { readonly choices: readonly { readonly message: { readonly content: string } }[] }
  expect((await answer({ instructions: 'Say it.' })).output[0]?.content?.[0]?.text).toBe(chat.choices[0]?.message.content)
})

test('a streamed one has the same text, and ends with the whole', async () => {
  const whole = await answer()
  const events = await stream()
  expect(events.slice(0, 4).map(e => e.type)).toEqual(['response.created', 'response.in_progress', 'response.output_item.added', 'response.content_part.added'])
  expect(events.slice(-4).map(e => e.type)).toEqual(['response.output_text.done', 'response.content_part.done', 'response.output_item.done', 'response.incomplete'])
  expect(events.flatMap(e => (e.type === 'response.output_text.delta' ? [e.delta] : [])).join('')).toBe(whole.output[0]?.content?.[0]?.text)
  expect(events.at(-1)?.response?.output[0]?.content?.[0]?.text).toBe(whole.output[0]?.content?.[0]?.text)
})

test('a call, and what came of it', async () => {
  const tools = [{ type: 'function', name: 'weather', parameters: { type: 'object', properties: { city: { enum: ['Oslo', 'Rome'] } }, required: ['city'], additionalProperties: false }, strict: true }]
  const more = { tools, tool_choice: 'required', parallel_tool_calls: false, max_output_tokens: 200 }
  const { output: [call], status, tools: told } = await answer(more)
  // With all that a client's types want of a tool.
  expect(told).toEqual([{ ...tools[0], description: null }])
  expect([status, call?.type, call?.name]).toEqual(['completed', 'function_call', 'weather'])
  expect(['Oslo', 'Rome']).toContain((JSON.parse(call?.arguments ?? '') as { readonly city: string }).city)
  const events = await stream(more)
  expect(events.flatMap(e => (e.type === 'response.function_call_arguments.delta' ? [e.delta] : [])).join('')).toBe(call?.arguments)
  expect(events.at(-1)?.type).toBe('response.completed')
  const next = await answer({ tools, tool_choice: 'none', input: [{ role: 'user', content: [{ type: 'input_text', text: 'abc' }] }, { ...call }, { type: 'function_call_output', call_id: call?.call_id, output: 'rain' }] })
  expect(next.output[0]?.type).toBe('message')
})

test('log-probabilities, and a schema', async () => {
  expect((await answer({ top_logprobs: 0, include: ['message.output_text.logprobs'] })).output[0]?.content?.[0]?.logprobs).toHaveLength(6)
  const { output } = await answer({ text: { format: { type: 'json_schema', name: 'a', schema: { type: 'object', properties: { a: { type: 'boolean' } }, required: ['a'], additionalProperties: false } } }, max_output_tokens: 60 })
  expect(typeof (JSON.parse(output[0]?.content?.[0]?.text ?? '') as { readonly a: boolean }).a).toBe('boolean')
})

test('what keeps something is refused', async () => {
  const refused = async (more: object): Promise<unknown> => { const r = await open.ask('/v1/responses', { ...body, ...more }); return [r.status, (await r.json() as Answer).error.param] }
  for (const [more, param] of [[{ previous_response_id: 'a' }, 'previous_response_id'], [{ conversation: 'a' }, 'conversation'], [{ background: true }, 'background'], [{ truncation: 'auto' }, 'truncation'], [{ include: ['x'] }, 'include'], [{ tools: [{ type: 'web_search' }] }, 'tools.0.type'], [{ input: [] }, 'input'], [{ text: { format: { type: 'xml' } } }, 'text.format.type']] as const) expect([param, await refused(more)]).toEqual([param, [400, param]])
})
