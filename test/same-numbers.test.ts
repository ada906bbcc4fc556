/** The sentence that rules everything: mesh and layout never change the numbers. One small run in every form of parallelism, on the backends in turn. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBackend, type Backend } from '../src/engine/index.ts'
import { train } from '../src/train/train.ts'
import { all } from './support/depth.ts'
import { formed, forms, small } from './support/parallel-runs.ts'

/** By XLA parameters in parts alone, since it compiles for as long as ten forms are interpreted; by the simulator those that send what others do not. `npm run test:deep` trains all on both. */
const sampled: { readonly [plugin: string]: readonly number[] } = { simulate: [5, 7, 8, 9, 10, 12, 13], cpu: [6] }

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
  test.each(forms.filter((_, i) => all || sampled[plugin]?.includes(i) === true).map(m => [JSON.stringify(m), m] as const))('%s', async (_, change) => {
    const { losses, evalLoss, liveAfter } = await train(formed(change), { backend })
    expect(losses).toHaveLength(expected.length)
    for (const [i, loss] of losses.entries()) expect(Math.abs(loss - (expected[i] ?? 0)) / (expected[i] ?? 1)).toBeLessThan(1e-5)
    expect(Math.abs((evalLoss ?? NaN) - heldOut) / heldOut).toBeLessThan(1e-5)
    expect(liveAfter).toBe(0)
  })
})
