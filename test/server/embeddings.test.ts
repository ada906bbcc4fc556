/** Vectors over HTTP: as clients want them, together, and each the same as alone. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { alone } from '../../src/runtime/processes.ts'
import { EmbeddingQueue } from '../../src/serve/embedding-queue.ts'
import type { Row } from '../../src/serve/rows.ts'
import { Turns } from '../../src/serve/turns.ts'
import { served, tokenizer, type Served } from './support.ts'

/** A vector of a text's first token, last token and length: it hangs on nothing else. */
const steps: number[] = []
const program = { window: 16, run: (rows: readonly Row[]) => { steps.push(rows.length); return new Promise<Float32Array[]>(resolve => { setTimeout(() => { resolve(rows.map(({ tokens }) => Float32Array.of(tokens[0] ?? -1, tokens.at(-1) ?? -1, tokens.length / 3))) }, 20) }) } }
let open: Served
beforeAll(async () => {
  const embedding = new EmbeddingQueue(program, { turns: new Turns(alone), rows: 4, size: 3, vocab: tokenizer.vocab, queue: 20 })
  const base = await served()
  await base.server.close()
  open = await served({ models: [{ name: 'vectors', created: 1, tokenizer, embedding }, { name: 'org/letters', created: 1, answering: base.answerer, tokenizer, template: undefined }] })
})
afterAll(async () => { await open.server.close() })
const ask = async (body: object): Promise<{ readonly status: number; readonly body: { readonly data: readonly { readonly index: number; readonly embedding: unknown }[]; readonly usage: unknown; readonly error: { readonly param: string; readonly code: string | null } } }> => {
  const response = await open.ask('/v1/embeddings', { model: 'vectors', ...body })
  return { status: response.status, body: await response.json() as never }
}

test('of a text, of several, of ids, as numbers or bytes', async () => {
  const one = await ask({ input: 'abc' })
  expect(one).toMatchObject({ status: 200, body: { object: 'list', model: 'vectors', data: [{ object: 'embedding', index: 0, embedding: [9, 0, 1] }], usage: { prompt_tokens: 3, total_tokens: 3 } } })
  expect((await ask({ input: ['abc', 'd'] })).body.data.map(d => d.embedding)).toEqual([[9, 0, 1], [1, 1, Math.fround(1 / 3)]])
  expect((await ask({ input: [9, 10, 0] })).body.data).toEqual(one.body.data)
  expect((await ask({ input: [[9, 10, 0], [1]] })).body.data).toHaveLength(2)
  const { body } = await ask({ input: 'abc', encoding_format: 'base64' })
  expect([...new Float32Array(Uint8Array.from(Buffer.from(String(body.data[0]?.embedding), 'base64')).buffer)]).toEqual([9, 0, 1])
})

test('of many who ask at once, four in a step, in their order', async () => {
  steps.length = 0
  const all = await Promise.all(Array.from({ length: 10 }, (_, i) => ask({ input: 'abcdefghij'.slice(0, i + 1) })))
  expect(all.map(a => (a.body.data[0]?.embedding as number[])[2])).toEqual(Array.from({ length: 10 }, (_, i) => Math.fround((i + 1) / 3)))
  expect(Math.max(...steps)).toBeGreaterThan(1)
  expect(steps.every(n => n <= 4)).toBe(true)
})

test('what is refused', async () => {
  const refused = async (body: object): Promise<unknown> => { const r = await ask(body); return [r.status, r.body.error.param] }
  expect(await refused({ input: 'x'.repeat(17) })).toEqual([400, 'input'])
  expect(await refused({ input: '' })).toEqual([400, 'input'])
  expect(await refused({ input: [99] })).toEqual([400, 'input'])
  expect(await refused({ input: [] })).toEqual([400, 'input'])
  expect(await refused({ input: 'a', dimensions: 2 })).toEqual([400, 'dimensions'])
  expect(await refused({ input: 'a', model: 'org/letters' })).toEqual([400, 'model'])
  expect((await ask({ input: Array.from({ length: 21 }, () => 'a') })).status).toBe(429)
  const chat = await open.ask('/v1/chat/completions', { model: 'vectors', messages: [{ role: 'user', content: 'a' }] })
  expect([chat.status, (await chat.json() as { readonly error: { readonly param: string } }).error.param]).toEqual([400, 'model'])
})
