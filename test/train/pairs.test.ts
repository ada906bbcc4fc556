/** A run that was left on any of eight meshes goes on on any other, from its checkpoint: every pair of them with MESHWORK_DEPTH=all, each mesh once to and once from another otherwise. */
import { beforeAll, expect, test } from 'vitest'
import { all } from '../support/depth.ts'
import { runFolder, tiny, tinyModel, trained } from './tiny.ts'

const at = runFolder()
// Dropout draws by the places in the batch, so it stays in.
const run = { ...tiny, model: tinyModel(0.1), steps: 4, checkpoint: { ...tiny.checkpoint, every: 2 } }
const meshes = [
  { mesh: { batch: 1, model: 1 } }, { mesh: { batch: 2, model: 1 } }, { mesh: { batch: 1, model: 2 } }, { mesh: { batch: 2, model: 2 }, state: { embed: 'batch' } }, { mesh: { batch: 4, model: 1 }, params: { embed: 'batch' } },
  { mesh: { batch: 1, model: 4 } }, { mesh: { batch: 2, model: 4 } }, { mesh: { batch: 8, model: 1 }, params: { embed: 'batch' } },
] as const
const named = ({ mesh: { batch, model } }: (typeof meshes)[number]): string => `${batch}x${model}`

const whole: number[] = []
beforeAll(async () => {
  whole.push(...(await trained(run)).losses)
  for (const where of meshes) await trained({ ...run, ...where, steps: 2 }, { out: at(named(where)) })
})

const pairs = meshes.flatMap((from, i) => meshes.flatMap((to, k) => (i !== k && (all || (k - i + meshes.length) % meshes.length === 3) ? [{ from, to }] : [])))
test.each(pairs.map(p => [named(p.from), named(p.to), p] as const))('from %s to %s', async (_, __, { from, to }) => {
  const { losses } = await trained({ ...run, ...to }, { resume: at(named(from)) })
  expect(losses).toHaveLength(2)
  losses.forEach((loss, i) => { expect(Math.abs(loss / (whole[2 + i] ?? NaN) - 1)).toBeLessThan(1e-5) })
})
