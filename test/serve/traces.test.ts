/** Many requests at random times, some of whose askers leave, in caches that are too small: every answer is what it is alone, and nothing is left behind. */
import { expect, test } from 'vitest'
import { trace } from './traces.ts'

/** `MESHWORK_DEPTH=all`: ten thousand. */
const count = process.env['MESHWORK_DEPTH'] === 'all' ? 10_000 : 300

test.each([['traces', false], ['traces of a model whose encoder reads prompts', true]] as const)(`${count} %s`, async (_, encoder) => {
  const sum = { answered: 0, left: 0, preemptions: 0 }
  for (let seed = 0; seed < count; seed++) {
    const found = await trace(seed, encoder)
    for (const what of ['answered', 'left', 'preemptions'] as const) sum[what] += found[what]
  }
  // They would show nothing if nothing had happened.
  expect(sum.answered).toBeGreaterThan(3 * count)
  expect(sum.left).toBeGreaterThan(count / 2)
  expect(sum.preemptions).toBeGreaterThan(count)
}, 600_000)
