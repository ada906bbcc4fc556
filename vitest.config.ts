/** Tests run in processes of their own: native code is loaded into them. */
import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { testLimit } from './test/support/limits.ts'
import LongFirst from './test/support/sequencer.ts'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    // Each may hold eight devices, or start a job of four ranks.
    maxWorkers: Math.min(4, Math.max(2, availableParallelism())),
    testTimeout: testLimit,
    hookTimeout: testLimit,
    expect: { poll: { interval: 50, timeout: testLimit } },
    sequence: { sequencer: LongFirst },
    reporters: ['default', './test/support/count-reporter.ts'],
  },
})
