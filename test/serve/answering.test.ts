/** Answers: the same alone and among others, whatever is kept, wherever blocks run out; what ends them; what is told of them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBackend, type Backend } from '../../src/engine/index.ts'
import { Refused, type Asked } from '../../src/serve/asking.ts'
import { greedy } from '../../src/serve/generate.ts'
import { asking, heard, tiny, vocab, type Tiny } from './tiny.ts'

let backend: Backend
let one: Tiny
let four: Tiny
const sizes = { replicas: 1, requests: 3, blocks: 16, block: 4, context: 32, chunk: 8 }
beforeAll(async () => {
  backend = await openBackend({ plugin: 'simulate', devices: 4 })
  one = await tiny(backend, { batch: 1, model: 1 }, sizes)
  four = await tiny(backend, { batch: 2, model: 2 }, { ...sizes, replicas: 2 })
})
afterAll(async () => {
  for (const t of [one, four]) await t.steps.close()
  await backend.close()
})

const random = { ...greedy, temperature: 1 }
const questions: readonly Asked[] = [
  asking([1, 2, 3]), asking([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], { sampling: { ...random, seed: 5 }, logprobs: 3 }), asking([9], { sampling: { ...random, topK: 4, seed: 1 } }),
  asking([1, 2, 3, 4, 5, 6, 7, 8, 20], { sampling: { ...random, topP: 0.7, seed: 2 }, logprobs: 0 }), asking([1, 2, 3], { choices: 3, sampling: { ...random, minP: 0.1, seed: 3 } }),
  asking([4, 4, 4, 4, 4], { sampling: { ...greedy, repetitionPenalty: 1.5, presencePenalty: 0.5, frequencyPenalty: 0.5, logitBias: new Map([[3, 2]]) }, promptLogprobs: 2, logprobs: 2 }),
]
const alone = async (of: Tiny, asked: Asked) => (await heard(of.answerer().ask(asked))).all.filter(t => t.type !== 'prompt')

describe('an answer', () => {
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
    for (const q of questions) expect(tokensOf(await alone(four, q))).toEqual(tokensOf(await alone(one, q)))
  })
  test('is the same where blocks run out and texts are computed again', async () => {
    const small = await tiny(backend, { batch: 1, model: 1 }, { ...sizes, blocks: 8 })
    const answerer = small.answerer()
    const long = questions.map(q => ({ ...q, choices: 1, maxTokens: 18 }))
    const found = await Promise.all(long.map(async q => byChoice((await heard(answerer.ask(q))).all.filter(t => t.type !== 'prompt'))))
    for (const [i, q] of long.entries()) expect(found[i]).toEqual(byChoice(await alone(one, q)))
    expect(answerer.load().blocksUsed).toBe(0)
    await small.steps.close()
  })
  test('is the same with what was kept of a prompt, which is told', async () => {
    const answerer = one.answerer()
    const [first, second] = [await heard(answerer.ask(questions[1] as Asked)), await heard(answerer.ask(questions[1] as Asked))]
    expect([first, second].map(h => h.all.find(t => t.type === 'prompt'))).toEqual([{ type: 'prompt', tokens: 14, cached: 0 }, { type: 'prompt', tokens: 14, cached: 12 }])
    expect(second.all.slice(1)).toEqual(first.all.slice(1))
    expect((await heard(answerer.ask({ ...questions[1] as Asked, scope: 'another' }))).all[0]).toMatchObject({ cached: 0 })
  })
})

describe('a guess', () => {
  test('changes nothing but the number of steps', async () => {
    const drafting = { drafts: 3, buckets: { requests: [sizes.requests], seq: [sizes.chunk], blocks: [8], listed: [40], drafts: 3 } }
    const answerer = one.answerer(drafting)
    // Texts that say what they said before, as greedy ones soon do, and as prompts do that repeat themselves.
    const repeating = [asking([1, 2, 3], { ignoreEnd: true, maxTokens: 28 }), asking([5, 6, 7, 8, 5, 6, 7, 8, 5, 6], { ignoreEnd: true, maxTokens: 20, sampling: { ...random, temperature: 0.3, seed: 4 }, logprobs: 2, choices: 2 })]
    const all = [...questions, ...repeating]
    const found = await Promise.all(all.map(async q => (await heard(answerer.ask(q))).all.filter(t => t.type !== 'prompt')))
    for (const [i, q] of all.entries()) expect(byChoice(found[i])).toEqual(byChoice(await alone(one, q)))
    const { drafted, accepted, blocksUsed } = answerer.load()
    expect([accepted > 0, drafted > accepted, blocksUsed]).toEqual([true, true, 0])
  })
})

describe('a window', () => {
  test('is all that is kept of a text, which is the same', async () => {
    const whole = await tiny(backend, { batch: 1, model: 1 }, { ...sizes, chunk: 4 }, { window: 5 })
    const kept = await tiny(backend, { batch: 1, model: 1 }, { ...sizes, chunk: 4, blocks: 9, window: 5 }, { window: 5 })
    const answerer = kept.answerer()
    const long = [asking([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], { ignoreEnd: true, maxTokens: 16, logprobs: 1 }), asking([3, 1], { ignoreEnd: true, maxTokens: 28, sampling: { ...random, seed: 9 } }), asking([7, 7, 7, 2], { ignoreEnd: true, maxTokens: 20, choices: 2, sampling: { ...random, seed: 2 } })]
    let most = 0
    const watching = setInterval(() => { most = Math.max(most, answerer.load().blocksUsed) }, 0)
    const found = await Promise.all(long.map(async q => byChoice((await heard(answerer.ask(q))).all.filter(t => t.type !== 'prompt'))))
    clearInterval(watching)
    for (const [i, q] of long.entries()) expect(found[i]).toEqual(byChoice(await alone(whole, q)))
    expect([most > 0, most <= 9, answerer.load().blocksUsed]).toEqual([true, true, 0])
    for (const t of [whole, kept]) await t.steps.close()
  })
})

describe('new weights', () => {
  test('come between two steps: what was being written is written, what waits begins with them', async () => {
    const own = await tiny(backend, { batch: 1, model: 1 }, sizes)
    const other = await tiny(backend, { batch: 1, model: 1 }, sizes)
    other.steps.replace(await other.weights(8))
    const answerer = own.answerer({ step: 1, renewed: async order => { own.steps.replace(await own.weights(8)); return Number(order) } })
    const short = questions.map(q => ({ ...q, choices: 1 }))
    const before = short.map(q => heard(answerer.ask(q)))
    while (answerer.load().running === 0) await new Promise(setImmediate)
    const renewed = answerer.renew('2')
    const after = short.map(q => heard(answerer.ask(q)))
    await renewed
    expect(answerer.load().step).toBe(2)
    const [found, then] = [await Promise.all(before), await Promise.all(after)]
    for (const [i, q] of short.entries()) {
      for (const { all } of [found[i] as never, then[i] as never] as { readonly all: readonly { readonly type: string; readonly step?: number }[] }[]) {
        const [prompt, ...rest] = all
        // Each answer is that of the weights that it says, from its beginning to its end.
        expect(rest).toEqual(await alone(prompt?.step === 1 ? one : other, q))
      }
    }
    expect(new Set([...found, ...then].map(h => (h.all[0] as { readonly step?: number }).step))).toEqual(new Set([1, 2]))
    expect(answerer.load()).toMatchObject({ running: 0, blocksUsed: 0 })
    for (const t of [own, other]) await t.steps.close()
  })
  test('that cannot be had leave the old ones', async () => {
    const answerer = one.answerer({ step: 1, renewed: () => Promise.reject(new Error('it is gone')) })
    await expect(answerer.renew('2')).rejects.toThrow('it is gone')
    expect(answerer.load().step).toBe(1)
    expect((await heard(answerer.ask(questions[0] as Asked))).all.slice(1)).toEqual(await alone(one, questions[0] as Asked))
  })
})

describe('what ends one', () => {
  const text = async (asked: Asked): Promise<readonly string[]> => (await heard(one.answerer().ask(asked))).texts
  test('is as many tokens as it may have, or the window', async () => {
    expect((await text(asking([1, 2, 3], { ignoreEnd: true })))[0]).toHaveLength(12)
    const { maxTokens: _, ...unbounded } = asking([1, 2, 3], { ignoreEnd: true })
    expect((await text(unbounded))[0]).toHaveLength(29)
  })
  test('is a text to stop at, which is no part of it, though it lies across tokens', async () => {
    const [whole = ''] = await text(asking([1, 2, 3], { ignoreEnd: true }))
    const stop = whole.slice(4, 7)
    const { texts, all } = await heard(one.answerer().ask(asking([1, 2, 3], { ignoreEnd: true, stop: [stop, 'nowhere'] })))
    expect(texts[0]).toBe(whole.slice(0, whole.indexOf(stop)))
    expect(all.at(-1)).toEqual({ type: 'end', choice: 0, reason: 'stop', stop })
  })
  test('is a token to stop at, once there are enough', async () => {
    const ids = tokensOf(await alone(one, asking([1, 2, 3], { ignoreEnd: true })))[0] as number[]
    const stopped = await alone(one, asking([1, 2, 3], { ignoreEnd: true, stopTokens: [ids[2] as number] }))
    expect(stopped.at(-1)).toEqual({ type: 'end', choice: 0, reason: 'stop', stop: ids[2] })
    expect(tokensOf(stopped)[0]).toHaveLength(ids.indexOf(ids[2] as number) + 1)
    const later = tokensOf(await alone(one, asking([1, 2, 3], { ignoreEnd: true, stopTokens: [ids[2] as number], minTokens: 6 })))[0] as number[]
    expect(later.slice(0, 6)).not.toContain(ids[2])
  })
  test('is that nobody listens: its blocks are free', async () => {
    const answerer = one.answerer()
    for await (const told of answerer.ask(asking([1, 2, 3]))) if (told.type === 'more') break
    const controller = new AbortController()
    const aborted = heard(answerer.ask(asking([5, 6, 7]), controller.signal))
    controller.abort()
    expect((await aborted).all.filter(t => t.type === 'end')).toEqual([])
    expect((await heard(answerer.ask(asking([1, 2, 3])))).all.length).toBeGreaterThan(2)
    expect(answerer.load()).toMatchObject({ running: 0, waiting: 0, blocksUsed: 0 })
  })
})

describe('log-probabilities', () => {
  test('of a prompt are those that its tokens have as answers, and add up to 1', async () => {
    const prompt = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]
    const { all } = await heard(one.answerer().ask(asking(prompt, { promptLogprobs: 20, logprobs: 20, maxTokens: 1 })))
    const told = all.find(t => t.type === 'prompt')?.logprobs ?? []
    expect(told).toHaveLength(prompt.length)
    for (let at = 1; at < prompt.length; at++) {
      const forced = await heard(one.answerer().ask(asking(prompt.slice(0, at), { maxTokens: 1, logprobs: 20, sampling: { ...greedy, logitBias: new Map([[prompt[at] as number, 1000]]) } })))
      const token = forced.all.flatMap(t => (t.type === 'more' ? t.tokens : []))[0]
      expect(token?.token).toBe(prompt[at])
      expect(told[at]?.logprob).toBeCloseTo(token?.logprob as number, 5)
      expect(told[at]?.top?.map(t => t.token)).toEqual(token?.top?.map(t => t.token))
    }
    const top = all.flatMap(t => (t.type === 'more' ? t.tokens : []))[0]?.top ?? []
    expect(top.reduce((n, t) => n + Math.exp(t.logprob), 0)).toBeLessThanOrEqual(1.00001)
  })
})

test('what can never be answered is refused at once', () => {
  const answerer = one.answerer({ queue: { requests: 1, tokens: 100 } })
  const refusal = (asked: Asked): unknown => { try { answerer.ask(asked); return undefined } catch (e) { return e instanceof Refused ? e.refusal : e } }
  expect(refusal(asking([]))).toMatchObject({ type: 'invalid', field: 'prompt' })
  expect(refusal(asking([vocab]))).toMatchObject({ type: 'invalid', field: 'prompt' })
  expect(refusal(asking(Array.from({ length: 32 }, () => 1)))).toMatchObject({ type: 'invalid', field: 'prompt' })
  expect(refusal(asking([1], { adapter: 'none' }))).toMatchObject({ type: 'invalid', field: 'adapter' })
  expect(refusal(asking([1], { choices: 2 }))).toMatchObject({ type: 'busy' })
})

function tokensOf(told: unknown): number[][] {
  const found: number[][] = []
  for (const t of told as readonly { readonly type: string; readonly choice: number; readonly tokens: readonly { readonly token: number }[] }[]) if (t.type === 'more') (found[t.choice] ??= []).push(...t.tokens.map(x => x.token))
  return found
}
const byChoice = (told: unknown): unknown => [0, 1, 2].map(choice => (told as readonly { readonly choice: number }[]).filter(t => t.choice === choice))
