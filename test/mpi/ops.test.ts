/** The op table over four ranks: an eighth of the cases, each under one of the MPIs, on a mesh of four in a layout drawn for it. `npm run test:deep` takes all. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cases, everyCase } from '../cases/index.ts'
import { fixedSeed, overRanks } from '../ops/table.ts'
import { meshText } from '../support/again.ts'
import { all } from '../support/depth.ts'
import { drawnTrial, programsOf } from '../support/op-table.ts'
import { seedOf } from '../support/values.ts'
import { openedJob, type Job } from './requests.ts'
import { flavours, shortName, takes } from './support.ts'

const cache = mkdtempSync(join(tmpdir(), 'meshwork-mpi-'))
afterAll(() => rmSync(cache, { recursive: true, force: true }))
const meshes = [{ x: 4 }, { x: 2, y: 2 }] as const
/** Of those that are asked for by name, none is left out. */
const whole = all || cases.length < everyCase.length

describe.each(flavours)('$name', ({ mpi, missing, name }) => {
  let job: Job | undefined
  beforeAll(async () => { job = mpi === undefined ? undefined : await openedJob(mpi, 4, cache, { XLA_FLAGS: '' }) })
  afterAll(async () => { await job?.close() })

  const mine = cases.filter(c => (whole || overRanks(c.name)) && takes(mpi, seedOf(c.name)))
  const pieces = meshes.flatMap((sizes, i) => programsOf(mine.filter(c => (seedOf(c.name) >> 4) % 2 === i).map(({ name }) => ({ name, layout: {} })), 12).map(some => ({ sizes, names: some.map(t => t.name) })))
  test.for(pieces.map(p => [meshText(p.sizes), p.names.join(', '), p] as const))('mesh %s: %s', async ([, , { sizes, names }], { skip }) => {
    if (job === undefined) return skip(missing)
    expect(await job.ask({ task: 'ops', mesh: sizes, trials: names.map(c => drawnTrial(c, sizes, fixedSeed)), where: `mpi:${shortName({ name })}` })).toEqual([])
  })
  if (pieces.length === 0) test('no case matches', () => { expect(process.env['MESHWORK_CASES']).toBeDefined() })
})
