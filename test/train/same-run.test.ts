/** One run in parts of its batch and on meshes: the same data in the same order, the same numbers, however unevenly what counts lies in them. */
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import { textData, type OpenData } from '../../src/data/index.ts'
import { dims, initialisers, input, param, type Tensor } from '../../src/engine/index.ts'
import type { Model } from '../../src/models/index.ts'
import { crossEntropy, weightedMean } from '../../src/nn/index.ts'
import { defineRun, type Run } from '../../src/train/index.ts'
import { of, stepsOf, tiny, tinyModel, tinyOptimizer, trained, type Trained } from './tiny.ts'

const expectClose = (found: number, expected: number, what: string): void => { expect(Math.abs(found - expected) / Math.abs(expected), what).toBeLessThan(1e-6) }
/** A step's loss and gradient, and the held-out loss behind the last. */
function expectSame({ events }: Trained, { events: expected }: Trained): void {
  expect(stepsOf(events)).toHaveLength(stepsOf(expected).length)
  stepsOf(events).forEach((e, i) => {
    expectClose(e.loss, stepsOf(expected)[i]?.loss ?? NaN, `loss of step ${i}`)
    expectClose(e.gradNorm, stepsOf(expected)[i]?.gradNorm ?? NaN, `gradient of step ${i}`)
  })
  expectClose(of(events, 'eval').at(-1)?.evalLoss ?? NaN, of(expected, 'eval').at(-1)?.evalLoss ?? NaN, 'held-out loss')
}

describe('rows that count not at all, once and thrice', () => {
  // Without dropout, whose masks are a part's own.
  const run: Run = { ...tiny, model: tinyModel(0), steps: 3, evaluation: { every: 3, batches: 2 } }
  let expected: Trained
  beforeAll(async () => { expected = await trained(run) })
  test.each([[1, 2, 1], [1, 4, 1], [1, 4, 2], [2, 1, 1], [2, 1, 2], [2, 1, 4], [4, 1, 1], [4, 1, 2], [2, 2, 2], [1, 1, 8]])('a mesh of %i × %i, in %i parts', async (batch, model, microbatches) => {
    expectSame(await trained({ ...run, mesh: { batch, model }, microbatches }), expected)
  })
})

describe('text', () => {
  const d = dims({ batch: 4, seq: 8, vocab: 260, embed: 4, next: 260 })
  type Ids = Tensor<'batch' | 'seq'>
  /** Which token follows which. */
  const pairs: Model<{ readonly from: Tensor<'vocab' | 'embed'>; readonly to: Tensor<'embed' | 'next'> }, { readonly tokens: Ids; readonly targets: Ids }, keyof typeof d> = {
    dims: d, itemsPerBatch: 4, tokensPerBatch: 32, ignored: -100,
    params: { from: param('from', [d.vocab, d.embed], { init: initialisers.normal(0.5) }), to: param('to', [d.embed, d.next], { init: initialisers.normal(0.5) }) },
    batch: { tokens: input('tokens', [d.batch, d.seq], 'i32'), targets: input('targets', [d.batch, d.seq], 'i32') },
    loss: ({ from, to }, { tokens, targets }) => {
      const { value: loss, weight } = weightedMean(crossEntropy(from.take(d.vocab, tokens).dot(to, d.embed), d.next, targets, { ignore: -100 }), targets.notEqual(-100))
      return { loss, weight }
    },
  }
  const files = [fileURLToPath(new URL('../../LICENSE', import.meta.url))]
  const run = defineRun({ name: 'pairs', model: pairs, data: textData({ files, vocab: 260, rows: 'windows' }), steps: 4, seed: 2, mesh: { batch: 1, model: 1 }, layout: { batch: 'batch' }, optimizer: tinyOptimizer(), evaluation: { batches: 2 } })

  test('the order is the same on 1, 2 and 4 data-parallel coordinates, and so are the losses', async () => {
    const one = await trained(run)
    for (const batch of [2, 4]) expectSame(await trained({ ...run, mesh: { batch, model: 1 } }), one)
    // And with another seed it is another order.
    expect((await trained({ ...run, seed: 3 })).losses[0]).not.toBe(one.losses[0])
  })

  test('each coordinate\'s rows are of its part of the step\'s documents', async () => {
    const part = run.data as ReturnType<typeof textData>
    const data: OpenData<unknown> = await part.build().open({
      batch: 4, seed: 2, fields: { tokens: { dtype: 'i32', shape: [8] }, targets: { dtype: 'i32', shape: [8] } }, vocab: 260, ignored: -100, heldOut: 2, ranks: { rank: 0, count: 1, exchange: async bytes => [await bytes] }, signal: undefined, onProgress: () => undefined, onNote: () => undefined,
    })
    try {
      for (const step of [0, 5, 300]) {
        const whole = data.documentsOfStep?.(step)
        expect(whole).toHaveLength(4)
        for (const n of [2, 4]) expect(Array.from({ length: n }, (_, i) => data.documentsOfStep?.(step, { from: 4 / n * i, to: 4 / n * (i + 1) })).flat()).toEqual(whole)
      }
    } finally {
      await data.close?.()
    }
  })
})
