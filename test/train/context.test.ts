/** Training with windows split over devices: steps by each form, thirty where tests are deep, have the losses of one device that attends as ever, and its weights. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBackend, type Backend } from '../../src/engine/index.ts'
import { gptModel } from '../../src/models/index.ts'
import type { Context } from '../../src/nn/index.ts'
import type { Run } from '../../src/train/index.ts'
import { train } from '../../src/train/train.ts'
import { all } from '../support/depth.ts'
import { dry } from '../support/parallel-runs.ts'

const steps = all ? 30 : 10
const run = { ...dry, steps, batch: 4, evaluation: { every: steps, batches: 1 } }
const model = (context?: Context): Run['model'] => gptModel({ vocab: 272, seq: 16, layers: 2, embed: 16, heads: 4, headDim: 4, hidden: 32, dropout: 0, blockwise: 2, ...(context === undefined ? {} : { context }) })
const split = { heads: 'model', hidden: 'model', vocab: 'model' }
const forms: readonly (readonly [string, Context, Partial<Pick<Run, 'mesh' | 'layout' | 'layouts'>>])[] = [
  ['zigzag, with data and tensors', { form: 'zigzag', blocks: 2 }, { mesh: { batch: 2, model: 2, ring: 2 }, layout: { batch: 'batch', seq: 'ring', ...split } }],
  ['a ring', { form: 'ring', blocks: 4 }, { mesh: { ring: 4 }, layout: { seq: 'ring' } }],
  ['Ulysses', { form: 'ulysses' }, { mesh: { heads: 4 }, layout: { seq: 'heads' }, layouts: { attention: { seq: [], heads: 'heads' } } }],
  ['zigzag and Ulysses', { form: 'zigzag', blocks: 2 }, { mesh: { ring: 2, heads: 2 }, layout: { seq: ['ring', 'heads'] }, layouts: { attention: { seq: 'ring', heads: 'heads' } } }],
  ['gathered keys, with Megatron\'s sequences', { form: 'gather', blocks: 2 }, { mesh: { ring: 2, model: 2 }, layout: { seq: 'ring', ...split }, layouts: { residual: { seq: ['ring', 'model'] } } }],
]
describe.each(all ? ['simulate', 'cpu'] : ['simulate'])('%s', plugin => {
  let backend: Backend
  let expected: readonly number[]
  let heldOut: number
  beforeAll(async () => {
    backend = await openBackend({ plugin, devices: 8, cache: false })
    const { losses, evalLoss } = await train({ ...run, model: model() }, { backend })
    expected = losses
    heldOut = evalLoss ?? NaN
  })
  afterAll(async () => { await backend.close() })
  // Zigzag with data and tensors, and with Ulysses.
  test.each(all ? forms : [0, 3].flatMap(i => forms.slice(i, i + 1)))('%s', async (_, context, how) => {
    const { losses, evalLoss, liveAfter } = await train({ ...run, ...how, model: model(context) }, { backend })
    expect(losses).toHaveLength(steps)
    for (const [i, loss] of losses.entries()) expect(Math.abs(loss - (expected[i] ?? 0)) / (expected[i] ?? 1), `step ${i}`).toBeLessThan(1e-4)
    expect(Math.abs((evalLoss ?? NaN) - heldOut) / heldOut).toBeLessThan(1e-4)
    expect(liveAfter).toBe(0)
  })
})
