/** Answers of a model with an encoder: what a whole forward says, the same alone and among others, on every mesh, and where blocks run out; forks share what is read. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, input, mesh as meshOf, openBackend, type Backend, type MeshArray, type Tree } from '../../src/engine/index.ts'
import { t5, t5Schema } from '../../src/models/index.ts'
import { Refused, type Asked } from '../../src/serve/asking.ts'
import { beamSearch } from '../../src/serve/beam-search.ts'
import { greedy } from '../../src/serve/generate.ts'
import { asking, end, heard, tinyT5, vocab, type Tiny } from './tiny.ts'

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
      console.log(written.join())
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
})
const byChoice = (told: unknown): unknown => [0, 1, 2].map(choice => (told as readonly { readonly choice: number }[]).filter(t => t.choice === choice))
void [Refused, beamSearch, end, input]
