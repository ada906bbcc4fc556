/** Answers of a model with an encoder: what a whole forward says, the same alone and among others, on every mesh, and where blocks run out; forks share what is read. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { compile, mesh as meshOf, openBackend, type Backend, type MeshArray, type Tree } from '../../src/engine/index.ts'
import { t5, t5Schema } from '../../src/models/index.ts'
import { Refused, type Asked } from '../../src/serve/asking.ts'
import { beamSearch } from '../../src/serve/beam-search.ts'
import { greedy } from '../../src/serve/generate.ts'
import type { Order, SourceOrder } from '../../src/serve/order.ts'
import { threefry2x32 } from '../../src/core/threefry.ts'
import { asking, heard, tinyT5, vocab, type Tiny } from './tiny.ts'

let backend: Backend
let one: Tiny
let four: Tiny
let wide: Tiny
const sizes = { replicas: 1, requests: 3, blocks: 24, block: 4, context: 16, chunk: 8, source: 20 }
beforeAll(async () => {
  backend = await openBackend({ plugin: 'simulate', devices: 4 })
  one = await tinyT5(backend, { batch: 1, model: 1 }, sizes)
  four = await tinyT5(backend, { batch: 2, model: 2 }, { ...sizes, replicas: 2 })
  wide = await tinyT5(backend, { batch: 1, model: 4 }, sizes)
})
afterAll(async () => {
  for (const t of [one, four, wide]) await t.steps.close()
  await backend.close()
})

const random = { ...greedy, temperature: 1 }
const questions: readonly Asked[] = [
  asking([1, 2, 3], { logprobs: 2 }), asking([5, 2, 9, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], { sampling: { ...random, seed: 5 }, logprobs: 3 }), asking([9], { sampling: { ...random, topK: 4, seed: 1 }, ignoreEnd: true }),
  asking([3, 3, 3, 4, 5, 20], { sampling: { ...random, topP: 0.7, seed: 2 }, logprobs: 0 }), asking([1, 2, 3], { choices: 3, sampling: { ...random, minP: 0.1, seed: 3 }, ignoreEnd: true }),
  asking([4, 4, 4, 4, 4], { sampling: { ...greedy, repetitionPenalty: 1.5, presencePenalty: 0.5, frequencyPenalty: 0.5, logitBias: new Map([[3, 2]]) }, logprobs: 2, ignoreEnd: true }),
]
const alone = async (of: Tiny, asked: Asked) => (await heard(of.answerer().ask(asked))).all.filter(t => t.type !== 'prompt')
const tokensOf = (told: unknown): number[][] => {
  const found: number[][] = []
  for (const t of told as readonly { readonly type: string; readonly choice: number; readonly tokens: readonly { readonly token: number }[] }[]) if (t.type === 'more') (found[t.choice] ??= []).push(...t.tokens.map(x => x.token))
  return found
}

describe('an answer', () => {
  test('has the likeliest tokens that the whole model says, with their log-probabilities', async () => {
    const model = t5(t5Schema.parse({ vocab, source: sizes.source, target: sizes.context, encoderLayers: 1, decoderLayers: 2, embed: 8, heads: 4, headDim: 4, hidden: 12, buckets: 8, farthest: 9 }), 1)
    const all = await compile((params: Tree, source: Tree, target: Tree) => model.logits(params as never, { source, target } as never).relayout({}), [model.params as Tree, model.batch.source, model.batch.target] as const, { backend, mesh: meshOf({ model: 1 }), layout: {}, dims: model.dims })
    const weights = await one.weights(7)
    for (const prompt of [[1, 2, 3], [5, 2, 9, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 1, 1, 2, 30, 29, 3]]) {
      const told = await alone(one, asking(prompt, { logprobs: 0, ignoreEnd: true }))
      const written: number[] = []
      for (const t of told) {
        if (t.type !== 'more') continue
        const [token] = t.tokens
        const filled = (ids: readonly number[], n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => ids[i] ?? 0)
        const logits = [...await (await all(weights as never, filled(prompt, sizes.source) as never, filled([0, ...written], sizes.context) as never) as unknown as MeshArray).read()].map(Number).slice(written.length * vocab).slice(0, vocab)
        const sum = Math.log(logits.reduce((n, x) => n + Math.exp(x), 0))
        expect(token?.token).toBe(logits.indexOf(Math.max(...logits)))
        expect(token?.logprob).toBeCloseTo(Math.max(...logits) - sum, 4)
        written.push(token?.token as number)
      }
      expect(written).toHaveLength(12)
    }
  })
  test('is the same bit for bit alone, and among others that came in any order', async () => {
    const wanted: unknown[] = []
    for (const q of questions) wanted.push(await alone(one, q))
    const answerer = one.answerer()
    const order = [3, 0, 5, 2, 1, 4]
    const found = await Promise.all(order.map(async i => (await heard(answerer.ask(questions[i] as Asked))).all.filter(t => t.type !== 'prompt')))
    for (const [at, i] of order.entries()) expect(byChoice(found[at])).toEqual(byChoice(wanted[i]))
    expect(answerer.load()).toMatchObject({ running: 0, waiting: 0, blocksUsed: 0 })
  })
  test('has the same tokens on every mesh', async () => {
    for (const q of questions) for (const on of [four, wide]) expect(tokensOf(await alone(on, q))).toEqual(tokensOf(await alone(one, q)))
  })
  test('is the same where blocks run out, and what was read has to be read again', async () => {
    const small = await tinyT5(backend, { batch: 1, model: 1 }, { ...sizes, blocks: 9 })
    const answerer = small.answerer()
    const found = await Promise.all(questions.map(async q => byChoice((await heard(answerer.ask({ ...q, choices: 1 }))).all.filter(t => t.type !== 'prompt'))))
    for (const [i, q] of questions.entries()) expect(found[i]).toEqual(byChoice(await alone(one, { ...q, choices: 1 })))
    expect([answerer.preemptions > 0, answerer.load().blocksUsed]).toEqual([true, 0])
    await small.steps.close()
  })
  test('is the same with guesses, which take what the prompt says, too', async () => {
    const drafting = { drafts: 3, buckets: { requests: [sizes.requests], seq: [sizes.chunk], blocks: [4], listed: [40], sources: { tokens: [sizes.source], blocks: [5] }, drafts: 3 } }
    const answerer = one.answerer(drafting)
    const found = await Promise.all(questions.map(async q => (await heard(answerer.ask(q))).all.filter(t => t.type !== 'prompt')))
    for (const [i, q] of questions.entries()) expect(byChoice(found[i])).toEqual(byChoice(await alone(one, q)))
    expect(answerer.load().drafted).toBeGreaterThan(0)
  })
  test('ends with a text to stop at, and as many tokens as it may have', async () => {
    const [whole = ''] = (await heard(one.answerer().ask(asking([1, 2, 3], { ignoreEnd: true })))).texts
    expect(whole).toHaveLength(12)
    const { texts } = await heard(one.answerer().ask(asking([1, 2, 3], { ignoreEnd: true, stop: [whole.slice(4, 7)] })))
    expect(texts[0]).toBe(whole.slice(0, whole.indexOf(whole.slice(4, 7))))
    const { maxTokens: _, ...unbounded } = asking([1, 2, 3], { ignoreEnd: true })
    expect((await heard(one.answerer().ask(unbounded))).texts[0]).toHaveLength(sizes.context - 1)
  })
})

describe('a source', () => {
  /** Orders that a model gets while it answers. */
  const orders = async (work: () => Promise<unknown>): Promise<readonly (Order | SourceOrder)[]> => {
    const spy = vi.spyOn(one.steps, 'run')
    try {
      await work()
      return spy.mock.calls.map(([order]) => order)
    } finally {
      spy.mockRestore()
    }
  }
  test('is read once for all answers to it, which share what was read; and is kept', async () => {
    const answerer = one.answerer()
    const asked = asking([5, 6, 7, 8, 9, 10], { choices: 3, sampling: { ...random, seed: 1 }, ignoreEnd: true })
    const first = await orders(async () => heard(answerer.ask(asked)))
    const read = first.filter((o): o is SourceOrder => 'sources' in o)
    expect(read.map(o => o.sources.entries.filter(e => e >= 0).length)).toEqual([6])
    const tables = first.flatMap(o => ('fed' in o ? [...o.fed.sourceLength ?? []].flatMap((length, row) => (length === 6 ? [(o.fed.sourceTable as Int32Array).slice(5 * row, 5 * row + 2).join()] : [])) : []))
    expect(tables.length).toBeGreaterThan(12)
    expect(new Set(tables).size).toBe(1)
    let told: unknown
    const second = await orders(async () => { told = (await heard(answerer.ask(asked))).all[0] })
    expect([second.some(o => 'sources' in o), told]).toEqual([false, { type: 'prompt', tokens: 6, cached: 6 }])
    const other = await orders(async () => { told = (await heard(answerer.ask({ ...asked, scope: 'another' }))).all[0] })
    expect([other.filter(o => 'sources' in o).length, told]).toEqual([1, { type: 'prompt', tokens: 6, cached: 0 }])
    expect(answerer.load()).toMatchObject({ running: 0, blocksUsed: 0 })
  })
  test('is read anew with new weights', async () => {
    const own = await tinyT5(backend, { batch: 1, model: 1 }, sizes)
    const other = await tinyT5(backend, { batch: 1, model: 1 }, sizes)
    other.steps.replace(await other.weights(8))
    const answerer = own.answerer({ step: 1, renewed: async order => { own.steps.replace(await own.weights(8)); return Number(order) } })
    const asked = questions[1] as Asked
    expect((await heard(answerer.ask(asked))).all.slice(1)).toEqual(await alone(one, asked))
    await answerer.renew('2')
    const { all: [prompt, ...rest] } = await heard(answerer.ask(asked))
    expect(prompt).toEqual({ type: 'prompt', tokens: 14, cached: 0, step: 2 })
    expect(rest).toEqual(await alone(other, asked))
    expect(rest).not.toEqual(await alone(one, asked))
    for (const t of [own, other]) await t.steps.close()
  })
})

test('whoever comes and goes, an answer is what it is alone, and nothing is left behind', async () => {
  let n = 0
  const below = (most: number): number => threefry2x32(3, 5, n++, 0) % most
  const sources = Array.from({ length: 3 }, () => Array.from({ length: 1 + below(sizes.source) }, () => 1 + below(vocab - 1)))
  const small = await tinyT5(backend, { batch: 2, model: 1 }, { ...sizes, replicas: 2, blocks: 10, together: { texts: 2, tokens: 8 } })
  const answerer = small.answerer({ buckets: { requests: [3], seq: [sizes.chunk], blocks: [4], listed: [40], prompts: 2, sources: { tokens: [8, 20], blocks: [5] } } })
  const all = Array.from({ length: 14 }, () => ({
    asked: asking(sources[below(3)]?.slice(0, 1 + below(30)) ?? [], { choices: 1 + below(3), maxTokens: 1 + below(8), ignoreEnd: below(2) === 0, begun: Int32Array.from({ length: below(3) === 0 ? below(10) : 0 }, () => below(vocab)), sampling: { ...random, seed: below(4) }, logprobs: 1 }),
    after: below(12), leaves: below(4) === 0 ? below(4) : Infinity,
  }))
  const found = await Promise.all(all.map(async ({ asked, after, leaves }) => {
    for (let i = 0; i < after; i++) await new Promise(setImmediate)
    const told: unknown[] = []
    for await (const t of answerer.ask(asked)) if (t.type !== 'prompt' && told.push(t) > leaves) break
    return told
  }))
  for (const [i, { asked, leaves }] of all.entries()) if (leaves === Infinity) expect(byChoice(found[i])).toEqual(byChoice(await alone(one, asked)))
  expect(answerer.load()).toMatchObject({ running: 0, waiting: 0, blocksUsed: 0 })
  expect(answerer.preemptions).toBeGreaterThan(0)
  await small.steps.close()
})

describe('the likeliest texts', () => {
  const tokenizer = { decode: (ids: Iterable<number>) => [...ids].join(' ') }
  test('of one beam are what is drawn greedily; of more, have the log-probabilities that they are found with', async () => {
    const answerer = one.answerer()
    const prompt = Int32Array.from([4, 5, 6, 7])
    const [first] = await beamSearch(answerer, tokenizer, prompt, { beams: 1, maxTokens: 5, ends: [] })
    expect(first?.tokens).toEqual(tokensOf(await alone(one, asking([...prompt], { maxTokens: 5, ignoreEnd: true })))[0])
    const found = await beamSearch(answerer, tokenizer, prompt, { beams: 4, maxTokens: 4, ends: [] })
    expect(found[0]?.logprob).toBeGreaterThanOrEqual(found[3]?.logprob ?? 0)
    for (const { tokens, logprob } of found) {
      let sum = 0
      for (const [at, token] of tokens.entries()) {
        const forced = await alone(one, asking([...prompt], { begun: Int32Array.from(tokens.slice(0, at)), maxTokens: 1, logprobs: 0, sampling: { ...greedy, logitBias: new Map([[token, 1000]]) } }))
        sum += forced.flatMap(t => (t.type === 'more' ? t.tokens : []))[0]?.logprob ?? NaN
      }
      expect(sum).toBeCloseTo(logprob, 4)
    }
  })
})

test('what can never be answered is refused at once', () => {
  const answerer = one.answerer({ queue: { requests: 4, tokens: 30 } })
  const refusal = (asked: Asked): unknown => { try { answerer.ask(asked); return undefined } catch (e) { return e instanceof Refused ? e.refusal : e } }
  expect(refusal(asking([]))).toMatchObject({ type: 'invalid', field: 'prompt' })
  expect(refusal(asking([vocab]))).toMatchObject({ type: 'invalid', field: 'prompt' })
  expect(refusal(asking([1, 0, 2]))).toMatchObject({ type: 'invalid', field: 'prompt', why: 'token 1 is 0, which fills up what the model reads, and which it does not see' })
  expect(refusal(asking(Array.from({ length: 21 }, () => 1)))).toMatchObject({ type: 'invalid', field: 'prompt', why: 'it has 21 tokens, and the model reads 20 at most' })
  expect(refusal(asking([1], { begun: new Int32Array(15).fill(1) }))).toMatchObject({ type: 'invalid', field: 'begun' })
  expect(refusal(asking([1], { promptLogprobs: 0 }))).toMatchObject({ type: 'invalid', field: 'promptLogprobs' })
  expect(refusal(asking(Array.from({ length: 16 }, () => 1), { choices: 2 }))).toMatchObject({ type: 'busy' })
})

const byChoice = (told: unknown): unknown => [0, 1, 2].map(choice => (told as readonly { readonly choice: number }[]).filter(t => t.choice === choice))
