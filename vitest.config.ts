/** Tests run in processes of their own: native code is loaded into them. */
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { quickly } from './test/support/depth.ts'
import { hesitant } from './test/support/hesitant.ts'
import { testLimit } from './test/support/limits.ts'
import LongFirst from './test/support/sequencer.ts'

/** Folders and files of tests that only call functions, or start processes: they share a process, since loading the sources, and what V8 makes of them, takes longer than most of these tests. */
const sharing = new Set([
  'autodiff', 'autolayout', 'calibrate', 'checkpoint', 'cli', 'core', 'cost', 'dashboard', 'data', 'draw', 'elementwise', 'engine', 'formats', 'golden', 'graph', 'io', 'load', 'models', 'mpi', 'nn', 'ops', 'optim', 'oracle', 'page', 'parallel', 'partition', 'pictured', 'serve', 'server',
  'soak', 'train', ...['collectives', 'deep', 'distributions', 'docs', 'errors', 'fuzz', 'runtime/accelerators', 'runtime/loading', 'runtime/mpi', 'runtime/native-source', 'runtime/lanes', 'runtime/platform', 'runtime/features', 'runtime/simulate', 'runtime/simulate-devices', 'runtime/simulate-ops',
    'same-numbers', 'structure'].map(name => `${name}.test.ts`),
])
/** Of these, what measures memory, stops clocks, or changes what a whole process sees. */
const apart = new Set([
  'checkpoint/cli', 'cli/bad-input', 'cli/finetune', 'dashboard/server', 'engine/stored', 'formats/catalog', 'formats/hub', 'page/plans', 'server/security', 'data/sources/mutations', 'data/store/memory', 'train/clock', 'train/disk', 'train/eval-run', 'train/tensorboard',
].map(name => `${name}.test.ts`))

/** What asks for the numbers that the machine code of ops gives: it is made as users have it. */
const optimized = (file: string): boolean => ['ops', 'elementwise'].includes(file.split('/')[0] ?? '') || ['distributions.test.ts', 'fuzz.test.ts'].includes(file)

const files = readdirSync(fileURLToPath(new URL('test', import.meta.url)), { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.test.ts'))
const shares = (file: string): boolean => (sharing.has(file.split('/')[0] ?? '') || sharing.has(file)) && !apart.has(file)
const filesThat = (are: (file: string) => boolean): string[] => files.filter(are).map(file => `test/${file}`)

export default defineConfig({
  test: {
    pool: 'forks',
    execArgv: [hesitant],
    // One more than cores: whoever waits, for a rank that stands still or for a browser, leaves its core to another. Each may hold eight devices, or start a job of four ranks.
    maxWorkers: Math.min(4, availableParallelism() + 1),
    testTimeout: testLimit,
    hookTimeout: testLimit,
    expect: { poll: { interval: 50, timeout: testLimit } },
    sequence: { sequencer: LongFirst },
    reporters: ['default', './test/support/count-reporter.ts'],
    projects: [
      { extends: true, test: { name: 'together', include: filesThat(file => shares(file) && !optimized(file)), isolate: false, env: quickly } },
      { extends: true, test: { name: 'optimized', include: filesThat(optimized), isolate: false } },
      { extends: true, test: { name: 'alone', include: filesThat(file => !shares(file)), env: quickly } },
    ],
  },
})
