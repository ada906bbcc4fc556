/** The best matrix multiplication is measured once, kept, and measured anew where a step was quicker. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { mesh, openBackend, type Backend } from '../../src/engine/index.ts'
import { peakOf } from '../../src/train/peak.ts'

let backend: Backend
let cache = ''
beforeAll(async () => {
  backend = await openBackend({ devices: 1, cache: false })
  // In the user's cache, where they are; in the test's they would be built anew.
  await backend.kernels()
  cache = await mkdtemp(join(tmpdir(), 'meshwork-peak-'))
  vi.stubEnv('MESHWORK_CACHE_DIR', cache)
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await backend.close()
  await rm(cache, { recursive: true })
})

test('what was kept is measured anew where more has been seen, and only there', async () => {
  const measured = vi.fn()
  const peak = (seen?: number): Promise<number | undefined> => peakOf(backend, mesh({ batch: 1 }), 'f32', measured, seen)
  const first = await peak() ?? NaN
  expect(first).toBeGreaterThan(1e8)
  expect([await peak(), await peak(first / 2), measured.mock.calls.length]).toEqual([first, first, 1])
  // Neither is ever thrown away for a worse one.
  const again = await peak(first * 1e6) ?? NaN
  expect(again).toBeGreaterThanOrEqual(first)
  expect(measured).toHaveBeenCalledTimes(2)
  expect(await peak()).toBe(again)
})
