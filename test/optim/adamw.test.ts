/** AdamW where digits are few: its first steps move by the rate, whatever the betas, and schedules end where they say. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, dims, full, input, mesh, openBackend, param, type Backend, type Scalar } from '../../src/engine/index.ts'
import type { DType } from '../../src/core/dtype.ts'
import { adamw, applyUpdates, cosine, withStateDtype } from '../../src/optim/index.ts'
import { valuesOf } from '../graph/support.ts'

const { n } = dims({ n: 2 })
const betas = [0.95, 0.999, 0.9999, 0.99999, 0.999999, 0.9999999]

describe.each(['simulate', 'cpu'])('%s', plugin => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin, devices: 1 }) })
  afterAll(async () => { await backend.close() })

  test.each([['f32', 'f32', 'i32', 1e-6], ['f64', 'f64', 'i32', 1e-8], ['f32', 'bf16', 'i32', 1e-2], ['bf16', 'bf16', 'i32', 1e-2], ['f32', 'f32', 'bf16', 1e-6], ['f32', 'f64', 'i64', 1e-6]] as readonly (readonly [DType, DType, DType, number])[])(
    'parameters %s, slots %s, the step %s', async (of, slots, counter, limit) => {
      const w = param('w', [n], of)
      const optimizers = betas.map(beta2 => withStateDtype(adamw({ rate: 1, beta2, epsilon: 1e-12, weightDecay: 0 }), slots))
      const [g, m, step] = [input('g', [n], of), withStateDtype(adamw({ rate: 1 }), slots).slots({ w }), input('step', [], counter)]
      // Three steps with one gradient, from zero: each moves by the rate, as both averages are what they average.
      const run = await compile((w_: typeof w, g_: typeof g, m_: typeof m, step_: typeof step) => optimizers.map(optimizer => {
        let at: { readonly params: { readonly w: typeof w }; readonly slots: typeof m } = { params: { w: w_ }, slots: m_ }
        return [0, 1, 2].map(i => {
          const { updates, slots } = optimizer.update({ w: g_ }, at.slots, at.params, step_.add(i))
          at = { params: applyUpdates(at.params, updates), slots }
          return at.params.w
        })
      }), [w, g, m, step] as const, { mesh: mesh({}), layout: {}, backend })
      const none = slots === 'f64' ? new Float64Array(2) : new Float32Array(2)
      const given = of === 'f64' ? Float64Array.of(1, -2) : Float32Array.of(1, -2)
      const found = await run(given.map(() => 0), given, { first: { w: none }, second: { w: none } }, counter === 'i64' ? BigInt64Array.of(0n) : 0)
      for (const [b, steps] of found.entries()) {
        for (const [i, w_] of steps.entries()) {
          const [x = 0, y = 0] = [...await w_.read()].map(Number)
          expect(Math.abs(x + i + 1), `beta2 ${betas[b]} step ${i}`).toBeLessThanOrEqual(limit * (i + 1))
          expect(Math.abs(y - i - 1), `beta2 ${betas[b]} step ${i}`).toBeLessThanOrEqual(limit * (i + 1))
          w_.dispose()
        }
      }
    })

  test('late steps are not corrected any more', async () => {
    const w = param('w', [n])
    const optimizer = adamw({ rate: 1, epsilon: 0, weightDecay: 0 })
    const [g, m, step] = [input('g', [n]), optimizer.slots({ w }), input('step', [], 'i32')]
    const run = await compile((w_: typeof w, g_: typeof g, m_: typeof m, step_: typeof step) =>
      applyUpdates({ w: w_ }, optimizer.update({ w: g_ }, m_, { w: w_ }, step_).updates).w, [w, g, m, step] as const, { mesh: mesh({}), layout: {}, backend })
    for (const at of [1e6, 2 ** 24, 2 ** 31 - 1]) {
      const found = await run(new Float32Array(2), Float32Array.of(3, -3), { first: { w: Float32Array.of(3, -3) }, second: { w: Float32Array.of(9, 9) } }, at)
      expect([...await found.read()].map(Number)).toEqual([-1, 1])
      found.dispose()
    }
  })

  test('a cosine ends at its floor, and keeps its digits on the way there', async () => {
    const step = input('step', [], 'i32')
    const run = await compile((s: typeof step) => cosine({ peak: 1, warmup: 10, steps: 10_010 })(s), [step] as const, { mesh: mesh({}), layout: {}, backend })
    for (const at of [0, 9, 10, 5000, 9000, 9990, 10_009, 10_010, 20_000]) {
      const exact = at < 10 ? (at + 1) / 10 : Math.sin(Math.PI / 2 * Math.max(0, 10_009 - at) / 10_000) ** 2
      const found = await run(at)
      expect(Math.abs(Number(await found.item()) - exact), `step ${at}`).toBeLessThanOrEqual(1e-6 * exact)
      found.dispose()
    }
  })
})

test('a step in few bits counts on', () => {
  const step: Scalar = full(300, [], 'bf16')
  expect(valuesOf([cosine({ peak: 1, warmup: 1000, steps: 2000 })(step)], [])).toEqual([[301 / 1000]])
  expect(cosine({ peak: 1, warmup: 1000, steps: 2000 })(step).dtype).toBe('f32')
})
