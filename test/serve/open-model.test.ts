/** A model in a program: text as it comes, chats, many at once, and the likeliest texts. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBackend, type Backend } from '../../src/engine/index.ts'
import { askedOf, openModel, type OpenModel, type WriteOptions } from '../../src/serve/index.ts'
import { tinyLlama } from '../support/tiny-models.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-open-model-'))
let backend: Backend
let model: OpenModel
beforeAll(async () => {
  tinyLlama(folder)
  backend = await openBackend({ plugin: 'simulate', devices: 4 })
  model = await openModel(folder, { backend, requests: 4, context: 64 })
})
afterAll(async () => {
  await model.close()
  await backend.close()
  rmSync(folder, { recursive: true })
})
const textOf = async (pieces: AsyncIterable<string>): Promise<string> => { let text = ''; for await (const piece of pieces) text += piece; return text }
const how: WriteOptions = { maxTokens: 8 }

describe('a text', () => {
  test('comes in pieces, the same on another mesh and among others', async () => {
    const alone = await textOf(model.generate('the people', how))
    expect(alone).not.toBe('')
    const split = await openModel(folder, { backend, mesh: { batch: 2, model: 2 }, context: 64 })
    expect(await Promise.all(['the people', 'of the', 'the people'].map(p => textOf(split.generate(p, how))))).toEqual([alone, await textOf(model.generate('of the', how)), alone])
    await split.close()
  })
  test('ends where the loop that hears it does', async () => {
    for await (const _ of model.generate('the people', { ...how, maxTokens: 50 })) break
    expect(model.answering.load()).toMatchObject({ running: 0, waiting: 0, blocksUsed: 0 })
  })
  test('is what it must be', async () => {
    expect(['yes', 'no']).toContain(await textOf(model.generate('the people', { ...how, constraint: { type: 'choice', choices: ['yes', 'no'] } })))
  })
  test('of a chat goes by the model\'s template', async () => {
    const messages = [{ role: 'user', content: 'Hi!' }]
    expect(await textOf(model.chat(messages, how))).toBe(await textOf(model.chat(messages, { ...how, seed: 3 })))
  })
})

describe('the likeliest texts', () => {
  /** Of a text its log-probability, told of it as a prompt. */
  const logprobOf = async (prompt: Int32Array, tokens: readonly number[]): Promise<number> => {
    for await (const told of model.answering.ask(askedOf(Int32Array.from([...prompt, ...tokens]), { maxTokens: 1, promptLogprobs: 0 }))) {
      if (told.type === 'prompt') return (told.logprobs ?? []).slice(prompt.length).reduce((n, t) => n + (t?.logprob ?? 0), 0)
    }
    throw new Error('nothing was told')
  }
  test('have the log-probabilities that they are found with, the best first, none twice', async () => {
    const prompt = model.tokenizer.encode('the people')
    const found = await model.beamSearch(prompt, { beams: 5, maxTokens: 5, ends: [] })
    expect(found).toHaveLength(5)
    for (const { tokens, logprob, score } of found) {
      expect(await logprobOf(prompt, tokens)).toBeCloseTo(logprob, 3)
      expect(score).toBeCloseTo(logprob / tokens.length, 6)
    }
    expect(found.map(f => f.score)).toEqual(found.map(f => f.score).sort((a, b) => b - a))
    expect(new Set(found.map(f => f.tokens.join())).size).toBe(5)
  })
  test('of one beam are what is drawn greedily; of more, never worse', async () => {
    const prompt = model.tokenizer.encode('the people')
    const [one] = await model.beamSearch(prompt, { beams: 1, maxTokens: 6, ends: [] })
    expect(one?.text).toBe(await textOf(model.generate(prompt, { maxTokens: 6, logitBias: new Map() })))
    const [best] = await model.beamSearch(prompt, { beams: 8, maxTokens: 6, ends: [] })
    expect(best?.logprob).toBeGreaterThanOrEqual(one?.logprob ?? 0)
  })
  test('of two tokens are the best of all, tried one by one', async () => {
    const prompt = model.tokenizer.encode('the people')
    const [best] = await model.beamSearch(prompt, { beams: 10, maxTokens: 2, ends: [] })
    // Every first token that has any chance, and all that may follow it.
    const after = async (tokens: readonly number[]): Promise<readonly { readonly token: number; readonly logprob: number }[]> => {
      for await (const told of model.answering.ask(askedOf(Int32Array.from([...prompt, ...tokens]), { maxTokens: 1, logprobs: 20, ignoreEnd: true }))) if (told.type === 'more') return told.tokens[0]?.top ?? []
      return []
    }
    let most = -Infinity
    for (const a of await after([])) for (const b of await after([a.token])) most = Math.max(most, a.logprob + b.logprob)
    expect(best?.logprob).toBeCloseTo(most, 5)
  })
  test('end with what ends a text', async () => {
    const prompt = model.tokenizer.encode('the people')
    const [greedy] = await model.beamSearch(prompt, { beams: 1, maxTokens: 1, ends: [] })
    const ends = greedy?.tokens ?? []
    const [found] = await model.beamSearch(prompt, { beams: 1, maxTokens: 6, ends })
    expect(found).toMatchObject({ tokens: ends, text: '' })
  })
  test('are not more than can be told of', async () => {
    await expect(model.beamSearch('a', { beams: 11 })).rejects.toThrow('11 beams')
    await expect(model.beamSearch('a', { maxTokens: 0 })).rejects.toThrow('maxTokens is 0')
  })
})

test('what cannot be opened says so', async () => {
  await expect(openModel(join(folder, 'none'), { backend })).rejects.toThrow('holds no model')
  await expect(openModel(folder, { backend, context: 1e6 })).rejects.toThrow('positions')
})
