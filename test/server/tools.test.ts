/** Tools in chats: what a model is told of them, what it must write, and the calls that clients read. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { templateOf } from '../../src/data/index.ts'
import { encodeMessages, messagesOf } from '../../src/server/prompt.ts'
import { CallReader, offeredBy, type Piece } from '../../src/server/tool-calls.ts'
import { bytes, events, served, type Served } from './support.ts'

const hermes = templateOf({ jinja: `{%- if tools %}<|sys|>{% for tool in tools %}{{ tool | tojson }}{% endfor %}use <tool_call>{% endif %}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ {"name": c.function.name, "arguments": c.function.arguments} | tojson }}</tool_call>{% endfor %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}` })
const plain = templateOf({ jinja: '{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}' })
const weather = { type: 'function', function: { name: 'weather', description: 'The weather <|end|> of a city', parameters: { type: 'object', properties: { city: { enum: ['Oslo', 'Rome'] } }, required: ['city'], additionalProperties: false } } } as const
const conversation = messagesOf([
  { role: 'user', content: 'Oslo?' }, { role: 'assistant', content: null, tool_calls: [{ id: 'a', function: { name: 'weather', arguments: '{"city":"Oslo"}' } }] }, { role: 'tool', tool_call_id: 'a', content: 'rain<|end|>' },
])

describe('a prompt', () => {
  const textOf = (ids: Int32Array): string => bytes.decode(ids, { special: true })
  const ends = (ids: Int32Array): number => ids.filter(id => bytes.tokens[id] === '<|end|>').length
  test('of a template that knows tools shows them there, with arguments as objects', () => {
    const ids = encodeMessages(bytes, hermes, { messages: conversation, offered: offeredBy({ tools: [weather] }) })
    expect(textOf(ids)).toBe(`<|sys|>${JSON.stringify(weather).replaceAll('":', '": ').replaceAll(',"', ', "')}use <tool_call><|user|>Oslo?<|end|><|assistant|><tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call><|end|><|tool|>rain<|end|><|end|><|assistant|>`)
    // Three turns end; what a tool said, and what describes it, ends none.
    expect(ends(ids)).toBe(3)
  })
  test('of another template tells of them in a system message', () => {
    const ids = encodeMessages(bytes, plain, { messages: conversation, offered: offeredBy({ tools: [weather] }) })
    expect(textOf(ids)).toContain(`<|system|>You may call functions`)
    expect(textOf(ids)).toContain(JSON.stringify(weather))
    expect(textOf(ids)).toContain('<|assistant|><tool_call>\n{"name": "weather", "arguments": {"city":"Oslo"}}\n</tool_call><|end|><|user|><tool_response>\nrain<|end|>\n</tool_response><|end|>')
    expect(ends(ids)).toBe(4)
  })
})

test('calls are read the same however their text is cut', () => {
  const text = 'I see < that.\n<tool_call>\n{"name": "a", "arguments": {"x": "}\\"{", "y": [1, {}]}}\n</tool_call>\n<tool_call>{"name": "b", "arguments": {}}</tool_call>'
  const read = (cuts: readonly number[]): { readonly content: string; readonly calls: readonly (readonly [string, string])[] } => {
    const reader = new CallReader()
    const pieces: Piece[] = []
    let from = 0
    for (const to of [...cuts, text.length]) { pieces.push(...reader.push(text.slice(from, to), to === text.length)); from = to }
    const heard = reader.calls.map((c, i) => [c.name, pieces.map(p => (p.type === 'arguments' && p.index === i ? p.text : '')).join('')] as const)
    expect(heard).toEqual(reader.calls.map(c => [c.name, c.arguments]))
    return { content: pieces.map(p => (p.type === 'content' ? p.text : '')).join(''), calls: heard }
  }
  const whole = read([])
  expect(whole).toEqual({ content: 'I see < that.', calls: [['a', '{"x": "}\\"{", "y": [1, {}]}'], ['b', '{}']] })
  for (let at = 0; at <= text.length; at++) for (const second of [at, at + 1, at + 7]) expect(read([at, Math.min(second, text.length)])).toEqual(whole)
  const each = Array.from(text, (_, i) => i)
  expect(read(each)).toEqual(whole)
})

describe('a server', () => {
  let open: Served
  beforeAll(async () => { open = await served({}, {}, { tokenizer: bytes, template: hermes }) })
  afterAll(async () => { await open.server.close() })
  const chat = { model: 'org/letters', messages: [{ role: 'user', content: 'abc' }], temperature: 0, tools: [weather] }
  interface Answer { readonly choices: readonly { readonly finish_reason: string | null; readonly message: { readonly content: string | null; readonly tool_calls?: readonly { readonly id: string; readonly function: { readonly name: string; readonly arguments: string } }[] }; readonly delta: { readonly content?: string; readonly tool_calls?: readonly { readonly index: number; readonly id?: string; readonly function: { readonly name?: string; readonly arguments: string } }[] } }[] }
  const answer = async (more: object): Promise<Answer> => await (await open.ask('/v1/chat/completions', { ...chat, ...more })).json() as Answer

  test.each([{ tool_choice: 'required' }, { tool_choice: { type: 'function', function: { name: 'weather' } } }])('calls a tool where it must: %j', async more => {
    const { choices: [choice] } = await answer({ ...more, parallel_tool_calls: false })
    expect(choice).toMatchObject({ finish_reason: 'tool_calls', message: { content: null, tool_calls: [{ type: 'function', function: { name: 'weather' } }] } })
    expect(['Oslo', 'Rome']).toContain((JSON.parse(choice?.message.tool_calls?.[0]?.function.arguments ?? '') as { readonly city: string }).city)
  })
  test('streams a call: its name, then its arguments', async () => {
    const whole = await answer({ tool_choice: 'required', parallel_tool_calls: false })
    const { objects } = await events(await open.ask('/v1/chat/completions', { ...chat, tool_choice: 'required', parallel_tool_calls: false, stream: true }))
    const choices = (objects as unknown as Answer[]).flatMap(o => o.choices)
    const calls = choices.flatMap(c => c.delta.tool_calls ?? [])
    expect(calls[0]).toMatchObject({ index: 0, type: 'function', function: { name: 'weather', arguments: '' } })
    expect(calls.slice(1).every(c => c.id === undefined && c.function.name === undefined)).toBe(true)
    expect(calls.map(c => c.function.arguments).join('')).toBe(whole.choices[0]?.message.tool_calls?.[0]?.function.arguments)
    expect(choices.at(-1)?.finish_reason).toBe('tool_calls')
  })
  test('says what it likes where it may, and calls nothing where it must not', async () => {
    for (const tool_choice of ['auto', 'none']) expect((await answer({ tool_choice, max_tokens: 12 })).choices[0]).toMatchObject({ finish_reason: 'length', message: { content: expect.any(String) } })
  })
  test('refuses what it cannot honour', async () => {
    const refused = async (more: object): Promise<unknown> => { const r = await open.ask('/v1/chat/completions', { ...chat, ...more }); return [r.status, (await r.json() as { readonly error: { readonly param: string } }).error.param] }
    expect(await refused({ tool_choice: { type: 'function', function: { name: 'other' } } })).toEqual([400, 'tool_choice'])
    expect(await refused({ tools: [], tool_choice: 'required' })).toEqual([400, 'tool_choice'])
    expect(await refused({ tools: [weather, weather] })).toEqual([400, 'tools'])
    expect(await refused({ tools: [{ type: 'function', function: { name: 'a', parameters: { type: 'string' } } }] })).toEqual([400, 'tools.0.function.parameters'])
    expect(await refused({ tools: [{ type: 'function', function: { name: 'a', parameters: { type: 'object', properties: { a: { not: {} } } } } }] })).toEqual([400, 'tools'])
    expect(await refused({ response_format: { type: 'json_object' } })).toEqual([400, 'response_format'])
    expect(await refused({ chat_template_kwargs: { tools: 'x' } })).toEqual([400, 'chat_template_kwargs'])
  })
})
