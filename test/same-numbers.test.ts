/** The sentence that rules everything: mesh and layout never change the numbers. One small run in every form of parallelism, on the backends in turn. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBackend, type Backend } from '../src/engine/index.ts'
import { train } from '../src/train/train.ts'
import { all } from './support/depth.ts'
import { formed, forms, small } from './support/parallel-runs.ts'

/** Whether XLA takes this form, parameters in parts or a pipeline, or else the simulator: it compiles for as long as ten forms are interpreted. */
const compiled = (i: number): boolean => i === 6 || i === 13

describe.each(['simulate', 'cpu'])('%s', plugin => {
  let backend: Backend
  let expected: readonly number[]
  let heldOut: number
  beforeAll(async () => {
    backend = await openBackend({ plugin, devices: 8, cache: false })
    const { losses, evalLoss } = await train(small, { backend })
    expected = losses
    heldOut = evalLoss ?? NaN
  })
  afterAll(async () => { await backend.close() })

  test('the loss falls', () => {
    expect(expected).toHaveLength(small.steps)
    expect(expected.at(-1)).toBeLessThan((expected[0] ?? 0) - 0.1)
  })
  test.each(forms.filter((_, i) => all || compiled(i) === (plugin === 'cpu')).map(m => [JSON.stringify(m), m] as const))('%s', async (_, change) => {
    const { losses, evalLoss, liveAfter } = await train(formed(change), { backend })
    expect(losses).toHaveLength(expected.length)
    for (const [i, loss] of losses.entries()) expect(Math.abs(loss - (expected[i] ?? 0)) / (expected[i] ?? 1)).toBeLessThan(1e-5)
    expect(Math.abs((evalLoss ?? NaN) - heldOut) / heldOut).toBeLessThan(1e-5)
    expect(liveAfter).toBe(0)
  })
})
