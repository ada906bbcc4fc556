/** The sentence that rules everything: mesh and layout never change the numbers. One small run on every mesh and backend. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBackend, type Backend } from '../src/engine/index.ts'
import { defineRun, type Run } from '../src/train/run.ts'
import { train } from '../src/train/train.ts'
import { fileURLToPath } from 'node:url'

// This repository's own words: a text that is there on every machine.
const text = fileURLToPath(new URL('../LICENSE', import.meta.url))
const small = defineRun({
  name: 'small', batch: 8, steps: 8, seed: 3, evalEvery: 4, evalBatches: 1, data: [text],
  model: { vocab: 272, seq: 16, layers: 2, embed: 16, heads: 4, headDim: 4, hidden: 32, dropout: 0.1 },
  mesh: { batch: 1, model: 1 }, optimizer: { rate: 3e-3, warmup: 2 },
})
const meshes: readonly Partial<Run>[] = [
  { mesh: { batch: 2, model: 1 } }, { mesh: { batch: 1, model: 2 } }, { mesh: { batch: 2, model: 2 } }, { mesh: { batch: 4, model: 1 } },
  { mesh: { batch: 1, model: 4 } }, { mesh: { batch: 2, model: 4 } },
  { mesh: { batch: 4, model: 1 }, params: { embed: 'batch' } },
  { mesh: { batch: 2, model: 2 }, state: { embed: 'batch' } },
  { mesh: { batch: 2, model: 2 }, layout: { batch: ['batch', 'model'] } },
  { mesh: { replica: 2, batch: 2, model: 2 }, layout: { batch: ['replica', 'batch'], heads: 'model', hidden: 'model', vocab: 'model' } },
]

describe.each(['simulate', 'cpu'])('%s', plugin => {
  let backend: Backend
  let expected: readonly number[]
  beforeAll(async () => {
    backend = await openBackend({ plugin, devices: 8, cache: false })
    expected = (await train(small, { backend })).losses
  })
  afterAll(async () => { await backend.close() })

  test('the loss falls', () => {
    expect(expected).toHaveLength(small.steps)
    expect(expected.at(-1)).toBeLessThan((expected[0] ?? 0) - 0.1)
  })
  test.each(meshes.map(m => [JSON.stringify(m), m] as const))('%s', async (_, change) => {
    const { losses, liveAfter } = await train({ ...small, ...change }, { backend })
    expect(losses).toHaveLength(expected.length)
    for (const [i, loss] of losses.entries()) expect(Math.abs(loss - (expected[i] ?? 0)) / (expected[i] ?? 1)).toBeLessThan(1e-5)
    expect(liveAfter).toBe(0)
  })
})
