/** A model with an encoder, opened from its folder: in a program, over HTTP as OpenAI's clients expect answers, and what makes no sense of it is refused. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBackend, type Backend } from '../../src/engine/index.ts'
import { openModel, type OpenModel } from '../../src/serve/index.ts'
import { openServer, type OpenServer } from '../../src/server/index.ts'
import { tinyT5 } from '../support/tiny-models.ts'
import { events } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-encoder-'))
let backend: Backend
let model: OpenModel
let server: OpenServer
beforeAll(async () => {
  tinyT5(folder)
  backend = await openBackend({ plugin: 'simulate', devices: 4 })
  model = await openModel(folder, { backend, requests: 4, context: 32 })
  server = await openServer({ models: [{ name: 't5', created: 1, answering: model.answering, tokenizer: model.tokenizer, template: undefined }], log: () => {} })
})
afterAll(async () => {
  await server.close()
  await model.close()
  await backend.close()
  rmSync(folder, { recursive: true })
})
const textOf = async (pieces: AsyncIterable<string>): Promise<string> => { let text = ''; for await (const piece of pieces) text += piece; return text }
const ask = (path: string, body: object): Promise<Response> => fetch(`${server.url}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ model: 't5', ...body }) })
type Answer = { readonly choices: readonly { readonly text: string; readonly finish_reason: string; readonly logprobs: { readonly token_logprobs: readonly number[] } | null }[]; readonly usage: object; readonly error: { readonly message: string; readonly param: string } }
const completion = async (body: object): Promise<Answer> => await (await ask('/v1/completions', { temperature: 0, max_tokens: 6, ignore_eos: true, ...body })).json() as Answer

describe('in a program', () => {
  test('a text is answered, the same on another mesh and by its tokens', async () => {
    const alone = await textOf(model.generate('translate the people', { maxTokens: 8 }))
    expect(alone).not.toBe('')
    const ids = Int32Array.from([...model.tokenizer.encode('translate the people'), 1])
    expect(await textOf(model.generate(ids, { maxTokens: 8 }))).toBe(alone)
    const split = await openModel(folder, { backend, mesh: { batch: 2, model: 2 }, context: 32 })
    expect(await Promise.all(['translate the people', 'of the', 'translate the people'].map(p => textOf(split.generate(p, { maxTokens: 8 }))))).toEqual([alone, await textOf(model.generate('of the', { maxTokens: 8 })), alone])
    await split.close()
    const [first] = await model.beamSearch('translate the people', { beams: 1, maxTokens: 8 })
    expect(first?.text).toBe(alone)
  })
  test('there is no chat without a template, and an answer is what it must be', async () => {
    expect(() => model.chat([{ role: 'user', content: 'Hi!' }])).toThrow('no chat template')
    expect(['yes', 'no']).toContain(await textOf(model.generate('the people', { maxTokens: 8, constraint: { type: 'choice', choices: ['yes', 'no'] } })))
  })
})

describe('over HTTP', () => {
  test('a prompt is answered, whole, streamed, several times and with log-probabilities', async () => {
    const prompt = 'translate the people'
    const { choices: [whole], usage } = await completion({ prompt, logprobs: 1 })
    const read = model.tokenizer.encode(prompt).length + 1
    expect(whole).toMatchObject({ finish_reason: 'length', logprobs: { token_logprobs: Array.from({ length: 6 }, () => expect.any(Number) as number) } })
    expect(usage).toMatchObject({ prompt_tokens: read, completion_tokens: 6 })
    expect((await completion({ prompt: [[...model.tokenizer.encode(prompt), 1]] })).choices[0]?.text).toBe(whole?.text)
    const { objects } = await events(await ask('/v1/completions', { prompt, temperature: 0, max_tokens: 6, ignore_eos: true, stream: true }))
    expect((objects as unknown as Answer[]).flatMap(o => o.choices.map(c => c.text)).join('')).toBe(whole?.text)
    const drawn = await completion({ prompt: [prompt, 'of the'], n: 2, temperature: 1, seed: 4 })
    expect(drawn.choices.map(c => c.text)).toEqual((await completion({ prompt: [prompt, 'of the'], n: 2, temperature: 1, seed: 4 })).choices.map(c => c.text))
    expect(drawn.choices).toHaveLength(4)
  })
  test('tokens are told with what ends a text', async () => {
    const { tokens } = await (await ask('/tokenize', { prompt: 'of the' })).json() as { readonly tokens: readonly number[] }
    expect(tokens).toEqual([...model.tokenizer.encode('of the'), 1])
  })
  test.each([
    ['echo', '/v1/completions', { prompt: 'a', echo: true }, 'echo', /an encoder.*leave out echo/], ['echo with log-probabilities', '/v1/completions', { prompt: 'a', echo: true, logprobs: 2, max_tokens: 0 }, 'echo', /an encoder/],
    ['a chat', '/v1/chat/completions', { messages: [{ role: 'user', content: 'a' }] }, 'model', /no chat template: use \/v1\/completions/], ['a response', '/v1/responses', { input: 'a' }, 'model', /no chat template/],
    ['padding', '/v1/completions', { prompt: [5, 0, 6] }, 'prompt', /token 1 is 0, which fills up/], ['a long prompt', '/v1/completions', { prompt: Array.from({ length: 33 }, () => 5) }, 'prompt', /33 tokens, and the model reads 32 at most/],
  ] as const)('%s is refused', async (_, path, body, param, says) => {
    const response = await ask(path, body)
    const { error } = await response.json() as Answer
    expect([response.status, error.param]).toEqual([400, param])
    expect(error.message).toMatch(says)
  })
})
