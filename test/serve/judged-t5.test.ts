/** What transformers' `generate` writes with small T5s is what ours write: greedily, penalised, without an end, and by beam search. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openBackend } from '../../src/engine/index.ts'
import { t5Differences, t5Folders } from './judged-t5.ts'

// Larger ones, and more meshes, are the oracle's.
test.each([['tiny-relu', 1, 1], ['tiny-gated', 2, 2]] as const)('%s on %i × %i', async (name, batch, model) => {
  await using backend = await openBackend({ plugin: 'simulate', devices: batch * model })
  const found = await t5Differences(join(t5Folders, name), backend, { batch, model }, { context: 32, requests: 4 })
  expect(found).toHaveLength(16)
  expect(found.filter(d => !(d.error < 1e-4))).toEqual([])
})
