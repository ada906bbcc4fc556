/** Ranks compute what one process computes, in every form of parallelism, and twice the same bits; where tests are deep, eight ranks do in compositions over three axes. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mesh } from '../../src/core/mesh.ts'
import { openBackend } from '../../src/engine/index.ts'
import type { CountedRun } from '../../src/train/run.ts'
import { train } from '../../src/train/train.ts'
import { compositions, forms, usual } from '../parallel/forms.ts'
import { aloneOf, farOff, steps, trained, type Trained } from '../parallel/harness.ts'
import { all } from '../support/depth.ts'
import { forms as runs, overlapping, small, wide, type Form } from '../support/parallel-runs.ts'
import { expectGone, mark } from './marked.ts'
import { openedJob, type Job } from './requests.ts'
import { flavours, takes } from './support.ts'

const cache = mkdtempSync(join(tmpdir(), 'meshwork-mpi-'))
afterAll(() => rmSync(cache, { recursive: true, force: true }))
/** Four ranks trace and compile for twenty seconds: here in one form under one MPI, in which ranks of a stage that has nothing to do leave collectives out. What two ranks can show, two show. `npm run test:deep` trains all. */
const sampled = (form: Form): boolean => all || (form.pipeline?.schedule === '1f1b' && form.mesh?.['model'] !== undefined)
const onFour = runs.filter(form => mesh(form.mesh ?? {}).size === 4).filter(sampled)
const elsewhere = 'trained under the other MPI; npm run test:deep trains all under both'

/** What one process says, asked once for both MPIs. */
const ofOne = new Map<CountedRun, Promise<readonly number[]>>()
const lossesOfOne = (run: CountedRun): Promise<readonly number[]> => {
  const losses = ofOne.get(run) ?? openBackend({ backend: 'local', cache: false }).then(async backend => {
    try { return (await train(run, { backend })).losses } finally { await backend.close() }
  })
  ofOne.set(run, losses)
  return losses
}

describe.each(flavours)('$name', ({ mpi, missing }) => {
  let expected: readonly number[] = []
  let job: Job | undefined
  beforeAll(async () => {
    if (mpi === undefined || mine.length === 0) return
    job = await openedJob(mpi, 4, cache)
    expected = await lossesOfOne(small)
  })
  afterAll(async () => { await job?.close() })

  const mine = onFour.filter((_, i) => takes(mpi, i))
  if (mine.length === 0) test('forms over four ranks', ({ skip }) => { expect(onFour.length).toBeGreaterThan(0); skip(elsewhere) })
  test.for(mine.map((form, i) => [JSON.stringify(form), form, i] as const))('%s', async ([, form, i], { skip }) => {
    if (job === undefined) return skip(missing)
    const losses = await job.ask({ task: 'numbers', form }) as readonly number[]
    expect(losses).toHaveLength(small.steps)
    for (const [step, loss] of losses.entries()) expect(Math.abs(loss - (expected[step] ?? NaN)) / (expected[step] ?? NaN), `step ${step}`).toBeLessThanOrEqual(1e-5)
    if (i === 0) expect(await job.ask({ task: 'numbers', form })).toEqual(losses)
  })
})

describe.each(flavours)('$name, collectives beside the work', ({ name: flavour, mpi, missing }) => {
  const mine = overlapping.filter(form => all || form.params !== undefined || form.wire !== undefined || form.layouts !== undefined).filter((_, i) => takes(mpi, i))
  const name = `throws-${flavour}`
  let [expected, job]: [readonly number[], Job | undefined] = [[], undefined]
  beforeAll(async () => {
    if (mpi === undefined) return
    job = await openedJob(mpi, 2, cache, { MESHWORK_MPI_OVERLAP: '1', ...mark(name) })
    expected = await lossesOfOne(wide)
  })
  afterAll(async () => { await job?.close() })

  test.for(mine.map(form => [JSON.stringify(form), form] as const))('%s', async ([, form], { skip }) => {
    if (job === undefined) return skip(missing)
    const losses = await job.ask({ task: 'numbers', form, wide: true }) as readonly number[]
    expect(losses).toHaveLength(wide.steps)
    // Of numbers that cross in eight bits a gradient is off by a hundredth.
    for (const [step, loss] of losses.entries()) expect(Math.abs(loss - (expected[step] ?? NaN)) / (expected[step] ?? NaN), `step ${step}`).toBeLessThanOrEqual(form.wire === undefined ? 1e-5 : 2e-2)
    // The same bits, whatever came first on the way. Each asking is traced anew.
    if (all || form.wire !== undefined) expect(await job.ask({ task: 'numbers', form, wide: true })).toEqual(losses)
  })

  // Of these ranks nothing more is asked.
  test('a rank that throws ends the job: its fault is told, and no process is left', async ({ skip }) => {
    const [form] = mine
    if (job === undefined || form === undefined) return skip(missing)
    await expect(job.ask({ task: 'throws', form })).rejects.toThrow(/ended with [1-9][^]*a fault of rank 1/)
    await expectGone(name)
  })
})

// Whole models of four layers, which eight ranks trace and compile: `npm run test:deep` trains them, for as many steps as one process does; here one process trains such a one (test/parallel/training.test.ts).
describe.each(flavours)('eight ranks, $name', ({ mpi, missing }) => {
  let job: Job | undefined
  beforeAll(async () => { if (mpi !== undefined && mine.length > 0) job = await openedJob(mpi, 8, cache) })
  afterAll(async () => { await job?.close() })

  const mine = compositions.filter(() => all)
  test.for(mine)('%s', async (name, { skip }) => {
    if (job === undefined) return skip(missing)
    const form = forms[name]
    if (form === undefined) throw new Error('there is no such form')
    const backend = await openBackend({ plugin: 'cpu', cache: false })
    const { subject, form: one } = aloneOf(form, usual)
    const expected = await trained(backend, subject, one, { count: steps })
    await backend.close()
    expect(farOff(await job.ask({ task: 'trained', form: name, count: steps }) as Trained, expected, form)).toBe('')
  })
  if (mine.length === 0) test('compositions', ({ skip }) => skip('npm run test:deep trains them'))
})
