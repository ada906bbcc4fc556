/** Many requests at random times, with adapters that come and go, and constraints, some of whose askers leave, in caches that are too small: every answer is what it is alone, and nothing is left behind. */
import { expect, test } from 'vitest'
import { trace } from './traces.ts'

/** `MESHWORK_DEPTH=all`: ten thousand. */
const count = process.env['MESHWORK_DEPTH'] === 'all' ? 10_000 : 300

/** Those that once found something: a beginning that was kept, and filled the cache of a model with windows. */
const once = [7694]

test.each([['traces', false], ['traces of a model whose encoder reads prompts', true]] as const)(`${count} %s`, async (_, encoder) => {
  const sum = { answered: 0, left: 0, preemptions: 0, adapted: 0, constrained: 0, refused: 0 }
  for (const seed of [...Array(count).keys(), ...once]) {
    const found = await trace(seed, encoder)
    for (const what of Object.keys(sum) as (keyof typeof sum)[]) sum[what] += found[what]
  }
  // They would show nothing if nothing had happened.
  expect(sum.answered).toBeGreaterThan(3 * count)
  expect(sum.left).toBeGreaterThan(count / 2)
  for (const what of ['preemptions', 'adapted', 'constrained', 'refused'] as const) expect([what, sum[what] > count / 3]).toEqual([what, true])
}, count > 300 ? 3_600_000 : 600_000)
