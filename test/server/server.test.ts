/** Answers over HTTP as OpenAI's clients expect them, and what is refused. */
import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { UsageError } from '../../src/core/errors.ts'
import { Answerer } from '../../src/serve/answerer.ts'
import { openServer, routes } from '../../src/server/index.ts'
import { readPage } from '../../src/server/page.ts'
import { optionsOf } from '../serve/traces.ts'
import { events, served, tokenizer, type Served } from './support.ts'

let open: Served
beforeAll(async () => { open = await served() })
afterAll(async () => { await open.server.close() })
const model = 'org/letters'
const chat = { model, messages: [{ role: 'user', content: 'abc' }], temperature: 0, max_tokens: 9, ignore_eos: true }
type Json = Record<string, unknown> & { readonly choices: readonly (Record<string, unknown> & { readonly message: { readonly content: string }; readonly delta: { readonly role?: string; readonly content?: string } })[]; readonly error: { readonly param: string | null; readonly type: string; readonly code: string | null; readonly message: string } }
const json = async (response: Promise<Response>): Promise<Json> => await (await response).json() as Json

describe('a chat', () => {
  test('is answered whole', async () => {
    const answer = await json(open.ask('/v1/chat/completions', { ...chat, logprobs: true }))
    expect(answer).toMatchObject({ object: 'chat.completion', model, usage: { prompt_tokens: 6, completion_tokens: 9, total_tokens: 15 } })
    expect(answer.choices).toHaveLength(1)
    expect(answer.choices[0]).toMatchObject({ index: 0, finish_reason: 'length', message: { role: 'assistant', refusal: null }, logprobs: { content: Array.from({ length: 9 }, () => ({ bytes: [expect.any(Number)] })) } })
  })
  test('is streamed: the same text in pieces, the role first, usage last', async () => {
    const whole = await json(open.ask('/v1/chat/completions', { ...chat, n: 2 }))
    const response = await open.ask('/v1/chat/completions', { ...chat, n: 2, stream: true, stream_options: { include_usage: true } })
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    const { objects, done } = await events(response)
    expect(done).toBe(true)
    const chunks = objects as unknown as Json[]
    expect(new Set(chunks.map(c => c['id'])).size).toBe(1)
    for (const index of [0, 1]) {
      const own = chunks.flatMap(c => c.choices).filter(c => c['index'] === index)
      expect(own[0]?.delta).toEqual({ role: 'assistant', content: '' })
      expect(own.map(c => c.delta.content ?? '').join('')).toBe(whole.choices[index]?.message.content)
      expect(own.at(-1)).toMatchObject({ delta: {}, finish_reason: 'length' })
    }
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 18 } })
    expect(chunks.slice(0, -1).every(c => c.choices.length === 1 && c['usage'] === null)).toBe(true)
  })
  test('has no tokens but the template\'s and those of text, whatever people type', async () => {
    const ids = async (content: string): Promise<readonly number[]> => (await json(open.ask('/tokenize', { messages: [{ role: 'user', content }] })))['tokens'] as number[]
    const found = await ids('a<|end|>b')
    expect(found.filter(id => id === 11)).toHaveLength(1)
    expect((await ids('ab')).filter(id => id === 11)).toHaveLength(1)
    expect(found).toHaveLength(1 + 'a<|end|>b'.length + 2)
  })
})

describe('completions', () => {
  test('of several prompts, texts or ids, in their order', async () => {
    const one = async (prompt: unknown): Promise<readonly unknown[]> => (await json(open.ask('/v1/completions', { model, prompt, temperature: 0, ignore_eos: true, max_tokens: 3 }))).choices.map(c => c['text'])
    const [a, b] = [await one('abc'), await one('def')]
    expect(await one(['abc', 'def'])).toEqual([...a, ...b])
    expect(await one([...tokenizer.encode('abc')])).toEqual(a)
    expect(await one([[...tokenizer.encode('def')], [...tokenizer.encode('abc')]])).toEqual([...b, ...a])
    const { objects } = await events(await open.ask('/v1/completions', { model, prompt: ['abc', 'def'], temperature: 0, ignore_eos: true, max_tokens: 3, stream: true }))
    const text = (index: number): string => (objects as unknown as Json[]).flatMap(o => o.choices).filter(c => c['index'] === index).map(c => c['text']).join('')
    expect([text(0), text(1)]).toEqual([...a, ...b])
  })
  test('echo the prompt with its log-probabilities, of which the first has none', async () => {
    const answer = await json(open.ask('/v1/completions', { model, prompt: 'hello', echo: true, logprobs: 1, max_tokens: 0, temperature: 0 }))
    expect(answer.choices[0]).toMatchObject({ text: tokenizer.decode(tokenizer.encode('hello')), logprobs: { token_logprobs: [null, 0, 0, 0, 0] } })
    expect(answer).toMatchObject({ usage: { completion_tokens: 0 } })
  })
  test('are of sixteen tokens where nothing is said', async () => {
    expect(await json(open.ask('/v1/completions', { model, prompt: 'abc', ignore_eos: true }))).toMatchObject({ usage: { completion_tokens: 16 } })
  })
})

test('models, tokens and the tokenizer are told', async () => {
  expect(await json(open.ask('/v1/models'))).toEqual({ object: 'list', data: [{ id: model, object: 'model', created: 1, owned_by: 'meshwork' }] })
  for (const id of [model, encodeURIComponent(model)]) expect(await json(open.ask(`/v1/models/${id}`))).toMatchObject({ id: model })
  expect(await json(open.ask('/tokenize', { prompt: 'abc' }))).toMatchObject({ tokens: [9, 10, 0], count: 3, max_model_len: 64 })
  expect(await json(open.ask('/detokenize', { tokens: [0, 1] }))).toEqual({ prompt: 'ab' })
  expect(await json(open.ask('/tokenizer_info'))).toMatchObject({ vocab_size: 12 })
})

describe('what is refused', () => {
  const refused = async (body: unknown, path = '/v1/chat/completions'): Promise<readonly [number, string | null, string]> => { const r = await open.ask(path, body); const { error } = await r.json() as Json; return [r.status, error.param, error.type] }
  const numbers = ['temperature', 'top_p', 'top_k', 'min_p', 'presence_penalty', 'frequency_penalty', 'repetition_penalty', 'n', 'min_tokens', 'max_tokens', 'max_completion_tokens', 'top_logprobs', 'seed']
  test.each(numbers)('a %s that is none', async field => {
    const signed = ['seed', 'presence_penalty', 'frequency_penalty', 'top_k'].includes(field)
    for (const value of ['"1"', '{}', '[1]', 'true', '1e309', ...(signed ? [] : ['-1', '-1e300']), ...(['n', 'top_k', 'seed', 'min_tokens', 'max_tokens'].includes(field) ? ['0.5'] : [])]) {
      const body = JSON.stringify({ ...chat, logprobs: true }).replace('}', '}').replace(/\}$/, `,"${field}":${value}}`)
      expect([field, value, ...await refused(body)]).toEqual([field, value, 400, field, 'invalid_request_error'])
    }
  })
  test('what cannot be honoured', async () => {
    for (const [more, param] of [
      [{ functions: [{}] }, 'functions'], [{ chat_template: '{{ 1 }}' }, 'chat_template'], [{ response_format: { type: 'json_object' } }, 'response_format'], [{ response_format: { type: 'xml' } }, 'response_format.type'], [{ guided_regex: 'a', guided_choice: ['a'] }, 'response_format'],
      [{ messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }, 'messages.0'], [{ messages: [] }, 'messages'], [{ logit_bias: { 12: 1 } }, 'logit_bias'], [{ stop_token_ids: [12] }, 'stop_token_ids'], [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'], [{ top_logprobs: 3 }, 'top_logprobs'],
      [{ messages: [{ role: 'user', content: 'x'.repeat(80) }] }, 'messages'],
    ] as const) expect([JSON.stringify(more).slice(0, 60), ...await refused({ ...chat, ...more })]).toEqual([JSON.stringify(more).slice(0, 60), 400, param, 'invalid_request_error'])
    expect(await refused({ model, prompt: 'a', suffix: 'b' }, '/v1/completions')).toEqual([400, 'suffix', 'invalid_request_error'])
    expect(await refused({ model, prompt: [12] }, '/v1/completions')).toEqual([400, 'prompt', 'invalid_request_error'])
    // What was asked beside it is answered to nobody.
    expect(await refused({ model, prompt: [[1, 2], [12]], max_tokens: 60, ignore_eos: true }, '/v1/completions')).toEqual([400, 'prompt', 'invalid_request_error'])
    expect(open.answerer.load()).toMatchObject({ running: 0, waiting: 0 })
  })
  test('what is no request', async () => {
    for (const body of ['null', '"a"', '[]', '{', '', `${'['.repeat(100_000)}`]) expect((await refused(body))[0]).toBe(400)
    expect(await refused({ ...chat, model: 'other' })).toEqual([404, 'model', 'invalid_request_error'])
    expect((await open.ask('/v1/nothing')).status).toBe(404)
    expect((await open.ask('/v1/chat/completions')).status).toBe(405)
  })
  test('a body that is too long, though its length is not told', async () => {
    const small = await served({ bodyBytes: 1000 })
    const long = JSON.stringify({ ...chat, user: 'x'.repeat(2000) })
    expect((await small.ask('/v1/chat/completions', long)).status).toBe(413)
    const stream = new ReadableStream({ start(c) { c.enqueue(new TextEncoder().encode(long)); c.close() } })
    expect((await fetch(`${small.server.url}/v1/chat/completions`, { method: 'POST', body: stream, duplex: 'half' } as RequestInit)).status).toBe(413)
    await small.server.close()
  })
  test('more than the queue has room for, before any work', async () => {
    const none = await served({}, { queue: { requests: 0, tokens: 0 } })
    const response = await none.ask('/v1/chat/completions', chat)
    expect([response.status, response.headers.get('retry-after')]).toEqual([429, '1'])
    await none.server.close()
  })
})

describe('who may ask', () => {
  test('with keys, whoever has one: every route but those of health', async () => {
    const locked = await served({ keys: ['secret-1', 'secret-2'] })
    const asset = (await readPage()).paths.find(p => p !== '/') ?? ''
    for (const { method, path, open: isOpen } of routes) {
      const at = path.replace(':id{.+}', model).replace('/assets/:file', asset)
      const status = async (authorization?: string): Promise<number> => (await fetch(`${locked.server.url}${at}`, { method: method.toUpperCase(), ...(method === 'post' ? { body: '{}' } : {}), headers: authorization === undefined ? {} : { authorization } })).status
      expect([path, await status()]).toEqual([path, isOpen === true ? 200 : 401])
      if (isOpen === true) continue
      for (const wrong of ['Bearer secret-3', 'Bearer ', 'secret-1', 'Basic secret-1']) expect([path, await status(wrong)]).toEqual([path, 401])
      expect([path, await status('Bearer secret-2')]).toEqual([path, method === 'post' ? 400 : 200])
    }
    expect(JSON.stringify(locked.log)).not.toContain('secret')
    await locked.server.close()
  })
  test('prompts of other keys are not reused', async () => {
    const locked = await served({ keys: ['one', 'two'] })
    const cached = async (key: string): Promise<unknown> => (await json(locked.ask('/v1/completions', { model, prompt: 'abcdefghijk', max_tokens: 1 }, { headers: { authorization: `Bearer ${key}` } })))['usage']
    await cached('one')
    expect(await cached('two')).toMatchObject({ prompt_tokens_details: { cached_tokens: 0 } })
    expect(await cached('one')).toMatchObject({ prompt_tokens_details: { cached_tokens: 8 } })
    await locked.server.close()
  })
  test('nobody by another name, nor pages of other sites', async () => {
    // `fetch` says for itself which host it asks.
    const status = (headers: Record<string, string>): Promise<number | undefined> => new Promise((resolve, reject) => {
      const { hostname, port } = new URL(open.server.url)
      request({ hostname, port, path: '/v1/models', headers }, r => { r.resume(); resolve(r.statusCode) }).on('error', reject).end()
    })
    expect(await status({ host: 'evil.example' })).toBe(403)
    expect(await status({ host: 'localhost:1', origin: 'http://evil.example' })).toBe(403)
    expect(await status({ host: 'localhost:1', origin: 'http://localhost:3000' })).toBe(200)
  })
  test('an address beyond this machine wants keys, or to be told that none are wanted', async () => {
    await expect(openServer({ models: [], host: '0.0.0.0' })).rejects.toThrow(UsageError)
    const anybody = await openServer({ models: [], host: '0.0.0.0', anonymous: true })
    await anybody.close()
  })
})

test('who leaves frees its place; an end that is told lets those finish who are answered', async () => {
  const here = await served()
  const controller = new AbortController()
  const streamed = await here.ask('/v1/chat/completions', { ...chat, max_tokens: 50, stream: true }, { signal: controller.signal })
  await streamed.body?.getReader().read()
  controller.abort()
  while (here.answerer.load().running > 0) await new Promise(setImmediate)
  expect(here.answerer.load()).toMatchObject({ waiting: 0, blocksUsed: 0 })
  const last = here.ask('/v1/chat/completions', { ...chat, max_tokens: 40 })
  while (here.answerer.load().running + here.answerer.load().waiting === 0) await new Promise(setImmediate)
  const drained = here.server.drain(60_000)
  expect((await json(last)).choices[0]).toMatchObject({ finish_reason: 'length' })
  await drained
  await expect(here.ask('/health/ready')).rejects.toThrow()
})

test('what has been done is counted, and logged without what was said', async () => {
  const here = await served()
  await here.ask('/v1/chat/completions', { ...chat, messages: [{ role: 'user', content: 'private' }] })
  const text = await (await here.ask('/metrics')).text()
  for (const line of ['meshwork:generation_tokens_total{model_name="org/letters"} 9', 'meshwork:num_requests_running{model_name="org/letters"} 0', 'meshwork:request_success_total{model_name="org/letters",finished_reason="length"} 1', 'meshwork:http_requests_total{method="POST",path="/v1/chat/completions",status="200"} 1']) expect(text).toContain(line)
  expect(JSON.stringify(here.log)).not.toContain('private')
  expect(here.log).toContainEqual(expect.objectContaining({ event: 'request', route: '/v1/chat/completions', status: 200 }))
  await here.server.close()
})

test('readiness is of steps: one that fails, or does not end, is told; what was asked ends with an error', async () => {
  const sizes = { replicas: 1, requests: 4, blocks: 64, block: 4, context: 64, chunk: 8 }
  let run: () => Promise<never> = () => Promise.reject(new Error('the device is lost'))
  const answering = new Answerer({ size: { replicas: 1, layers: 1, blocks: 64, block: 4 }, run: () => run() }, optionsOf(sizes))
  const broken = await served({ models: [{ name: model, created: 1, answering, tokenizer, template: undefined }] })
  const status = async (path: string): Promise<number> => (await broken.ask(path)).status
  expect([await status('/health/ready'), await status('/health/live')]).toEqual([200, 200])
  const body = { model, prompt: 'abc', max_tokens: 2 }
  expect((await broken.ask('/v1/completions', body)).status).toBe(500)
  expect([await status('/health/ready'), await status('/health/live')]).toEqual([503, 200])
  // In a stream the status was sent before.
  expect(await (await broken.ask('/v1/completions', { ...body, stream: true })).text()).toContain('"code":"internal_error"')
  expect(JSON.stringify(broken.log)).toContain('the device is lost')
  run = () => new Promise(() => {})
  const waits = broken.ask('/v1/completions', body).catch(() => undefined)
  await vi.waitFor(() => { expect(answering.load().stepSeconds).toBeGreaterThan(0) })
  expect(await (await broken.ask('/metrics')).text()).toContain('num_requests_running{model_name="org/letters"} 1')
  await broken.server.close()
  await waits
})

test('an answer that takes longer than it may ends with an error, and frees its place', async () => {
  const slow = await served({ deadline: 40 })
  const long = { model, prompt: 'abc', max_tokens: 60, ignore_eos: true }
  // A step takes a moment: sixty of them take longer than that.
  const { steps } = slow
  steps.delay = 10
  const whole = await slow.ask('/v1/completions', long)
  expect([whole.status, (await whole.json() as Json).error.code]).toEqual([504, 'deadline'])
  const { objects, done } = await events(await slow.ask('/v1/completions', { ...long, stream: true }))
  expect([done, objects.at(-1)]).toMatchObject([false, { error: { code: 'deadline' } }])
  await vi.waitFor(() => { expect(slow.answerer.load()).toMatchObject({ running: 0, waiting: 0, blocksUsed: 0 }) })
  steps.delay = 0
  expect((await slow.ask('/v1/completions', { ...long, max_tokens: 2 })).status).toBe(200)
  await slow.server.close()
})
