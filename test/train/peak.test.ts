/** The best matrix multiplication is measured once, kept, and measured anew where a step was quicker, or by the next run where a run's steps were. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { mesh, openBackend, type Backend } from '../../src/engine/index.ts'
import { gptModel } from '../../src/models/index.ts'
import { adamwCosine, defineRun } from '../../src/train/index.ts'
import { peakOf } from '../../src/train/peak.ts'
import { train } from '../../src/train/train.ts'

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

test('what a run was quicker than is forgotten, and what it was not is kept', async () => {
  const tokens = new Int32Array(64).fill(3)
  const run = defineRun({
    name: 'quick', model: gptModel({ vocab: 16, seq: 8, layers: 1, embed: 8, heads: 2, headDim: 4, hidden: 16 }), data: { batch: () => ({ tokens, targets: tokens }) },
    batch: 8, steps: 3, mesh: { batch: 1 }, layout: {}, optimizer: adamwCosine({ rate: 1e-3 }), evaluation: { every: 10, batches: 1 },
  })
  await rm(join(cache, 'peaks'), { recursive: true })
  await peakOf(backend, mesh({ batch: 1 }), 'f32')
  const [file = ''] = await readdir(join(cache, 'peaks'))
  const path = join(cache, 'peaks', file), kept = await readFile(path, 'utf8')
  await train(run, { backend })
  expect(await readFile(path, 'utf8')).toBe(kept)
  await writeFile(path, kept.replace(/"flops":[^,]+/, '"flops":1'))
  await train(run, { backend })
  expect(await readdir(join(cache, 'peaks'))).toEqual([])
})
