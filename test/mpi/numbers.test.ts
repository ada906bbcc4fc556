/** Four ranks compute what one process computes: every form of parallelism, and the op table. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBackend } from '../../src/engine/index.ts'
import { train } from '../../src/train/train.ts'
import { small } from '../support/parallel-runs.ts'
import { flavours, mpirun, resultOf, worker } from './support.ts'

const cache = mkdtempSync(join(tmpdir(), 'meshwork-mpi-'))
afterAll(() => rmSync(cache, { recursive: true, force: true }))
const run = ['node', '--import', 'tsx', worker]

describe.each(flavours)('$name', ({ mpi, missing }) => {
  let expected: readonly number[] = []
  beforeAll(async () => {
    const backend = await openBackend({ backend: 'local', cache: false })
    expected = (await train(small, { backend })).losses
    await backend.close()
  })

  test('the losses of one process, in every form of parallelism, and twice the same bits', async ({ skip }) => {
    if (mpi === undefined) return skip(missing)
    const first = resultOf(await mpirun(mpi, 4, [...run, 'numbers', cache])) as { readonly form: string; readonly losses: readonly number[] }[]
    expect(first.length).toBeGreaterThanOrEqual(6)
    const wrong = first.flatMap(({ form, losses }) => losses.flatMap((loss, i) => {
      const one = expected[i] ?? NaN
      return Math.abs(loss - one) / one <= 1e-5 ? [] : [`${form} step ${i}: ${loss}, and ${one} in one process`]
    }))
    expect(wrong).toEqual([])
    expect(first.every(f => f.losses.length === small.steps)).toBe(true)
    expect(resultOf(await mpirun(mpi, 4, [...run, 'numbers', cache, '2']))).toEqual(first.slice(0, 2))
  }, 240_000)

  test('the op table', async ({ skip }) => {
    if (mpi === undefined) return skip(missing)
    expect(resultOf(await mpirun(mpi, 4, [...run, 'ops', cache]))).toEqual([])
  }, 240_000)
})
